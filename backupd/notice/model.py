"""What a notice is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """How much a notice asks of a person."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Order severities: info 0, warning 1, error 2."""
        return tuple(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing a person should know.

    `event` is the stable name of the kind of thing; `title` is one line, `body` a few. `fault`
    is the key under which repeats collapse while the fault is open; `clears` are the faults that
    this notice ends, a final `*` standing for any ending. A `recovery` is only worth telling if
    one of the faults it clears was open. `fields` are counts and names for machines; a name is
    lower case with underscores. Nothing in a notice is a URL, a secret, or text of a chat.
    """

    event: str
    severity: Severity
    title: str
    body: str
    delivery: str | None = None
    snapshot: str | None = None
    fault: str | None = None
    clears: tuple[str, ...] = ()
    recovery: bool = False
    fields: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportMail:
    """Which mail a person has to open: where it lies, and when it was sent (aware)."""

    mailbox: str | None
    sent_at: datetime


def answering(notice: Notice, requests: tuple[str, ...]) -> Notice:
    """Return a notice that also ends what was told of requests for an export, by their ids."""
    ended = tuple(f"request:{request}" for request in requests)
    return replace(notice, clears=(*notice.clears, *ended))


def faults_of(delivery: str | None) -> tuple[str, ...]:
    """Return what ends when a delivery ends: every fault that it may have."""
    return () if delivery is None else (f"delivery:{delivery}:*",)
