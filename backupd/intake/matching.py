"""Which pending delivery a file that came by another way belongs to. Pure.

A file matches by the name that the link promised (browsers may add " (1)"), else by account and
time: the ZIP's own time stamp equals the stamp in the link's file name within ten minutes, and the
link's file is not known to be another account's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.export.layout import exported_at
from backupd.ledger.delivery import Delivery

_COPY_MARK = re.compile(r"(?: ?\(\d+\)|[ _-]copy)(?=\.zip$)", re.IGNORECASE)
_TOLERANCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a file that was handed in.

    `foreign` are the beginnings of file names under which only other accounts' exports came.
    """

    file_name: str
    account_prefix: str | None
    exported_at: datetime | None
    foreign: frozenset[str] = frozenset()


def match(candidate: Candidate, pending: Sequence[Delivery]) -> Delivery | None:
    """Return the one delivery the file belongs to, or None if none or several fit by time."""
    name = plain_name(candidate.file_name)
    for delivery in pending:
        if delivery.file_name is not None and delivery.file_name.lower() == name:
            return delivery
    fitting = [delivery for delivery in pending if _fits(candidate, delivery)]
    return fitting[0] if len(fitting) == 1 else None


def plain_name(file_name: str) -> str:
    """Return the name without what browsers and file managers add, in lower case."""
    return _COPY_MARK.sub("", file_name.strip()).lower()


def _fits(candidate: Candidate, delivery: Delivery) -> bool:
    if candidate.exported_at is None or delivery.file_name is None:
        return False
    if delivery.account in candidate.foreign:
        return False
    prefix = candidate.account_prefix
    if prefix is not None and delivery.account is not None and prefix != delivery.account:
        return False
    promised = exported_at(delivery.file_name)
    return promised is not None and abs(candidate.exported_at - promised) <= _TOLERANCE
