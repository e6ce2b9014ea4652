"""Owner of Playwright: drives the system's Chromium through one use of a profile.

Rules that stay in this file:

1. What the page itself asks for is judged before it is asked for, redirects included: the main
   document by the link rules as they stand, anything else by its host. Chromium's resolver knows
   no other hosts either, whatever part of the browser asks, and no proxy.
2. A challenge page loads its script from one further host; that is let through only after the
   server has answered with a challenge.
3. No port is opened for debugging (a pipe is used), nothing is disguised, and no text of a page or
   of a foreign exception leaves this file.
4. The signed URL goes to Chromium through that pipe, never as an argument.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Download, Error, Page, Response, sync_playwright

from backupd.download import answers
from backupd.download.browser_profile import Profile, Unusable, Workplace
from backupd.download.browser_talk import (
    Answered,
    Downloaded,
    Failed,
    Get,
    Keep,
    Known,
    Reply,
    SignIn,
    Strayed,
    Trust,
)
from backupd.download.cookies import SESSION, Crumb
from backupd.download.session import HOST
from backupd.mail import gate

CHALLENGE_HOST = "challenges.cloudflare.com"
CHALLENGE_SECONDS = 30.0
"""How long a challenge page may take to let the browser through."""
PAGE_SECONDS = 3.0
"""How long any other page may take to begin the download by itself."""
START_SECONDS = 60.0
KEPT_DAYS = 30
"""A cookie without an end would be gone once Chromium is closed, which it is after each use."""

PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
NO_SANDBOX = "BACKUPD_CHROMIUM_SANDBOX"
"""Set to `off`, Chromium runs without its sandbox: for root in a test, never for the service."""
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--disk-cache-size=1",
    "--disable-logging",
)
_PASSED_ON = ("PATH", "LANG", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR")
_TOLD = ("cf-mitigated", "retry-after", "content-type", "x-ms-error-code")
_ERROR = re.compile(r"net::(ERR_[A-Z_]{1,60})")
_HEAD = """() => {
    const html = document.contentType === 'text/html';
    const node = html ? document.documentElement : (document.body || document.documentElement);
    const text = html ? node.outerHTML : (node.innerText ?? node.textContent);
    return text.slice(0, 4096);
}"""
_TICK = 100.0
_ELSEWHERE = "sign in elsewhere, then run `backupd session login --cookies FILE`"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the use happens on: the environment, and a flag raised once bytes are arriving."""

    environ: Mapping[str, str]
    expect: Callable[[int | None], None]

    def program(self) -> str:
        """Find Chromium.

        Raises:
            Unusable: there is none.
        """
        found = (shutil.which(name, path=self.environ.get("PATH")) for name in PROGRAMS)
        program = next(filter(None, found), None)
        if program is None:
            raise Unusable(
                Failed("missing", "Chromium is not installed", "apt-get install chromium")
            )
        return program


def get(
    profile: Profile, place: Workplace, request: Get, machine: Machine
) -> tuple[Reply, Path | None]:
    """Download with a profile; the file, if one came, lies in `place.incoming`."""
    known = profile.known()
    if known.cookies == 0 or (known.until is not None and known.until <= request.now):
        return _signed_out(known, request.now), None
    rules = _resolver_rules(request.trust, closed=True)
    with _chromium(place, machine, request.trust, rules) as context:
        if context.cookies(f"https://{HOST}/"):
            reply, path = _Visit(context, request).run(machine)
        else:
            reply, path = _signed_out(known, request.now), None
        known = _since(known, _known(context, request.now, known.mark), request.now)
    place.carry_back(known)
    return reply, path


def keep(place: Workplace, request: Keep, machine: Machine) -> Known:
    """Put cookies into a profile, as a sign-in of a person."""
    with _chromium(place, machine, Trust(), _resolver_rules(Trust(), closed=True)) as context:
        context.clear_cookies()
        context.add_cookies([_cookie(crumb) for crumb in request.crumbs])  # type: ignore[misc]
        known = _known(context, request.now, secrets.token_hex(8))
    place.carry_back(known)
    return known


def sign_in(place: Workplace, request: SignIn, machine: Machine) -> Known:
    """Open a window and wait until the person has signed in or has closed it."""
    if not any(machine.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise Unusable(Failed("missing", "there is no display to open a window on", _ELSEWHERE))
    rules = _resolver_rules(request.trust, closed=False)
    with _chromium(place, machine, request.trust, rules, visible=True) as context:
        page = context.pages[0]
        known = _known(context, request.now, "")
        with suppress(Error):
            page.goto(f"https://{HOST}/", wait_until="commit")
            while not known.has_session:
                page.wait_for_timeout(5 * _TICK)
                known = _known(context, request.now, secrets.token_hex(8))
    if known.has_session:
        place.carry_back(known)
    return known


@contextmanager
def _chromium(
    place: Workplace, machine: Machine, trust: Trust, rules: str, *, visible: bool = False
) -> Iterator[BrowserContext]:
    """Start Chromium for a block; a failure of Playwright becomes `Unusable` in own words."""
    program = machine.program()
    place.trust(trust.ca)
    environ = {name: machine.environ[name] for name in _PASSED_ON if name in machine.environ}
    environ |= {"HOME": str(place.work), "TMPDIR": str(place.work)}
    try:
        with sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                place.profile,
                executable_path=program,
                headless=not visible,
                chromium_sandbox=machine.environ.get(NO_SANDBOX) != "off",
                args=[*_FLAGS, f"--host-resolver-rules={rules}"] if rules else [*_FLAGS],
                env=dict(environ),
                downloads_path=place.incoming,
                accept_downloads=True,
                service_workers="block",
                timeout=START_SECONDS * 1000,
            )
            try:
                yield context
            finally:
                context.close()
    except Error as error:
        raise Unusable(_unstarted(str(error))) from None


def _unstarted(text: str) -> Failed:
    if "without --no-sandbox" in text or "No usable sandbox" in text:
        hint = "run the browser as a user of its own, not as root; see docs/signed-in.md"
        return Failed("missing", "Chromium's sandbox cannot work here", hint)
    return Failed(
        "network", "Chromium did not start, or ended early (in a service, it needs its own unit)"
    )


def _resolver_rules(trust: Trust, *, closed: bool) -> str:
    """Lead hosts where the terms say; `closed`: no name but those of the link table resolves.

    The first rule that fits counts, but what is excluded fits none.
    """
    rules = [f"MAP {name} {target}" for name, target in trust.connect_to]
    if closed:
        led = {name.rpartition(":")[0] for name, _ in trust.connect_to}
        rules += ["MAP * ~NOTFOUND"]
        rules += [f"EXCLUDE {host}" for host in (*_hosts(), CHALLENGE_HOST) if host not in led]
    return ", ".join(rules)


def _hosts() -> tuple[str, ...]:
    return tuple(rule.host for rule in gate.HOSTS)


@dataclass
class _Visit:
    """One page, led to one link; what it did is collected by Playwright's events."""

    context: BrowserContext
    request: Get
    answer: Response | None = None
    strayed: Strayed | None = None
    download: Download | None = None
    challenged: bool = False
    signed: bool = field(init=False)
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.signed = bool(self.context.cookies(self.request.url))
        self.page = self.context.pages[0]
        self.context.on("page", lambda page: page.close())  # a page that the page opened
        self.page.on("download", self._begun)
        self.page.on("response", self._answered)
        self.pipe = self.context.new_cdp_session(self.page)
        self.pipe.on("Fetch.requestPaused", self._judge)
        self.pipe.send("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
        self.frame = self.pipe.send("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def run(self, machine: Machine) -> tuple[Reply, Path | None]:
        """Go there, wait for what comes of it, and say it."""
        failure = self._go()
        self._wait(failure)
        if self.download is not None:
            return self._finish(self.download, machine)
        if self.strayed is not None:
            return self.strayed, None
        if self.answer is None:
            return Failed("network", failure or "Chromium got no answer"), None
        return self._page(self.answer), None

    def _go(self) -> str:
        """Navigate; return why that failed, in the words of Chromium's error code."""
        try:
            self.page.goto(self.request.url, wait_until="commit")
        except Error as error:
            found = _ERROR.search(str(error))
            return f"Chromium: {found[1]}" if found else "Chromium could not load the link"
        return ""

    def _wait(self, failure: str) -> None:
        """Give the page as long as its kind may take to begin the download."""
        waited = 0.0
        while self.download is None and self.strayed is None and waited < self._patience(failure):
            self.page.wait_for_timeout(_TICK)
            waited += _TICK / 1000

    def _patience(self, failure: str) -> float:
        if self.answer is None:
            return 0.0 if failure else PAGE_SECONDS
        if self.answer.headers.get("cf-mitigated", "").lower() == "challenge":
            return CHALLENGE_SECONDS
        html = self.answer.headers.get("content-type", "").lower().startswith("text/html")
        return PAGE_SECONDS if self.answer.ok or html else 0.0

    def _begun(self, download: Download) -> None:
        self.download = self.download or download

    def _answered(self, response: Response) -> None:
        """Note what the main document was answered with; a challenge opens its one host."""
        request = response.request
        if not request.is_navigation_request() or request.frame != self.page.main_frame:
            return
        if response.status not in answers.REDIRECTS:
            self.answer = response
        if response.headers.get("cf-mitigated", "").lower() == "challenge":
            self.challenged = True

    def _judge(self, event: dict[str, Any]) -> None:
        """Let one request through, or not (rules 1 and 2)."""
        url = str(event["request"]["url"])
        main = event.get("resourceType") == "Document" and event.get("frameId") == self.frame
        allowed = self._is_link(url) if main else self._is_near(url)
        with suppress(Error):  # the page may have gone on meanwhile
            if allowed:
                self.pipe.send("Fetch.continueRequest", {"requestId": event["requestId"]})
            else:
                refusal = {"requestId": event["requestId"], "errorReason": "BlockedByClient"}
                self.pipe.send("Fetch.failRequest", refusal)

    def _is_link(self, url: str) -> bool:
        try:
            gate.check_url(url)
        except gate.LinkRefused as refused:
            leads = answers.leads_to_sign_in(url)
            self.strayed = self.strayed or Strayed(refused.reason, leads, self.signed)
            return False
        return True

    def _is_near(self, url: str) -> bool:
        hosts = (*_hosts(), CHALLENGE_HOST) if self.challenged else _hosts()
        return any(url.startswith(f"https://{host}/") for host in hosts)

    def _page(self, answer: Response) -> Answered:
        head = ""
        with suppress(Error):
            head = str(self.page.evaluate(_HEAD))
        return Answered(answer.status, self._fields(), head.encode()[:4096], self.signed)

    def _fields(self) -> tuple[tuple[str, str], ...]:
        seen = self.answer.headers if self.answer is not None else {}
        return tuple((name, seen[name]) for name in _TOLD if name in seen)

    def _total(self) -> int | None:
        if self.answer is None or "content-encoding" in self.answer.headers:
            return None
        text = self.answer.headers.get("content-length", "")
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None

    def _finish(self, download: Download, machine: Machine) -> tuple[Reply, Path | None]:
        """Wait for the end of the download; Chromium itself goes on with one that breaks off."""
        total = self._total()
        if total is not None and total > self.request.max_size:
            download.cancel()
            return Failed("too-big", "larger than the limit"), None
        machine.expect(total)
        failure = download.failure()
        if failure is not None:
            return Failed("network", "the download broke off in Chromium"), None
        finished = download.path().with_name("finished")  # else it goes when Chromium does
        download.path().rename(finished)
        return Downloaded(total, self._fields(), self.signed), finished


def _known(context: BrowserContext, now: float, mark: str) -> Known:
    """Read what signs in, giving an end to cookies that would not outlive the browser."""
    found: list[Any] = list(context.cookies(f"https://{HOST}/"))
    for cookie in found:
        if cookie["expires"] < 0:
            cookie["expires"] = now + KEPT_DAYS * 86400
            context.add_cookies([cookie])
    session = [one for one in found if re.fullmatch(rf"{re.escape(SESSION)}(\.\d+)?", one["name"])]
    until = min((float(one["expires"]) for one in session), default=None)
    return Known(len(found), bool(session), until, mark)


def _since(before: Known, seen: Known, now: float) -> Known:
    """Remember of a session that is gone since that it has ended."""
    if seen.has_session or not before.has_session:
        return seen
    until = now if before.until is None else min(before.until, now)
    return Known(seen.cookies, has_session=False, until=until, mark=seen.mark)


def _signed_out(known: Known, now: float) -> Failed:
    hint = "run `backupd session login`"
    if known.until is not None and known.until <= now:
        return Failed("missing", "the sign-in of the browser's profile has ended", hint)
    return Failed("missing", "nobody has signed in to the browser's profile yet", hint)


def _cookie(crumb: Crumb) -> dict[str, object]:
    name = crumb.domain.removeprefix(".")
    # The prefix asks for a cookie without a domain; Chromium refuses any other.
    alone = crumb.name.startswith("__Host-") or not crumb.wide
    place = {"url": f"https://{name}/"} if alone else {"domain": f".{name}", "path": crumb.path}
    end = {} if crumb.expires is None else {"expires": float(crumb.expires)}
    return {"name": crumb.name, "value": crumb.value, "secure": crumb.secure, **place, **end}
