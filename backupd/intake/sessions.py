"""Whether the sessions of all accounts will do for the next export, looked at ahead of time.

Nobody is asked but the source of each secret: an end is read from a token or a cookie. A session
that ends before the next export could be due, or cannot be used now, is told of at once, not
within the 24 hours of a link; the alarm ends by itself once the session is renewed. What a program
renews by itself is only told of when it cannot be used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from backupd import notice
from backupd.config import Settings
from backupd.download import fetch as download
from backupd.download.session import HOST, Condition, Kind, Validity
from backupd.download.way import Way
from backupd.errors import CredentialError
from backupd.intake.rooms import Rooms
from backupd.intake.ways import Choice, Ways, choices
from backupd.ledger.deliveries import moment, stamp
from backupd.ledger.delivery import Delivery, State
from backupd.ledger.messages import Messages

log = logging.getLogger(__name__)

LAST_LOOK = "last-session-look"
DAILY = timedelta(days=1)
WORRIED = timedelta(hours=1)
"""How often to look while a session cannot be used."""
WAITED_FOR = timedelta(minutes=5)
"""How often to look while an export waits for a sign-in."""
AHEAD = timedelta(days=7)
"""An export that was asked for may come so late: a session should last at least as long."""


class Outlook(StrEnum):
    """What a session is good for.

    `refused`: the server did not accept it when it was used last. `unknown`: its source waits for a
    person, as a keyring does.
    """

    READY = "ready"
    EXPIRING = "expiring"
    ENDED = "ended"
    REFUSED = "refused"
    UNUSABLE = "unusable"
    MISSING = "missing"
    UNKNOWN = "unknown"


_DEAD = (Outlook.ENDED, Outlook.REFUSED, Outlook.UNUSABLE, Outlook.MISSING)


@dataclass(frozen=True, slots=True)
class Look:
    """One account's session as it was seen; `until` is aware UTC, None if unknown.

    `mark` changes when the secret does and says nothing about it.
    """

    choice: Choice
    outlook: Outlook
    sent_to: str
    until: datetime | None
    detail: str
    hint: str
    mark: str


@dataclass(frozen=True, slots=True)
class SessionNote:
    """What `status` says of one account's session, as the daemon saw it last."""

    place: str
    kind: str
    outlook: str
    until: datetime | None

    @property
    def is_dead(self) -> bool:
        """Say whether the next download cannot be signed in."""
        return self.outlook in _DEAD


def looks(ways: Ways, now: datetime, due: datetime | None = None) -> Iterator[Look]:
    """Look at the session of every account that has one.

    With `due`, one that ends before is `expiring`.
    """
    for choice in ways.choices():
        way = ways.session(choice)
        if way is None:
            continue
        try:
            validity = way.validity(now)
        except CredentialError as error:
            outlook = Outlook.UNKNOWN if error.transient else Outlook.MISSING
            yield Look(choice, outlook, HOST, None, error.message, error.hint, "")
        else:
            yield _look(choice, validity, due)


def _look(choice: Choice, validity: Validity, due: datetime | None) -> Look:
    outlook = _OUTLOOKS[validity.condition]
    soon = validity.until is not None and due is not None and validity.until < due
    if outlook is Outlook.READY and soon and not validity.renewed:
        outlook = Outlook.EXPIRING
    detail, until = validity.detail, validity.until
    return Look(choice, outlook, validity.sent_to, until, detail, validity.hint, validity.mark)


_OUTLOOKS = {
    Condition.READY: Outlook.READY,
    Condition.ENDED: Outlook.ENDED,
    Condition.UNUSABLE: Outlook.UNUSABLE,
}


class SessionCare:
    """The daemon's duty to look at sessions; may be called at any time and as often as liked.

    A session is looked at when the process starts, then daily, and more often while it is dead or
    an export waits for it. Once a waiting export's session is another, it is tried at once.
    """

    def __init__(self, rooms: Rooms, alive: Callable[[], None]) -> None:
        """Prepare; `alive` is called between two sessions, for each may take a while."""
        self._rooms = rooms
        self._alive = alive
        self._begun = False

    def run(self) -> None:
        """Look at every session, if it is time to."""
        now = self._rooms.clock()
        if not self._is_time(now):
            return
        self._rooms.messages.set_fact(LAST_LOOK, stamp(now), now)
        due = self._next_due(now)
        for look in looks(self._rooms.ways, now, due):
            self._alive()
            self._note(self._with_refusal(look), now)
        self._begun = True

    def _is_time(self, now: datetime) -> bool:
        last = self._rooms.messages.fact(LAST_LOOK)
        if last is None or not self._begun:
            return True
        dead = any(note.is_dead for note in notes(self._rooms.settings, self._rooms.messages))
        interval = WAITED_FOR if self._waiting() else WORRIED if dead else DAILY
        return abs(now - moment(last)) >= interval

    def _next_due(self, now: datetime) -> datetime:
        """Return when the next export could be due: as a person is reminded, not within a week."""
        snapshots = self._rooms.repository.snapshots()
        newest = max((snapshot.received_at for snapshot in snapshots), default=now)
        return max(newest + self._rooms.settings.schedule.remind_after, now + AHEAD)

    def _with_refusal(self, look: Look) -> Look:
        """Add what the server said of this very session when it was used last."""
        refused = self._rooms.messages.fact(_refusal(look.choice.place))
        if look.outlook in _DEAD or not refused or refused != look.mark:
            return look
        return replace(look, outlook=Outlook.REFUSED, detail="the server did not accept it")

    def _note(self, look: Look, now: datetime) -> None:
        """Remember what was seen, tell what a person should know, try what waited for it."""
        place, messages = look.choice.place, self._rooms.messages
        with self._rooms.database.transaction():
            renewed = messages.fact(_mark(place)) != look.mark
            messages.set_fact(_mark(place), look.mark, now)
            messages.set_fact(_fact(place), _written(look), now)
            told = _told(look, now)
            # Who waits for a sign-in has been told of a refusal already, with the hours left.
            if told is not None and not (look.outlook is Outlook.REFUSED and self._waiting()):
                self._rooms.tell(told)
            if renewed and look.outlook in (Outlook.READY, Outlook.EXPIRING):
                self._try_again(look.choice, now)

    def _try_again(self, choice: Choice, now: datetime) -> None:
        for delivery in self._waiting():
            if self._rooms.ways.choice(delivery.file_name or "") == choice:
                log.info("delivery %s: its session was renewed", delivery.id)
                self._rooms.deliveries.postpone(delivery.id, now, now)

    def _waiting(self) -> list[Delivery]:
        return [
            delivery
            for delivery in self._rooms.deliveries.pending()
            if delivery.state is State.NEEDS_YOU and delivery.outcome in _SIGNED_OUT
        ]


_SIGNED_OUT = frozenset(
    kind.kind
    for kind in (
        download.SignInNeeded,
        download.SessionRefused,
        download.SessionMissing,
        download.WrongAccount,
    )
)
"""Outcomes that another session may cure."""


def remember(rooms: Rooms, choice: Choice, way: Way, outcome: download.Outcome) -> None:
    """Remember whether the server accepts a session: that cannot be seen from the outside."""
    telling = isinstance(outcome, download.Fetched | download.SessionRefused)
    if way.kind is Kind.DIRECT or not telling:
        return
    refused, now = "", rooms.clock()
    if isinstance(outcome, download.SessionRefused):
        try:
            refused = way.validity(now).mark
        except CredentialError as error:
            log.info("session of [%s]: %s", choice.place, error.message)
            return  # gone since: it will be told of as missing
    if refused != (rooms.messages.fact(_refusal(choice.place)) or ""):
        rooms.messages.set_fact(_refusal(choice.place), refused, now)


def notes(settings: Settings, messages: Messages) -> tuple[SessionNote, ...]:
    """Return what the daemon saw last of the session of every account that has one."""
    return tuple(
        _note(choice, messages.fact(_fact(choice.place)) or "never looked at")
        for choice in choices(settings)
        if choice.signs_in
    )


def _note(choice: Choice, written: str) -> SessionNote:
    outlook, _, until = written.partition(" until ")
    return SessionNote(choice.place, choice.kind, outlook, moment(until) if until else None)


def _fact(place: str) -> str:
    return f"session:{place}"


def _mark(place: str) -> str:
    return f"session-mark:{place}"


def _refusal(place: str) -> str:
    return f"session-refused:{place}"


def _written(look: Look) -> str:
    return f"{look.outlook} until {stamp(look.until)}" if look.until else f"{look.outlook}"


def _told(look: Look, now: datetime) -> notice.Notice | None:
    """Choose what to tell of a session; None while nobody knows."""
    choice = look.choice
    if look.outlook is Outlook.UNKNOWN:
        log.info("session of [%s]: %s", choice.place, look.detail)
        return None
    if look.outlook is Outlook.READY:
        return notice.session_renewed(place=choice.place)
    if look.outlook is Outlook.EXPIRING and look.until is not None:
        return notice.session_expiring(
            place=choice.place,
            kind=choice.kind,
            credential=choice.credential,
            until=look.until,
            left=look.until - now,
        )
    return notice.session_dead(
        place=choice.place,
        kind=choice.kind,
        credential=choice.credential,
        reason=_reason(look),
        hint=look.hint,
    )


def _reason(look: Look) -> str:
    if look.outlook is Outlook.ENDED and look.until is not None:
        return f"it ended on {look.until:%Y-%m-%d} at {look.until:%H:%M} UTC"
    return look.detail
