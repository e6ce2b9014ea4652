"""One pass over everything, as `poll` makes it: mailboxes, due deliveries, drop folders."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from backupd.credentials import Credentials
from backupd.errors import BackupdError
from backupd.intake.arrival import Arrivals
from backupd.intake.care import Care
from backupd.intake.drop import DropFolders
from backupd.intake.fetching import Fetcher
from backupd.intake.mailkeys import mail_key
from backupd.intake.rooms import Rooms
from backupd.intake.sessions import SessionCare
from backupd.ledger.delivery import State
from backupd.mail.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did.

    Of the deliveries it saw, `failed` could not be fetched or stored yet; `dead` have a link that
    is dead, refused, or works for a person only.
    """

    mailboxes: int
    found: int
    attempted: int
    dropped: int
    failed: int
    dead: int
    errors: tuple[BackupdError, ...]


def one_pass(rooms: Rooms, credentials: Credentials, cancel: threading.Event) -> Pass:
    """Read every mailbox once, attempt what is due, take what lies in the drop folders."""
    fetcher = Fetcher(rooms, cancel, _nothing)
    fetcher.recover()
    fetcher.tidy()
    found, errors = _read_mailboxes(rooms, credentials)
    seen = rooms.deliveries.pending()
    Care(rooms, fetcher, _nothing).watch_deadlines()
    SessionCare(rooms, _nothing).run()
    attempted = fetcher.run_due()
    dropped = DropFolders(rooms, cancel, _nothing).settle()
    rooms.notifier.flush(rooms.clock())
    states = [rooms.deliveries.get(delivery.id).state for delivery in seen]
    return Pass(
        mailboxes=len(rooms.settings.mailboxes),
        found=found,
        attempted=attempted,
        dropped=dropped,
        failed=sum(state in (State.PROVEN, State.FETCHED) for state in states),
        dead=sum(state in (State.NEEDS_YOU, State.EXPIRED, State.REFUSED) for state in states),
        errors=tuple(errors),
    )


def _read_mailboxes(rooms: Rooms, credentials: Credentials) -> tuple[int, list[BackupdError]]:
    found, errors = 0, []
    arrivals = Arrivals(rooms, _nothing)
    for name, settings in rooms.settings.mailboxes.items():
        key = mail_key(settings, credentials, rooms.messages, rooms.clock, rooms.tell)
        poll = rooms.settings.schedule.poll
        watcher = Watcher(name, settings, key.get, arrivals, rooms.clock, poll, renew=key.renew)
        try:
            found += watcher.poll_once()
        except BackupdError as error:
            errors.append(error)
    return found, errors


def _nothing() -> None:
    """Stand in where nobody needs a sign of life."""
