"""Whether all is well, in one value, read from the ledger and the repository."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from backupd.config import Settings
from backupd.errors import ExitCode
from backupd.intake.accounts import Account, Accounts, Overdue
from backupd.intake.care import LAST_CHECK, LAST_CHECK_PROBLEMS, LAST_DRILL
from backupd.intake.reminding import find_overdue, is_late
from backupd.intake.sessions import Outlook, SessionNote, notes
from backupd.ledger.deliveries import Deliveries, moment
from backupd.ledger.delivery import UNPROVEN, Delivery, State
from backupd.ledger.messages import Messages, Request
from backupd.store.derived import lies_in_memory
from backupd.store.repository import Repository

_NO_ROOM = ("disk-full",)
"""Outcomes of an attempt after which a person has to make room."""


class Health(StrEnum):
    """The state that `status` reports, from best to worst."""

    OK = "OK"
    PENDING = "PENDING"
    OVERDUE = "OVERDUE"
    DEGRADED = "DEGRADED"
    ACTION_NEEDED = "ACTION NEEDED"


@dataclass(frozen=True, slots=True)
class MailboxState:
    """How a mailbox answered last: `ok`, `unreachable`, `refused` or `never read`."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything `status` shows. Times are aware UTC."""

    health: Health
    exit_code: ExitCode
    mailboxes: tuple[MailboxState, ...]
    deliveries: tuple[Delivery, ...]
    requests: tuple[Request, ...]
    overdue: tuple[Overdue, ...]
    snapshots: int
    proven: int
    accounts: tuple[Account, ...]
    sessions: tuple[SessionNote, ...]
    last_export_at: datetime | None
    last_check_at: datetime | None
    last_drill_at: datetime | None
    check_problems: int
    missed_at: datetime | None
    encrypted: bool
    privacy: str


def overview(
    settings: Settings,
    deliveries: Deliveries,
    messages: Messages,
    repository: Repository,
    now: datetime,
) -> Overview:
    """Look at everything once."""
    mailboxes = tuple(_mailbox(name, messages) for name in settings.mailboxes)
    pending = tuple(deliveries.pending())
    snapshots = repository.snapshots()
    newest = max((snapshot.received_at for snapshot in snapshots), default=None)
    problems = int(messages.fact(LAST_CHECK_PROBLEMS) or "0")
    requests = tuple(messages.requests())
    overdue = find_overdue(settings, messages, snapshots, now)
    missed_at = deliveries.missed_at()
    missed = missed_at is not None and (newest is None or newest < missed_at)
    sessions = notes(settings, messages)
    asked = any(not is_late(request, now) for request in requests)
    late = len(requests) > sum(not is_late(request, now) for request in requests)
    waiting = _Waiting(pending=bool(pending) or asked, overdue=late or bool(overdue and not asked))
    health, code = _judge(mailboxes, pending, sessions, missed, problems, waiting)
    return Overview(
        health=health,
        exit_code=code,
        mailboxes=mailboxes,
        deliveries=pending,
        requests=requests,
        overdue=overdue,
        snapshots=len(snapshots),
        proven=sum(snapshot.proven_at is not None for snapshot in snapshots),
        accounts=tuple(one for one in Accounts(snapshots, settings.accounts.values()) if one.id),
        sessions=sessions,
        last_export_at=newest,
        last_check_at=_time(messages.fact(LAST_CHECK)),
        last_drill_at=_time(messages.fact(LAST_DRILL)),
        check_problems=problems,
        missed_at=missed_at if missed else None,
        encrypted=repository.keys is not None,
        privacy=privacy(repository),
    )


def privacy(repository: Repository) -> str:
    """Say whether a repository is encrypted, and where what is derived from it can be read."""
    if repository.keys is None:
        return "not encrypted"
    if repository.derived is None:
        return "encrypted; index and catalog only in the memory of each process"
    if lies_in_memory(repository.derived):
        return f"encrypted; index and catalog in memory, {repository.derived}"
    return f"encrypted; index and catalog can be read in {repository.derived}"


def needs(delivery: Delivery) -> str | None:
    """Say in a few words what a pending delivery needs from a person, if anything."""
    if delivery.state is not State.NEEDS_YOU:
        return "make room on the repository's disk" if delivery.outcome in _NO_ROOM else None
    return {
        "quarantined": "download the export again: the ZIP is damaged",
        "ended-early": "try the link in a signed-in browser; if it is dead, request an export",
        "too-big": "raise download.max_size",
        "session-refused": "renew the session, or download the export in a signed-in browser",
        "session-missing": "renew the session, or download the export in a signed-in browser",
        UNPROVEN: f"look at its mail, then `backupd approve {delivery.id}`",
    }.get(delivery.outcome or "", "download the export in a signed-in browser")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Whether something is on its way, and whether it, or a request for it, is too late.

    A reminder to ask for an export is of no use to who has asked: that is pending then.
    """

    pending: bool
    overdue: bool


def _judge(
    mailboxes: tuple[MailboxState, ...],
    pending: tuple[Delivery, ...],
    sessions: tuple[SessionNote, ...],
    missed: bool,
    problems: int,
    waiting: _Waiting,
) -> tuple[Health, ExitCode]:
    """Pick the worst state; its exit code is part of the command line's contract."""
    states = {mailbox.state for mailbox in mailboxes}
    if "refused" in states:
        return Health.ACTION_NEEDED, ExitCode.CREDENTIAL
    if missed or any(delivery.state is State.NEEDS_YOU for delivery in pending):
        return Health.ACTION_NEEDED, ExitCode.LINK
    if any(needs(delivery) for delivery in pending):
        return Health.ACTION_NEEDED, ExitCode.DOWNLOAD
    if dead := [session.outlook for session in sessions if session.is_dead]:
        there = Outlook.ENDED in dead or Outlook.REFUSED in dead
        return Health.ACTION_NEEDED, ExitCode.LINK if there else ExitCode.CREDENTIAL
    if problems:
        return Health.DEGRADED, ExitCode.DAMAGED
    if "unreachable" in states:
        return Health.DEGRADED, ExitCode.MAILBOX
    if waiting.overdue:
        return Health.OVERDUE, ExitCode.FINDINGS
    return (Health.PENDING if waiting.pending else Health.OK), ExitCode.OK


def _mailbox(name: str, messages: Messages) -> MailboxState:
    state, _, detail = (messages.fact(f"mailbox:{name}") or "never read").partition(": ")
    return MailboxState(name, state, detail)


def _time(text: str | None) -> datetime | None:
    return None if text is None else moment(text)
