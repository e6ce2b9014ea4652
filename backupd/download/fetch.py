"""One attempt at one link: from the request to a durable file, or to a typed reason why not.

Rules that stay in this file: every URL, the first and each redirect's, passes the link rules before
it is asked for; nothing of a partial file is dropped before the answer that replaces it is known to
begin like a ZIP; a file is `Fetched` only when it is whole, shaped like a ZIP and durable with its
directory. It does not know when to try again (`plan`) and does not verify members (the caller).
Read first: `resume`, `answers`, `pace`.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NoReturn
from urllib.parse import urldefrag, urljoin

from backupd.download import answers, resume
from backupd.download.answers import Answer, Standing
from backupd.download.outcome import (
    Cancelled,
    Challenged,
    DiskFull,
    Ended,
    Expired,
    Fetched,
    LinkRefused,
    NetworkFailed,
    NotAZip,
    Outcome,
    RateLimited,
    ServerFailed,
    SessionMissing,
    SessionRefused,
    SignInNeeded,
    TooBig,
    WrongAccount,
)
from backupd.download.pace import Pace
from backupd.download.part import PartFile, discard
from backupd.download.resume import Restart, Stored, Validators
from backupd.download.session import Anonymous, Session
from backupd.download.terms import Limits, Network
from backupd.download.transport import Client, Incoming
from backupd.export import archive
from backupd.mail import gate
from backupd.mail.link import Link

__all__ = [
    "Cancelled",
    "Challenged",
    "DiskFull",
    "Expired",
    "Fetched",
    "Limits",
    "LinkRefused",
    "Network",
    "NetworkFailed",
    "NotAZip",
    "Outcome",
    "RateLimited",
    "ServerFailed",
    "SessionMissing",
    "SessionRefused",
    "SignInNeeded",
    "TooBig",
    "WrongAccount",
    "discard",
    "fetch",
]

HOPS = 5
LONGEST_URL = 8192

Progress = Callable[[int, int | None], None]
_PRINTABLE = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without space and backslash, which parsers disagree about."""
_ANONYMOUS = Anonymous()
_log = logging.getLogger("backupd.download")


def fetch(
    link: Link,
    part: Path,
    limits: Limits,
    network: Network,
    now: Callable[[], datetime],
    cancel: threading.Event,
    progress: Progress | None = None,
    session: Session = _ANONYMOUS,
) -> Outcome:
    """Try once to get the file of `link` into `part`, continuing what is there.

    `session` signs the requests in and sees every answer's fields, those of redirects included.
    `now` gives aware UTC. `part` lies in an existing directory; its sidecar is
    `part.with_suffix(".json")`. A file that an earlier attempt completed is found without asking
    the server. A stop by `cancel` is noticed within a second. `progress` hears the bytes on disk
    and the whole size, if known. Two attempts may not share a part.

    Raises:
        DownloadFailed: the part cannot be opened, read or written for a reason other than room.
    """
    try:
        pace = Pace(limits, cancel, now, link.give_up_at)
        with PartFile(part, limits.reserve) as file:
            outcome = _Attempt(link, file, limits, pace, now, progress, session).run(network)
    except Ended as end:
        outcome = end.outcome
    _log.info("download from %s: %s: %s", link.host, outcome.kind, outcome.detail)
    return outcome


class _Again(Exception):
    """The file cannot be continued with this answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Attempt:
    def __init__(
        self,
        link: Link,
        file: PartFile,
        limits: Limits,
        pace: Pace,
        now: Callable[[], datetime],
        progress: Progress | None,
        session: Session,
    ) -> None:
        self._session = session
        self._signed = False
        self._link = link
        self._file = file
        self._limits = limits
        self._pace = pace
        self._now = now
        self._progress = progress
        self._framed = True

    def run(self, network: Network) -> Outcome:
        """Ask until the file is whole or the answers end the attempt by `Ended`."""
        stored = self._file.stored
        if stored.size and stored.size == stored.validators.total:
            if self._has_end():
                return self._accept()
            self._file.restart(Validators())
        self._pace.check()
        with Client(network, self._limits, self._pace) as client:
            self._transfer(client)
        if not self._has_end():
            self._refuse()
        return self._accept()

    def _transfer(self, client: Client) -> None:
        """Request the rest while answers bring the file forward; begin anew at most once."""
        stored = self._file.stored
        asked = stored if resume.resumable(stored) else None
        begun_anew = asked is None
        while True:
            before = asked.size if asked else 0
            try:
                self._request(client, asked)
            except _Again as turn:
                if begun_anew:
                    raise Ended(ServerFailed(turn.status, turn.reason)) from turn
                _log.info("download from %s: begun anew: %s", self._link.host, turn.reason)
                asked, begun_anew = None, True
                continue
            asked = self._file.stored
            total = asked.validators.total
            if total is None or asked.size >= total:
                return
            # A server may serve shorter ranges than asked for, but each must be worth its request.
            if asked.size - before < resume.OVERLAP or not resume.resumable(asked):
                raise Ended(NetworkFailed(f"ended early: {asked.size} of {total} bytes"))

    def _request(self, client: Client, asked: Stored | None) -> None:
        """Make one request and put its body where it belongs."""
        self._check_room(asked)
        with self._answer(client, resume.range_fields(asked) if asked else ()) as incoming:
            status = incoming.status
            if status not in (200, 206) and not (status == 416 and asked):
                raise Ended(self._judge(incoming, b""))
            placed = resume.place(asked, status, incoming.headers)
            if isinstance(placed, Restart):
                raise _Again(status, placed.reason)
            if answers.coded(incoming.headers):
                raise Ended(self._judge(incoming, b""))
            self._framed = placed.end is not None or incoming.headers.has("transfer-encoding")
            if placed.first == 0:
                self._begin(incoming, placed.validators)
            else:
                self._rejoin(incoming)
            for chunk in incoming.body:
                self._append(status, chunk)

    @contextmanager
    def _answer(self, client: Client, fields: tuple[tuple[str, str], ...]) -> Iterator[Incoming]:
        """Ask for the link, following at most `HOPS` redirects, each held to the link rules."""
        url = self._link.url.reveal()
        status = 0
        for hop in range(HOPS + 1):
            url = self._passed(url)
            signing = self._session.headers_for(url, hop)
            self._signed = bool(signing)
            with client.get(url, (*fields, *signing)) as incoming:
                status = incoming.status
                self._session.learn(url, incoming.headers)
                if status not in answers.REDIRECTS:
                    yield incoming
                    return
                url = self._redirect(url, incoming)
        raise Ended(ServerFailed(status, f"more than {HOPS} redirects"))

    def _redirect(self, url: str, incoming: Incoming) -> str:
        """Return where a redirect leads; the raw text is judged before any parser sees it."""
        raw = incoming.headers.one("location")
        if not raw:
            raise Ended(ServerFailed(incoming.status, "a redirect without a target"))
        if len(raw) > LONGEST_URL or not _PRINTABLE.fullmatch(raw):
            raise Ended(LinkRefused("the redirect's target is malformed"))
        try:
            return urldefrag(urljoin(url, raw)).url
        except ValueError:
            raise Ended(LinkRefused("the redirect's target is malformed")) from None

    def _passed(self, url: str) -> str:
        """Hold one URL to the link rules; a redirect to the site's own pages means sign in."""
        try:
            return gate.check_url(url, gate.HOSTS).url.reveal()
        except gate.LinkRefused as exc:
            if answers.leads_to_sign_in(url):
                raise Ended(answers.signed_out(self._standing())) from exc
            raise Ended(LinkRefused(exc.reason)) from exc

    def _judge(self, incoming: Incoming, head: bytes) -> Outcome:
        """Name the outcome of an answer that is not the file, from its first bytes."""
        try:
            for chunk in incoming.body:
                head += chunk
                if len(head) >= answers.HEAD_SIZE:
                    break
        except Ended as end:
            if not isinstance(end.outcome, NetworkFailed) or incoming.status in (200, 206):
                raise
        answer = Answer(incoming.status, incoming.headers, head[: answers.HEAD_SIZE])
        return answers.classify(answer, self._standing())

    def _standing(self) -> Standing:
        now = self._now()
        return Standing(
            anonymous=not self._link.signed_in,
            late=now >= self._link.deadline,
            now=now,
            signed=self._signed,
        )

    def _begin(self, incoming: Incoming, validators: Validators) -> None:
        """Replace what is there by this body, once its first bytes are a ZIP's."""
        head = b""
        for chunk in incoming.body:
            head += chunk
            if len(head) >= len(answers.MAGIC):
                break
        if not head.startswith(answers.MAGIC):
            raise Ended(self._judge(incoming, head))
        if validators.total is not None and validators.total > self._limits.max_size:
            self._too_big()
        self._file.restart(validators)
        self._file.need_room(validators.total or 0)
        self._append(incoming.status, head)

    def _rejoin(self, incoming: Incoming) -> None:
        """Compare the overlap with the end of the file, then add what follows it."""
        known = self._file.tail(resume.OVERLAP)
        seen = b""
        for chunk in incoming.body:
            seen += chunk
            if len(seen) >= len(known):
                break
        if not seen.startswith(known):
            raise _Again(incoming.status, "the bytes before the cut changed")
        self._append(incoming.status, seen[len(known) :])

    def _append(self, status: int, data: bytes) -> None:
        size = self._file.stored.size + len(data)
        total = self._file.stored.validators.total
        if total is not None and size > total:
            raise _Again(status, "more bytes than announced")
        if size > self._limits.max_size:
            self._too_big()
        self._file.append(data)
        if self._progress is not None:
            self._progress(size, total)

    def _check_room(self, asked: Stored | None) -> None:
        rest = 0
        if asked is not None and asked.validators.total is not None:
            rest = asked.validators.total - asked.size
        self._file.need_room(rest)

    def _too_big(self) -> NoReturn:
        self._file.restart(Validators())
        raise Ended(TooBig(self._limits.max_size))

    def _has_end(self) -> bool:
        """Tell whether the file begins and ends like a whole ZIP."""
        try:
            with open(self._file.fileno(), "rb", closefd=False) as file:
                archive.looks_complete(file)
        except archive.ArchiveRefused:
            return False
        return True

    def _refuse(self) -> NoReturn:
        """End the attempt: the file has no end; cut short, if no length was announced."""
        if not self._framed:
            raise Ended(NetworkFailed("ended early; its length was not announced"))
        self._file.forget()
        raise Ended(NotAZip("begins like a ZIP but does not end like one"))

    def _accept(self) -> Fetched:
        """Make the file durable, then name it by its hash."""
        self._file.finish()
        return Fetched(self._file.stored.size, self._file.digest(self._still_reading))

    def _still_reading(self) -> None:
        """Show life while a large file is read once more, and heed a stop."""
        self._pace.check_stop()
        if self._progress is not None:
            self._progress(self._file.stored.size, self._file.stored.size)
