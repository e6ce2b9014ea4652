"""One logged-in, read-only IMAP connection; with `login` the only module that knows imapclient.

Whatever goes wrong on the wire ends as `MailboxUnreachable` (worth another try) or `MailboxRefused`
(the login; never tried again without a change). What must stay here, and why:

- EXAMINE and BODY.PEEK only: no mail is ever marked, moved or deleted (I5).
- TLS before the password, always, with certificate and host name verified; there is no switch.
- Every operation has a time and a byte limit (`guard`); bodies are asked for one at a time.
- Search criteria are ASCII without a charset, never UNSEEN, never ALL.
- An answer is indexed by the UID asked for; keys that were not asked for are ignored, and a key
  that was asked for and is missing means "not yet", never "no such mail".
- After any exception the connection is worthless: imaplib may be in the middle of a line.
- imaplib quotes raw lines of the server in its exceptions, a mail's signed link among them. Such
  text goes nowhere, therefore `from None`; only status lines are quoted, escaped (I6).
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import (
    CapabilityError,
    IMAPClientAbortError,
    IMAPClientError,
)

from backupd.errors import MailboxUnreachable
from backupd.mail.answers import FOREIGN, cause, is_passing
from backupd.mail.cursor import SearchPlan
from backupd.mail.guard import Guard
from backupd.mail.login import ServerSettings, check_login, log_in
from backupd.mail.message import MAX_BYTES, safe

# The library logs every line it reads, mail bodies included, at DEBUG.
for _name in ("imapclient", "imapclient.imapclient", "imapclient.imaplib", "imaplib"):
    logging.getLogger(_name).setLevel(logging.WARNING)

SENDER = "openai.com"
FETCH_CHUNK = 100
ANSWER_BYTES = 4 * 1024 * 1024
IDLE_BYTES = 32 * 1024  # a thousand lines; in IDLE they are read byte by byte, 2 µs each
BODY_BYTES = 2 * MAX_BYTES
FAREWELL_SECONDS = 3.0

_SPECIAL_USES = (b"\\junk", b"\\all")
_HEADER = "BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE MESSAGE-ID)]"


class FolderMissing(MailboxUnreachable):
    """A folder is not there, or was renamed; raised by `examine` only."""


class Idling(Enum):
    """What a wait in IDLE ended with; DOUBTFUL looks like silence but came too early."""

    QUIET = "quiet"
    CHANGED = "changed"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder's UIDVALIDITY and, if the server tells, its next UID."""

    uidvalidity: int
    uidnext: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What is fetched of a mail before its body; `size` and `received_at` if the server tells."""

    uid: int
    size: int | None
    received_at: datetime | None
    header: bytes


class Session:
    """A connection that is logged in. One thread talks; `guard.abort` may come from another."""

    def __init__(self, client: IMAPClient, guard: Guard, host: str) -> None:
        self._client = client
        self._guard = guard
        self._host = host

    @property
    def can_idle(self) -> bool:
        """Whether the server offers IDLE."""
        with self._talking("ask for capabilities"):
            return bool(self._client.has_capability("IDLE"))

    def folders(self) -> tuple[tuple[str, frozenset[bytes]], ...]:
        """List the folders that can be opened: name and attributes in lower case."""
        with self._talking("list folders"):
            listed = self._client.list_folders()
            found = [
                (str(name), frozenset(flag.lower() for flag in flags)) for flags, _, name in listed
            ]
        return tuple((name, flags) for name, flags in found if b"\\noselect" not in flags)

    def examine(self, folder: str) -> FolderState:
        """Open a folder read-only.

        Raises:
            FolderMissing: the server does not have it.
        """
        with self._talking("open folder"):
            try:
                answer = self._client.select_folder(folder, readonly=True)
            except IMAPClientAbortError:
                raise
            except IMAPClientError as problem:
                if not str(problem).startswith("select failed") or is_passing(str(problem)):
                    raise
                answer = None
        if answer is None:
            raise FolderMissing(f'open folder "{safe(folder, 80)}": the server does not have it')
        with self._talking("open folder"):
            uidnext = answer.get(b"UIDNEXT")
            return FolderState(
                int(answer[b"UIDVALIDITY"]), None if uidnext is None else int(uidnext)
            )

    def search(self, plan: SearchPlan, sender: str = SENDER) -> list[int]:
        """Return the UIDs of mails that name `sender` as theirs, "" for anybody, ascending."""
        criteria: list[Any] = ["FROM", sender] if sender else []
        if plan.since is not None:
            criteria = ["SINCE", plan.since, *criteria]
        else:
            criteria = ["UID", f"{plan.first_uid}:*", *criteria]
        with self._talking("search"):
            return plan.wanted(int(uid) for uid in self._client.search(criteria))

    def summaries(self, uids: Sequence[int], header: str = _HEADER) -> Iterator[Summary]:
        """Fetch sizes, times and the header, or the fields of it, 100 mails at a time.

        A UID without an answer, or without a header in it, is left out.
        """
        for start in range(0, len(uids), FETCH_CHUNK):
            chunk = uids[start : start + FETCH_CHUNK]
            with self._talking("fetch headers"):
                answer = self._client.fetch(chunk, ["RFC822.SIZE", "INTERNALDATE", header])
                found = [_summary(uid, answer[uid]) for uid in chunk if uid in answer]
            yield from (summary for summary in found if summary is not None)

    def body(self, uid: int) -> bytes | None:
        """Fetch one whole mail without marking it; None if the answer holds no body."""
        with self._talking("fetch mail", BODY_BYTES):
            raw = self._client.fetch([uid], ["BODY.PEEK[]"]).get(uid, {}).get(b"BODY[]")
        return raw if isinstance(raw, bytes) and raw else None

    def enter_idle(self) -> bool:
        """Enter IDLE; False if something changed just before, so that a search comes first."""
        with self._talking("enter IDLE", IDLE_BYTES):
            _, answers = self._client.noop()
            if any(not _is_chatter(answer) for answer in answers):
                return False
            self._guard.narrow = True
            self._client.idle()
            return True

    def wait_idle(self, seconds: float) -> Idling:
        """Wait in IDLE for news; at most `seconds`, which should be at least one."""
        if self._guard.pending():
            return Idling.CHANGED
        began = time.monotonic()
        with self._talking("wait in IDLE"):
            self._guard.allow(IDLE_BYTES, waiting=seconds)
            answers = self._client.idle_check(timeout=seconds)
            self._refuse_goodbye(answers)
        if any(not _is_chatter(answer) for answer in answers):
            return Idling.CHANGED
        early = time.monotonic() - began < seconds - 0.05
        return Idling.DOUBTFUL if early and not answers else Idling.QUIET

    def leave_idle(self) -> None:
        """Leave IDLE; what the server said meanwhile does not matter, for a search follows."""
        with self._talking("leave IDLE", IDLE_BYTES):
            _, answers = self._client.idle_done()
            self._refuse_goodbye(answers)
            self._guard.narrow = False

    def close(self) -> None:
        """Log out if that takes no longer than a moment, and close; never fails."""
        with suppress(*FOREIGN):
            if not self._guard.aborted and not self._guard.narrow:
                self._guard.allow(IDLE_BYTES)
                self._client.socket().settimeout(FAREWELL_SECONDS)
                self._client.logout()
        _shut(self._client, self._guard)

    @contextmanager
    def _talking(self, what: str, size: int = ANSWER_BYTES) -> Iterator[None]:
        """Limit one exchange with the server and translate what it raises."""
        try:
            self._guard.allow(size)
            yield
        except FOREIGN as problem:
            raise MailboxUnreachable(
                f'{what} on "{safe(self._host, 80)}": {cause(problem)}'
            ) from None

    def _refuse_goodbye(self, answers: Sequence[Any]) -> None:
        if any(isinstance(answer, tuple) and answer[:1] == (b"BYE",) for answer in answers):
            raise IMAPClientAbortError("BYE")


def connect(settings: ServerSettings, secret: str, guard: Guard) -> Session:
    """Connect, encrypt, log in.

    Raises:
        MailboxUnreachable: no connection, no valid certificate, or a passing fault of the server.
        MailboxRefused: the login was refused, or the settings make it impossible.
    """
    check_login(settings, secret)
    client = _open(settings, guard)
    try:
        log_in(client, settings, secret)
    except BaseException:
        _shut(client, guard)
        raise
    return Session(client, guard, settings.host)


def watched_folders(session: Session, settings: ServerSettings) -> tuple[str, ...]:
    """Return the folders to look at: the configured ones, else INBOX, Junk and All by use."""
    if settings.folders is not None:
        return settings.folders
    special = [name for name, flags in session.folders() if not flags.isdisjoint(_SPECIAL_USES)]
    return tuple(dict.fromkeys(("INBOX", *special)))


def probe(settings: ServerSettings, secret: str) -> str:
    """Log in, open every watched folder, and say in one line what was seen.

    Raises:
        MailboxUnreachable, MailboxRefused: as `connect`; also for a folder that is not there.
    """
    session = connect(settings, secret, Guard())
    try:
        folders = watched_folders(session, settings)
        for folder in folders:
            session.examine(folder)
        idle = "IDLE" if session.can_idle else "no IDLE, polling only"
    except FolderMissing as problem:
        raise MailboxUnreachable(problem.message, "correct `folders` of the mailbox") from None
    finally:
        session.close()
    return (
        f"logged in at {settings.host}; folders {', '.join(safe(f, 60) for f in folders)}; {idle}"
    )


def _open(settings: ServerSettings, guard: Guard) -> IMAPClient:
    """Open the connection, encrypted when this returns."""
    place = f'connect to "{safe(settings.host, 80)}:{settings.port}"'
    client: IMAPClient | None = None
    try:
        context = guard.context(settings.ca_file)
    except OSError as problem:
        raise MailboxUnreachable(
            f"{place}: ca_file: {cause(problem)}", "name a readable PEM file in ca_file"
        ) from None
    try:
        guard.allow(ANSWER_BYTES)
        client = IMAPClient(
            settings.host,
            port=settings.port,
            ssl=settings.security == "tls",
            ssl_context=context,
            timeout=SocketTimeout(settings.connect_timeout, settings.read_timeout),
        )
        if settings.security == "starttls":
            client.starttls(context)
            client.socket().settimeout(settings.read_timeout)
    except FOREIGN as problem:
        if client is not None:
            _shut(client, guard)
        raise _connect_error(place, problem) from None
    client.normalise_times = False
    return client


def _connect_error(place: str, problem: BaseException) -> MailboxUnreachable:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return MailboxUnreachable(
            f"{place}: the certificate is not accepted: {safe(problem.verify_message, 120)}",
            "if the server uses its own authority, name its certificate in ca_file",
        )
    if isinstance(problem, CapabilityError):
        return MailboxUnreachable(
            f"{place}: the server does not offer STARTTLS; the password was not sent",
            'use port 993 and security = "tls"',
        )
    return MailboxUnreachable(f"{place}: {cause(problem)}", "check host, port and network")


def _summary(uid: int, data: dict[bytes, Any]) -> Summary | None:
    """Pick what was asked for from an answer that may hold anything else as well."""
    header = next((value for key, value in data.items() if key.startswith(b"BODY[HEADER")), None)
    if not isinstance(header, bytes):
        return None
    size, received = data.get(b"RFC822.SIZE"), data.get(b"INTERNALDATE")
    if not isinstance(received, datetime) or received.tzinfo is None:
        received = None
    return Summary(
        uid=uid,
        size=size if isinstance(size, int) else None,
        received_at=received.astimezone(UTC) if received else None,
        header=header,
    )


def _is_chatter(answer: Any) -> bool:
    """Tell a server's `* OK Still here` from an answer that may mean a change."""
    return isinstance(answer, tuple) and answer[:1] == (b"OK",)


def _shut(client: IMAPClient, guard: Guard) -> None:
    guard.release()
    with suppress(*FOREIGN):
        client.shutdown()
