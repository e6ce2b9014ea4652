"""What signs in, for tests: tokens, cookie files, and a server's side of a session."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime

from backupd.download.cookies import SESSION
from tests.support.https import Exchange, Script, serve

FAR = datetime(2099, 1, 1, tzinfo=UTC)
TOKEN = "canary-token-4711"
COOKIE = "canary-cookie-4711"
DENIAL = b'{"detail":"Forbidden"}'
PAGE = b"<!doctype html><html><body>Log in to continue</body></html>"


def jwt(end: datetime | None, **claims: object) -> str:
    """Make a token as a server would, with a signature that means nothing; holds a canary."""
    if end is not None:
        claims["exp"] = end.timestamp()
    parts = ({"alg": "RS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*encoded, TOKEN])


def cookie_row(
    name: str = SESSION,
    value: str = COOKIE,
    domain: str = ".chatgpt.com",
    path: str = "/",
    secure: str = "TRUE",
    expires: object = int(FAR.timestamp()),
) -> str:
    """Write one line of a cookies.txt."""
    wide = "TRUE" if domain.startswith(".") else "FALSE"
    return "\t".join([domain, wide, path, secure, str(expires), name, value])


def cookie_file(*rows: str) -> str:
    """Write a cookies.txt as browser extensions do."""
    return "\n".join(["# Netscape HTTP Cookie File", "# a remark", "", *rows, ""])


class Pocket:
    """Keeps renewed cookies in memory, as the ledger does on disk."""

    def __init__(self) -> None:
        self.kept: tuple[str, str] | None = None

    def load(self, secret: str) -> str | None:
        """Return what was kept for this credential text."""
        return self.kept[1] if self.kept and self.kept[0] == secret else None

    def keep(self, secret: str, text: str, now: datetime) -> None:
        """Replace what is kept."""
        self.kept = (secret, text)


def wall(exchange: Exchange) -> None:
    """Answer as the service answers to whom it does not know."""
    exchange.answer(401, b'{"detail":"Unauthorized"}', "Content-Type: application/json")


def only_with(field: str, value: str, inside: Script, outside: Script = wall) -> Script:
    """Make a script that lets in who sends that header field."""

    def script(exchange: Exchange) -> None:
        let_in = exchange.request.fields.get(field) == value
        (inside if let_in else outside)(exchange)

    return script


def rotating(data: bytes, first: str) -> tuple[Script, Callable[[], str]]:
    """Make a script that serves `data` to the session's cookie and renews it each time.

    The second value tells the cookie that is good now.
    """
    good = [first]

    def script(exchange: Exchange) -> None:
        if exchange.request.fields.get("cookie") != f"{SESSION}={good[0]}":
            wall(exchange)
            return
        good[0] = f"{first}-{exchange.number + 1}"
        fresh = (
            f"Set-Cookie: {SESSION}={good[0]}; Domain=.chatgpt.com; Path=/; Max-Age=9999999; Secure"
        )
        serve(data, fresh)(exchange)

    return script, lambda: good[0]
