"""Which snapshots a policy keeps, and why. Pure.

As in restic and borg: `last` keeps the N newest; `daily`, `weekly`, `monthly` and `yearly` go back
from the newest snapshot and keep the newest one of each day, ISO week, month or year that has any,
until they have kept N. Rules are independent, and what any of them keeps stays. Days begin at
midnight UTC; a snapshot's time is when its export was made, else when it was received. Accounts
never share a rule.

Whatever the policy: pinned snapshots stay; so does the newest snapshot of each account that is not
known to be incomplete (the newest one, where all are); so does a snapshot of which nobody can tell
what conversations it holds, because nothing could be saved from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum


class KeepReason(StrEnum):
    """Why a snapshot stays."""

    LAST = "last"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    PINNED = "pinned"
    NEWEST_COMPLETE = "newest complete"
    OPAQUE = "conversations unknown"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many snapshots each rule keeps; nothing below zero."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def says_nothing(self) -> bool:
        """Whether no rule keeps anything: not a policy to forget by."""
        return not any(getattr(self, item.name) for item in fields(self))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a policy must know of a snapshot; `at` is aware UTC, `opaque` as in `KeepReason`."""

    id: str
    account: str
    at: datetime
    received_at: datetime
    complete: bool | None = None
    pinned: bool = False
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one snapshot: it stays for `reasons`, or is forgotten where there is none."""

    snapshot: Candidate
    reasons: tuple[KeepReason, ...]

    @property
    def keep(self) -> bool:
        """Whether the snapshot stays."""
        return bool(self.reasons)


_PERIODS: tuple[tuple[KeepReason, Callable[[datetime], tuple[int, ...]]], ...] = (
    (KeepReason.DAILY, lambda at: (at.year, at.month, at.day)),
    (KeepReason.WEEKLY, lambda at: tuple(at.isocalendar()[:2])),
    (KeepReason.MONTHLY, lambda at: (at.year, at.month)),
    (KeepReason.YEARLY, lambda at: (at.year,)),
)


def decide(candidates: Iterable[Candidate], policy: Policy) -> tuple[Decision, ...]:
    """Decide about every snapshot; ordered by account, then age, the oldest first."""
    accounts: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        accounts[candidate.account].append(candidate)
    found: list[Decision] = []
    for _, mine in sorted(accounts.items()):
        found += _decide(sorted(mine, key=_age), policy)
    return tuple(found)


def _decide(mine: Sequence[Candidate], policy: Policy) -> list[Decision]:
    """Decide about the snapshots of one account, the oldest first."""
    reasons: dict[str, list[KeepReason]] = {candidate.id: [] for candidate in mine}
    for candidate in mine[len(mine) - min(policy.last, len(mine)) :]:
        reasons[candidate.id].append(KeepReason.LAST)
    for reason, period in _PERIODS:
        count = getattr(policy, reason.value)
        newest = {period(candidate.at): candidate.id for candidate in mine}
        for _, name in sorted(newest.items(), reverse=True)[:count]:
            reasons[name].append(reason)
    for candidate in mine:
        if candidate.pinned:
            reasons[candidate.id].append(KeepReason.PINNED)
        if candidate.opaque:
            reasons[candidate.id].append(KeepReason.OPAQUE)
    whole = [candidate for candidate in mine if candidate.complete is not False] or mine
    reasons[whole[-1].id].append(KeepReason.NEWEST_COMPLETE)
    return [Decision(candidate, tuple(reasons[candidate.id])) for candidate in mine]


def _age(candidate: Candidate) -> tuple[datetime, datetime, str]:
    return candidate.at, candidate.received_at, candidate.id
