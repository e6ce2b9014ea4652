"""A site for a real browser: signs in by a cookie, serves the export to it alone, may be in a mood.

`doors` are asked in order before the file is served; each answers the request and returns True, or
lets it pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from backupd.download.browser_reach import Browser
from backupd.download.cookies import SESSION, Crumb
from tests.support.https import Exchange, Script, serve
from tests.support.sessions import COOKIE, FAR, PAGE

Door = Callable[[Exchange], bool]
HTML = "Content-Type: text/html"
ZIP = ("Content-Type: application/zip", 'Content-Disposition: attachment; filename="export.zip"')


def browser(state: Path) -> Browser:
    """Return a browser as the daemon has it, with its profiles below `state`; no unit is asked.

    Root has no sandbox to run Chromium in.
    """
    off = {"BACKUPD_CHROMIUM_SANDBOX": "off"} if os.geteuid() == 0 else {}
    return Browser(state / "browser", {**os.environ, **off})


def crumb(value: str = COOKIE, expires: int | None = int(FAR.timestamp())) -> Crumb:
    """Return the session's cookie as a cookies.txt holds it."""
    return Crumb(SESSION, value, ".chatgpt.com", True, "/", True, expires)


def site(data: bytes, *doors: Door, good: str = COOKIE) -> Script:
    """Make the site: `/` signs in, the rest serves `data` to who is signed in."""

    def script(exchange: Exchange) -> None:
        path = exchange.request.target.partition("?")[0]
        if path == "/":
            cookie = f"Set-Cookie: {SESSION}={good}; Path=/; Secure; HttpOnly; Max-Age=8000000"
            exchange.answer(200, b"<html>welcome</html>", HTML, cookie)
        elif path != "/backend-api/estuary/content":
            exchange.answer(404, b"", HTML)
        elif not any(door(exchange) for door in doors):
            serve(data, *ZIP)(exchange)

    return script


def signed_in(exchange: Exchange) -> bool:
    """Send who has no session to the page where one signs in."""
    if f"{SESSION}={COOKIE}" in exchange.request.fields.get("cookie", ""):
        return False
    exchange.answer(302, b"", "Location: https://chatgpt.com/auth/login")
    return True


def interstitial(exchange: Exchange) -> bool:
    """Let in only a browser that runs the script of the page shown first."""
    if "passed=1" in exchange.request.fields.get("cookie", ""):
        return False
    work = b"document.cookie='passed=1;path=/';setTimeout(()=>location.reload(),200)"
    other = b"<img src=https://evil.example/1><iframe src=https://evil.example/2></iframe>"
    script = other + b"<script>" + work + b"</script>"
    exchange.answer(403, b"<html>one moment" + script, HTML, "cf-mitigated: challenge")
    return True


def expired(exchange: Exchange) -> bool:
    """Answer as to a session that has ended."""
    exchange.answer(401, PAGE, HTML)
    return True
