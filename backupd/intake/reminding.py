"""What nobody sends a mail about: a requested export that does not come, and none for long.

Both are facts of the ledger and the repository, so a restart neither forgets nor repeats them, and
both end by themselves once an export is here, whichever way it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backupd import notice
from backupd.config import Settings
from backupd.intake.accounts import Accounts, Overdue, overdue
from backupd.intake.rooms import Rooms
from backupd.ledger.deliveries import moment, stamp
from backupd.ledger.messages import Messages, Request
from backupd.store.repository import Snapshot

FIRST_LOOK = "first-look"
REQUEST_PATIENCE = timedelta(days=7)
"""OpenAI may take this long to answer a request for an export."""
REPEAT = timedelta(days=7)
"""A reminder that nobody heeds is repeated this often."""


def is_late(request: Request, now: datetime) -> bool:
    """Say whether a requested export should have come by now."""
    return now - request.requested_at >= REQUEST_PATIENCE


def find_overdue(
    settings: Settings, messages: Messages, snapshots: Sequence[Snapshot], now: datetime
) -> tuple[Overdue, ...]:
    """Return the accounts of which no export came for too long."""
    named = settings.accounts.values()
    begun = messages.fact(FIRST_LOOK)
    since = moment(begun) if begun is not None else None
    patience = settings.schedule.remind_after
    return overdue(Accounts(snapshots, named), named, patience, since, now)


def remind(rooms: Rooms) -> None:
    """Tell of requests that were not answered, then of accounts that nobody exports any more."""
    now = rooms.clock()
    requests = rooms.messages.requests()
    for request in requests:
        if is_late(request, now):
            waiting = now - request.requested_at
            rooms.tell(
                notice.requested_not_arrived(
                    request=request.id, mailbox=request.mailbox, waiting=waiting
                )
            )
    if all(is_late(request, now) for request in requests):  # else somebody has asked already
        for one in find_overdue(rooms.settings, rooms.messages, rooms.repository.snapshots(), now):
            _remind_of(rooms, one, now)


def _remind_of(rooms: Rooms, one: Overdue, now: datetime) -> None:
    fact = f"last-reminder:{one.id}"
    told = rooms.messages.fact(fact)
    if told is not None and moment(told) > one.since and abs(now - moment(told)) < REPEAT:
        return
    with rooms.database.transaction():
        rooms.messages.set_fact(fact, stamp(now), now)
        rooms.tell(notice.overdue(since=now - one.since, account=one.label, ever=one.ever))
