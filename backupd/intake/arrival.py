"""Mail in: what a watcher finds becomes a delivery, a pending request, or a refusal that is told.

`Arrivals` is the sink that mail watchers call, from their threads. Every verdict is durable before
`found` returns, so the watcher may advance its cursor (commit order, steps 1 and 2).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from backupd import notice
from backupd.intake.fetching import time_left
from backupd.intake.judge import Decision, Doubtful, Judge, Ready
from backupd.intake.mailkeys import is_signed_in
from backupd.intake.rooms import Rooms
from backupd.ledger.delivery import Delivery, Opening, Place, State
from backupd.ledger.messages import Verdict
from backupd.mail.cursor import Cursor
from backupd.mail.link import Link
from backupd.mail.message import Kind, Message, MessageRefused, parse
from backupd.mail.proof import Proof
from backupd.mail.resolver import TxtResolver
from backupd.mail.signature import Lookup

log = logging.getLogger(__name__)

MOST_REFUSALS = 10
"""A day and mailbox: so many refused mails are told of one by one; a flood only fills the log."""

SLOW_WORD = timedelta(days=1)
"""A person may say so late that an export was asked for: by then its mail may be there."""


class Arrivals:
    """The sink of all mailboxes; `wake` is called when a delivery has become due."""

    def __init__(
        self, rooms: Rooms, wake: Callable[[], None], lookup: Lookup | None = None
    ) -> None:
        """Prepare; `lookup` asks the DNS for keys, by default the machine's."""
        self._rooms = rooms
        self._wake = wake
        self._judge = Judge(rooms.settings.mailboxes, lookup or TxtResolver(), rooms.clock)

    def cursor(self, mailbox: str, folder: str) -> Cursor | None:
        """Return how far a folder was read."""
        known = self._rooms.messages.cursor(mailbox, folder)
        return None if known is None else Cursor(*known)

    def advance(self, mailbox: str, folder: str, cursor: Cursor) -> None:
        """Remember how far a folder was read."""
        self._rooms.messages.advance(
            mailbox, folder, cursor.uidvalidity, cursor.last_uid, self._rooms.clock()
        )

    def known(self, mailbox: str, message_key: str) -> bool:
        """Say whether a message was judged before, under whatever UID."""
        return self._rooms.messages.known(mailbox, message_key)

    def found(
        self,
        mailbox: str,
        folder: str,
        uidvalidity: int,
        uid: int,
        raw: bytes,
        received_at: datetime,
    ) -> None:
        """Judge one mail; the verdict is durable when this returns.

        Raises:
            NotNow: what proves it cannot be asked just now.
        """
        place = Place(mailbox, folder, uidvalidity, uid)
        try:
            message = parse(raw)
        except MessageRefused as refused:
            self._refuse(place, refused.message_key, None, str(refused), Verdict.UNREADABLE)
            return
        if self._rooms.messages.known(mailbox, message.message_key):
            return
        decision = self._judge.decide(mailbox, raw, message, received_at)
        self._act(place, message, received_at, decision)

    def unreadable(self, mailbox: str, folder: str, uid: int, reason: str) -> None:
        """Tell of a mail that could not be read at all."""
        log.warning("mailbox %s: message %d in %s: %s", mailbox, uid, folder, reason)
        self._rooms.tell(notice.mail_refused(mailbox=mailbox, sender=None, reason=reason))

    def unreachable(self, mailbox: str, reason: str, since: datetime) -> None:
        """Tell that a mail server cannot be reached; remembered for `status`."""
        now = self._rooms.clock()
        self._rooms.messages.set_fact(f"mailbox:{mailbox}", f"unreachable: {reason}", now)
        self._rooms.tell(notice.mailbox_unreachable(mailbox=mailbox, reason=reason, since=since))

    def refused(self, mailbox: str, reason: str) -> None:
        """Tell that a login was refused; remembered for `status`."""
        now = self._rooms.clock()
        self._rooms.messages.set_fact(f"mailbox:{mailbox}", f"refused: {reason}", now)
        settings = self._rooms.settings.mailboxes[mailbox]
        sign_in = settings.credential if is_signed_in(settings) else None
        self._rooms.tell(notice.mailbox_refused(mailbox=mailbox, reason=reason, sign_in=sign_in))

    def recovered(self, mailbox: str) -> None:
        """Note that a mailbox answers; told once if it had not."""
        self._rooms.messages.set_fact(f"mailbox:{mailbox}", "ok", self._rooms.clock())
        self._rooms.tell(notice.mailbox_recovered(mailbox=mailbox))

    def _act(
        self, place: Place, message: Message, received_at: datetime, decision: Decision
    ) -> None:
        match decision:
            case Ready():
                self._ready(place, message, decision, received_at)
            case Doubtful():
                self._ask(place, message, decision, received_at)
            case str():
                self._refuse(place, message.message_key, message.sender, decision, Verdict.REFUSED)
            case Kind.STARTED:
                self._started(place, message, received_at)
            case _:
                self._remember(place, message.message_key, Verdict.OTHER)

    def _ready(self, place: Place, message: Message, ready: Ready, received_at: datetime) -> None:
        opening = _opening(place, message, ready.link, ready.proof, received_at)
        now = self._rooms.clock()
        with self._rooms.database.transaction():  # two mailboxes may get the same mail at once
            known = self._rooms.deliveries.of_file(opening.file_name)
            if known is None or known.state is State.EXPIRED:
                delivery = self._rooms.deliveries.open(opening, now)
            elif _is_newer(opening, known):
                delivery = self._rooms.deliveries.renew(known.id, opening, now)
            else:
                self._remember(place, message.message_key, Verdict.DUPLICATE, known.id)
                return
            self._remember(place, message.message_key, Verdict.DELIVERY, delivery.id)
            answered = self._rooms.messages.close_requests(
                place.mailbox, delivery.id, now, received_at + SLOW_WORD
            )
            found = _found_notice(delivery, opening.deadline, now)
            self._rooms.tell(notice.answering(found, answered))
        self._wake()

    def _ask(
        self, place: Place, message: Message, doubtful: Doubtful, received_at: datetime
    ) -> None:
        """Open a delivery that waits for a person, unless the export is known or a flood comes."""
        opening = _opening(place, message, doubtful.link, None, received_at)
        now = self._rooms.clock()
        with self._rooms.database.transaction():
            known = self._rooms.deliveries.of_file(opening.file_name)
            if known is not None and known.state is not State.EXPIRED:
                self._remember(place, message.message_key, Verdict.DUPLICATE, known.id)
                return
            told = self._rooms.messages.refused_since(place.mailbox, now - timedelta(days=1))
            if told < MOST_REFUSALS and now < opening.give_up_at:
                delivery = self._rooms.deliveries.ask(opening, doubtful.reason, now)
                self._remember(place, message.message_key, Verdict.REFUSED, delivery.id)
                self._rooms.tell(_approval_notice(delivery, doubtful.reason, now))
                return
        self._refuse(place, message.message_key, message.sender, doubtful.reason, Verdict.REFUSED)

    def _started(self, place: Place, message: Message, received_at: datetime) -> None:
        now = self._rooms.clock()
        asked_at = min(message.date or received_at, received_at, now)
        with self._rooms.database.transaction():
            self._remember(place, message.message_key, Verdict.STARTED)
            if self._rooms.deliveries.has_mail_since(place.mailbox, asked_at):
                return  # the answer was read first: folders are not read in the order of time
            self._rooms.messages.request(place.mailbox, asked_at)
            self._rooms.tell(notice.export_started(mailbox=place.mailbox))

    def _refuse(
        self, place: Place, key: str, sender: str | None, reason: str, verdict: Verdict
    ) -> None:
        now = self._rooms.clock()
        with self._rooms.database.transaction():
            told = self._rooms.messages.refused_since(place.mailbox, now - timedelta(days=1))
            self._remember(place, key, verdict)
            if told < MOST_REFUSALS:
                self._rooms.tell(
                    notice.mail_refused(mailbox=place.mailbox, sender=sender, reason=reason)
                )
        if told >= MOST_REFUSALS:
            log.warning("mailbox %s: one more mail refused: %s", place.mailbox, reason)

    def _remember(
        self, place: Place, key: str, verdict: Verdict, delivery: str | None = None
    ) -> None:
        self._rooms.messages.remember(place.mailbox, key, verdict, delivery, self._rooms.clock())


def _is_newer(opening: Opening, known: Delivery) -> bool:
    """Say whether a proven mail's link outlives the one that its export is waited for with."""
    if known.is_unproven:
        return True
    if known.state not in (State.PROVEN, State.FETCHING, State.NEEDS_YOU):
        return False
    later = known.deadline is None or opening.deadline > known.deadline
    return later and opening.link != known.link


def _opening(
    place: Place, message: Message, link: Link, proof: Proof | None, received_at: datetime
) -> Opening:
    return Opening(
        place=place,
        message_id=message.message_id,
        sender=message.sender or "",
        proof=f"{proof.method} {proof.witness} {proof.domain}" if proof else None,
        link=link.url.reveal(),
        era=link.era.value,
        host=link.host,
        file_name=link.file_name,
        account=link.account_prefix,
        mail_at=min(link.mail_at or received_at, received_at),
        deadline=link.deadline,
        give_up_at=link.give_up_at,
    )


def _found_notice(delivery: Delivery, deadline: datetime, now: datetime) -> notice.Notice:
    return notice.mail_found(
        delivery=delivery.id,
        mailbox=delivery.mailbox or "",
        host=delivery.host or "",
        time_left=deadline - now,
    )


def _approval_notice(delivery: Delivery, reason: str, now: datetime) -> notice.Notice:
    return notice.approval_wanted(
        delivery=delivery.id,
        mailbox=delivery.mailbox or "",
        sender=delivery.sender or "",
        reason=reason,
        host=delivery.host or "",
        time_left=time_left(delivery, now),
    )
