"""The way in by a browser: asks the process that drives Chromium, and takes over the finished file.

That process is the unit `backupd-browser.service` where its socket is there, else a child of our
own. Nothing of Chromium runs in this process, and what comes back is judged as any server's answer
is: a page by `answers`, a file by its length, its beginning and its end. Chromium cannot continue
what a plain request left; a part file is replaced only by a whole one.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from backupd.download import answers
from backupd.download.answers import Answer, Standing
from backupd.download.browser_reach import Browser
from backupd.download.browser_talk import (
    Answered,
    Broken,
    Downloaded,
    Failed,
    Get,
    Heard,
    Keep,
    Known,
    Look,
    Progress,
    Request,
    SignIn,
    Strayed,
    Trust,
    receive_reply,
)
from backupd.download.cookies import Crumb
from backupd.download.headers import Headers
from backupd.download.outcome import (
    DiskFull,
    Ended,
    Fetched,
    LinkRefused,
    NetworkFailed,
    NotAZip,
    Outcome,
    SessionMissing,
    TooBig,
)
from backupd.download.pace import SLICE, Pace
from backupd.download.part import CHUNK, PartFile
from backupd.download.resume import Validators
from backupd.download.session import HOST, Condition, Kind, Validity
from backupd.download.terms import Network
from backupd.download.way import Errand
from backupd.errors import CredentialError
from backupd.export import archive
from backupd.mail.link import Link

SILENCE = 90.0
"""Seconds without a byte while Chromium starts or waits; a hung one is given up then."""
LONGEST_USE = timedelta(hours=36)
SIGN_IN_SECONDS = 1800.0
KEEP_SECONDS = 120.0
_SIGN_IN = "sign in with `backupd session login`; docs/signed-in.md says how"
_log = logging.getLogger("backupd.download")


class BrowserWay:
    """Downloads by Chromium with one profile."""

    kind = Kind.BROWSER

    def __init__(self, browser: Browser, profile: str) -> None:
        self._browser = browser
        self._profile = profile

    def reaches(self, link: Link) -> bool:
        """Say whether the link is of the kind that is signed in to."""
        return link.signed_in

    def fetch(self, errand: Errand) -> Outcome:
        """Let Chromium download the file; see the rules of `way`."""
        try:
            pace = Pace(errand.limits, errand.cancel, errand.now, errand.link.give_up_at)
            with PartFile(errand.part, errand.limits.reserve) as file:
                outcome = self._attempt(errand, file, pace)
        except Ended as end:
            outcome = end.outcome
        except Broken:
            outcome = NetworkFailed("the process that drives the browser is not there, or ended")
        _log.info("download from %s: %s: %s", errand.link.host, outcome.kind, outcome.detail)
        return outcome

    def validity(self, now: datetime) -> Validity:
        """Say what was seen when the profile was last used; Chromium is not started."""
        known = self.known()
        until = None if known.until is None else datetime.fromtimestamp(known.until, UTC)
        if until is not None and until <= now:
            condition, detail = Condition.ENDED, "browser profile"
        elif known.cookies == 0:
            condition, detail = Condition.UNUSABLE, "nobody has signed in to the browser's profile"
        else:
            condition, detail = Condition.READY, _described(known)
        return Validity(
            condition, HOST, until, renewed=False, detail=detail, hint=_SIGN_IN, mark=known.mark
        )

    def known(self) -> Known:
        """Return what is known of the profile.

        Raises:
            CredentialError: nobody answers.
        """
        return _last(self._browser, Look(self._profile), KEEP_SECONDS)

    def keep(self, crumbs: tuple[Crumb, ...], now: datetime) -> Known:
        """Put cookies into the profile, in place of all that are there.

        Raises:
            CredentialError: it cannot be done.
        """
        request = Keep(self._profile, now.timestamp(), KEEP_SECONDS, crumbs)
        return _last(self._browser, request, KEEP_SECONDS)

    def sign_in(self, network: Network, now: datetime) -> Known:
        """Open a window for a person and wait until there is a session or the window is closed.

        Raises:
            CredentialError: it cannot be done.
        """
        try:
            trust = _trust(network)
        except Ended as end:
            raise CredentialError(f"use browser: {end.outcome.detail}", "correct ca_file") from end
        request = SignIn(self._profile, now.timestamp(), SIGN_IN_SECONDS, trust)
        return _last(self._browser, request, SIGN_IN_SECONDS + SILENCE)

    def _attempt(self, errand: Errand, file: PartFile, pace: Pace) -> Outcome:
        stored = file.stored
        if stored.size and stored.size == stored.validators.total and _is_whole(file.fileno()):
            return Fetched(stored.size, file.digest(pace.check_stop))
        pace.check()
        now, limits = errand.now(), errand.limits
        left = min(errand.link.give_up_at - now, LONGEST_USE)
        request = Get(
            profile=self._profile,
            url=errand.link.url.reveal(),
            now=now.timestamp(),
            seconds=left.total_seconds(),
            max_size=limits.max_size,
            reserve=limits.reserve,
            trust=_trust(errand.network),
        )
        with self._browser.asked(request) as sock:
            heard = _listen(sock, pace, errand.progress)
            try:
                return self._judge(heard, errand, file, pace)
            finally:
                if heard.fd is not None:
                    os.close(heard.fd)

    def _judge(self, heard: Heard, errand: Errand, file: PartFile, pace: Pace) -> Outcome:
        reply = heard.reply
        match reply:
            case Failed():
                return _failed(reply, errand.limits.max_size)
            case Strayed():
                standing = _standing(errand, signed=reply.signed)
                return (
                    answers.signed_out(standing) if reply.to_sign_in else LinkRefused(reply.reason)
                )
            case Answered():
                answer = Answer(reply.status, Headers.of(reply.fields), reply.head)
                return answers.classify(answer, _standing(errand, signed=reply.signed))
            case Downloaded() if heard.fd is not None:
                return _take(heard.fd, reply, errand, file, pace)
            case _:
                raise Broken


def _listen(sock: socket.socket, pace: Pace, progress: Callable[[int, int | None], None]) -> Heard:
    """Wait for the reply that ends the use, inside the bounds of the attempt."""
    before, began, last = 0, time.monotonic(), time.monotonic()
    while True:
        ready = select.select([sock], [], [], SLICE)[0]
        pace.check()
        if ready:
            heard = receive_reply(sock)
            if not isinstance(heard.reply, Progress):
                return heard
            done = heard.reply.done
            now = time.monotonic()
            if done:
                pace.waited(now - last, max(done - before, 0))
            before, last = done, now
            progress(done, heard.reply.total)
        if not before and time.monotonic() - began > SILENCE:
            raise Ended(NetworkFailed("the browser did not begin the download in time"))
        if time.monotonic() - last > SILENCE:
            raise Ended(NetworkFailed("the browser shows no life"))


def _last(browser: Browser, request: Request, seconds: float) -> Known:
    """Ask what takes no download; return what is known afterwards."""
    end = time.monotonic() + seconds
    try:
        with browser.asked(request) as sock:
            while time.monotonic() < end:
                if not select.select([sock], [], [], SLICE)[0]:
                    continue
                reply = receive_reply(sock).reply
                if isinstance(reply, Known):
                    return reply
                if isinstance(reply, Failed):
                    raise CredentialError(f"use browser: {reply.detail}", reply.hint or _SIGN_IN)
    except Broken:
        raise CredentialError(
            "use browser: the process that drives it is not there, or ended",
            "look at `systemctl status backupd-browser.socket`, or for another use of the profile",
        ) from None
    raise CredentialError("use browser: it does not answer", "try again")


def _failed(reply: Failed, limit: int) -> Outcome:
    match reply.kind:
        case "missing":
            return SessionMissing(reply.detail)
        case "too-big":
            return TooBig(limit)
        case "disk-full":
            return DiskFull(reply.number)
        case _:
            return NetworkFailed(reply.detail)


def _standing(errand: Errand, *, signed: bool) -> Standing:
    now = errand.now()
    return Standing(
        anonymous=not errand.link.signed_in,
        late=now >= errand.link.deadline,
        now=now,
        signed=signed,
    )


def _trust(network: Network) -> Trust:
    """Say the network's terms in a message.

    Raises:
        Ended: `ca_file` cannot be read.
    """
    ca = None
    if network.ca_file is not None:
        try:
            ca = network.ca_file.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            cause = (error.strerror or "failed").lower()
            raise Ended(NetworkFailed(f'ca_file "{network.ca_file}": {cause}')) from error
    return Trust(ca, tuple(network.connect_to.items()))


def _take(fd: int, reply: Downloaded, errand: Errand, file: PartFile, pace: Pace) -> Outcome:
    """Judge the finished file, then put it in the place of what is there."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise Broken
    head = os.pread(fd, answers.HEAD_SIZE, 0)
    if not head.startswith(answers.MAGIC):
        answer = Answer(200, Headers.of(reply.fields), head)
        return answers.classify(answer, _standing(errand, signed=reply.signed))
    if found.st_size > errand.limits.max_size:
        return TooBig(errand.limits.max_size)
    if reply.total is not None and reply.total != found.st_size:
        return NetworkFailed(f"ended early: {found.st_size} of {reply.total} bytes")
    if not _is_whole(fd):
        if reply.total is None:
            return NetworkFailed("ended early; its length was not announced")
        return NotAZip("begins like a ZIP but does not end like one")
    file.need_room(found.st_size)
    file.restart(Validators(total=found.st_size))
    for offset in range(0, found.st_size, CHUNK):
        pace.check_stop()
        file.append(os.pread(fd, CHUNK, offset))
        errand.progress(file.stored.size, found.st_size)
    file.finish()
    return Fetched(file.stored.size, file.digest(pace.check_stop))


def _is_whole(fd: int) -> bool:
    """Tell whether a file begins and ends like a whole ZIP."""
    try:
        with open(fd, "rb", closefd=False) as file:
            archive.looks_complete(file)
    except archive.ArchiveRefused:
        return False
    return True


def _described(known: Known) -> str:
    number = f"browser profile, {known.cookies} cookies"
    if known.has_session:
        return number
    return f"{number}; the usual one of a session is not among them"
