"""A sink in memory that watchers report to, and mails to deliver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from backupd.mail.cursor import Cursor
from backupd.mail.message import MessageRefused, parse

_NUMBERS = count(1)
ACCOUNT = "5f3a" * 16


@dataclass(frozen=True)
class Found:
    """One mail as it was handed over, and when by the monotonic clock."""

    folder: str
    uidvalidity: int
    uid: int
    raw: bytes
    received_at: datetime
    at: float


class MemorySink:
    """Keeps the contract of `Sink`; `wait` blocks until what was reported satisfies a test."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.found_mails: list[Found] = []
        self.cursors: dict[str, Cursor] = {}
        self.events: list[str] = []
        self.reasons: list[str] = []
        self._keys: set[str] = set()
        self._clock = clock
        self._changed = threading.Condition()

    def cursor(self, mailbox: str, folder: str) -> Cursor | None:
        return self.cursors.get(folder)

    def advance(self, mailbox: str, folder: str, cursor: Cursor) -> None:
        self.cursors[folder] = cursor
        self._note("advance")

    def known(self, mailbox: str, message_key: str) -> bool:
        return message_key in self._keys

    def found(
        self,
        mailbox: str,
        folder: str,
        uidvalidity: int,
        uid: int,
        raw: bytes,
        received_at: datetime,
    ) -> None:
        try:
            self._keys.add(parse(raw).message_key)
        except MessageRefused as refused:
            self._keys.add(refused.message_key)
        self.found_mails.append(Found(folder, uidvalidity, uid, raw, received_at, self._clock()))
        self._note("found")

    def unreadable(self, mailbox: str, folder: str, uid: int, reason: str) -> None:
        self._note("unreadable", reason)

    def unreachable(self, mailbox: str, reason: str, since: datetime) -> None:
        assert since.tzinfo is not None
        self._note("unreachable", reason)

    def refused(self, mailbox: str, reason: str) -> None:
        self._note("refused", reason)

    def recovered(self, mailbox: str) -> None:
        self._note("recovered")

    def wait(self, satisfied: Callable[[MemorySink], bool], seconds: float = 15) -> None:
        """Block until `satisfied(self)`; fail after `seconds`, showing what was reported."""
        with self._changed:
            if not self._changed.wait_for(lambda: satisfied(self), seconds):
                raise AssertionError(f"not in {seconds} s; reported: {self.events} {self.reasons}")

    def _note(self, event: str, reason: str = "") -> None:
        with self._changed:
            self.events.append(event)
            if reason:
                self.reasons.append(reason)
            self._changed.notify_all()


def export_mail(
    subject: str = "ChatGPT - Your data export is ready",
    sender: str = "OpenAI <noreply@tm.openai.com>",
    message_id: str | None = None,
    padding: int = 0,
) -> bytes:
    """Return a mail like OpenAI's with a link of its own."""
    number = next(_NUMBERS)
    identity = message_id or f"<{number}.export@geopod-ismtpd-1>"
    url = (
        f"https://chatgpt.com/backend-api/estuary/content?id={ACCOUNT}-2026-11-22-08-00-"
        f"{number % 60:02d}-{number:032x}.zip&ts=498000&p=de&cid=1&sig={number:064x}&v=0"
    )
    return (
        "Authentication-Results: mx.example.org; dmarc=pass header.from=tm.openai.com\r\n"
        f"From: {sender}\r\nTo: me@example.org\r\nSubject: {subject}\r\n"
        f"Date: Sun, 22 Nov 2026 08:00:{number % 60:02d} +0000\r\nMessage-ID: {identity}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"Download data export\r\n<{url.replace('&', '&amp;')}>\r\n" + "x" * padding
    ).encode()


def now() -> datetime:
    """The clock that tests hand to watchers."""
    return datetime.now(UTC)
