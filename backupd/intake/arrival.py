"""Mail in: what a watcher finds becomes a delivery, a pending request, or a refusal that is told.

`Arrivals` is the sink that mail watchers call, from their threads. Every verdict is durable before
`found` returns, so the watcher may advance its cursor (commit order, steps 1 and 2).
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable
from datetime import datetime

from backupd import notice
from backupd.errors import BackupdError
from backupd.intake.rooms import Rooms
from backupd.ledger.deliveries import Delivery, Opening, Place, State
from backupd.ledger.messages import Verdict
from backupd.mail.cursor import Cursor
from backupd.mail.gate import LinkRefused
from backupd.mail.link import Link, find
from backupd.mail.message import Kind, Message, MessageRefused, classify, parse
from backupd.mail.proof import Proof, ProofMissing, prove

log = logging.getLogger(__name__)


class Arrivals:
    """The sink of all mailboxes; `wake` is called when a delivery has become due."""

    def __init__(self, rooms: Rooms, wake: Callable[[], None]) -> None:
        self._rooms = rooms
        self._wake = wake

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
        """Judge one mail; the verdict is durable when this returns."""
        place = Place(mailbox, folder, uidvalidity, uid)
        try:
            message = parse(raw)
        except MessageRefused as refused:
            key = "sha256:" + hashlib.sha256(raw).hexdigest()
            self._refuse(place, key, None, str(refused), Verdict.UNREADABLE)
            return
        if self._rooms.messages.known(mailbox, message.message_key):
            return
        try:
            self._judge(place, message, received_at)
        except (BackupdError, sqlite3.Error):
            raise  # the ledger cannot take the verdict: the mail is looked at again
        except Exception as error:
            # One mail that breaks the program must not make it deaf to all that follow.
            log.exception("mailbox %s: a mail could not be judged", mailbox)
            reason = f"it could not be read ({type(error).__name__})"
            self._refuse(place, message.message_key, message.sender, reason, Verdict.UNREADABLE)

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
        self._rooms.tell(notice.mailbox_refused(mailbox=mailbox, reason=reason))

    def recovered(self, mailbox: str) -> None:
        """Note that a mailbox answers; told once if it had not."""
        self._rooms.messages.set_fact(f"mailbox:{mailbox}", "ok", self._rooms.clock())
        self._rooms.tell(notice.mailbox_recovered(mailbox=mailbox))

    def _judge(self, place: Place, message: Message, received_at: datetime) -> None:
        kind = classify(message)
        if kind is Kind.OTHER:
            self._remember(place, message.message_key, Verdict.OTHER)
            return
        try:
            proof = prove(message, self._authserv_ids(place.mailbox))
            if kind is Kind.STARTED:
                self._started(place, message)
            else:
                self._ready(place, message, proof, received_at)
        except (ProofMissing, LinkRefused) as refused:
            self._refuse(place, message.message_key, message.sender, str(refused), Verdict.REFUSED)

    def _ready(self, place: Place, message: Message, proof: Proof, received_at: datetime) -> None:
        link = find(message, received_at)
        known = self._rooms.deliveries.of_file(link.file_name)
        if known is not None and known.state is not State.EXPIRED:
            self._remember(place, message.message_key, Verdict.DUPLICATE, known.id)
            return
        now = self._rooms.clock()
        with self._rooms.database.transaction():
            delivery = self._rooms.deliveries.open(
                _opening(place, message, proof, link, received_at), now
            )
            self._remember(place, message.message_key, Verdict.DELIVERY, delivery.id)
            self._rooms.messages.close_requests(place.mailbox, delivery.id, now)
            self._rooms.tell(_found_notice(delivery, link.deadline, now))
        self._wake()

    def _started(self, place: Place, message: Message) -> None:
        now = self._rooms.clock()
        with self._rooms.database.transaction():
            self._rooms.messages.request(place.mailbox, message.date or now)
            self._remember(place, message.message_key, Verdict.STARTED)
            self._rooms.tell(notice.export_started(mailbox=place.mailbox))

    def _refuse(
        self, place: Place, key: str, sender: str | None, reason: str, verdict: Verdict
    ) -> None:
        with self._rooms.database.transaction():
            self._remember(place, key, verdict)
            self._rooms.tell(
                notice.mail_refused(mailbox=place.mailbox, sender=sender, reason=reason)
            )

    def _remember(
        self, place: Place, key: str, verdict: Verdict, delivery: str | None = None
    ) -> None:
        self._rooms.messages.remember(place.mailbox, key, verdict, delivery, self._rooms.clock())

    def _authserv_ids(self, mailbox: str) -> tuple[str, ...]:
        return self._rooms.settings.mailboxes[mailbox].authserv_ids


def _opening(
    place: Place, message: Message, proof: Proof, link: Link, received_at: datetime
) -> Opening:
    return Opening(
        place=place,
        message_id=message.message_id,
        sender=message.sender or "",
        proof=f"{proof.method} {proof.authserv_id} {proof.domain}",
        link=link.url.reveal(),
        era=link.era.value,
        host=link.host,
        file_name=link.file_name,
        account=link.account_prefix,
        mail_at=min(message.date or received_at, received_at),
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
