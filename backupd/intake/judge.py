"""What a mail is: an export that is proven, one that a person must decide, or something else.

A mail whose proof could not be looked for just now (`NotNow`) is judged again at the next pass, for
half an hour at most: then a person is asked, because the link's time runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from backupd.config import MailboxSettings
from backupd.mail.gate import LinkRefused
from backupd.mail.link import Link, find
from backupd.mail.message import Kind, Message, classify
from backupd.mail.proof import Proof, ProofMissing, prove
from backupd.mail.signature import Addressee, Arrival, Lookup, witnesses
from backupd.mail.sink import NotNow

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=30)
"""So long a proof that cannot be looked for just now is waited for."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A proven mail with its link."""

    proof: Proof
    link: Link


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A mail with an export's link that nothing proves; a person may let it through."""

    reason: str
    link: Link


Decision: TypeAlias = Ready | Doubtful | Kind | str
"""What to do about a mail; a text is the reason for refusing it."""


class Judge:
    """Judges the mails of all mailboxes; may be used by several threads."""

    def __init__(
        self,
        mailboxes: Mapping[str, MailboxSettings],
        lookup: Lookup,
        clock: Callable[[], datetime],
    ) -> None:
        self._mailboxes = mailboxes
        self._lookup = lookup
        self._clock = clock
        self._waiting: dict[tuple[str, str], datetime] = {}

    def decide(self, mailbox: str, raw: bytes, message: Message, received_at: datetime) -> Decision:
        """Decide what a mail is.

        One mail that breaks the program must not make it deaf to all that follow: nothing else is
        raised.

        Raises:
            NotNow: a proof could not be looked for.
        """
        key = (mailbox, message.message_key)
        try:
            decision = self._weigh(mailbox, raw, message, received_at)
        except NotNow:
            raise
        except Exception as error:
            log.exception("mailbox %s: a mail could not be judged", mailbox)
            decision = f"it could not be read ({type(error).__name__})"
        self._waiting.pop(key, None)
        return decision

    def _weigh(self, mailbox: str, raw: bytes, message: Message, received_at: datetime) -> Decision:
        kind = classify(message)
        if kind is Kind.OTHER:
            return kind
        link = _link(message, received_at) if kind is Kind.READY else None
        # A "has started" mail that is sent again does no harm: it needs no date.
        stamped_at = link.exported_at if isinstance(link, Link) else received_at
        try:
            proof = self._prove(mailbox, Arrival(raw, message, received_at, stamped_at))
        except ProofMissing as missing:
            if not isinstance(link, Link) or missing.impossible:
                return str(missing)
            if missing.passing:
                self._wait((mailbox, message.message_key), link)
            return Doubtful(missing.reason, link)
        if isinstance(link, LinkRefused):
            return str(link)
        return Kind.STARTED if link is None else Ready(proof, link)

    def _prove(self, mailbox: str, arrival: Arrival) -> Proof:
        settings = self._mailboxes[mailbox]
        said = witnesses(arrival, addressee(settings), self._lookup)
        return prove(arrival.message, settings.authserv_ids, *said)

    def _wait(self, key: tuple[str, str], link: Link) -> None:
        """Put a mail off while there is time.

        Raises:
            NotNow: there is.
        """
        now = self._clock()
        since = self._waiting.setdefault(key, now)
        if now - since < PATIENCE and now + 2 * PATIENCE < link.deadline:
            raise NotNow(
                "prove mail: a key cannot be looked up just now",
                "nothing to do: the mail is looked at again at the next poll",
            )


def addressee(settings: MailboxSettings) -> Addressee:
    """Say whom the mails of a mailbox are written to."""
    login = (settings.username,) if "@" in settings.username else ()
    return Addressee((*login, *settings.addresses), settings.forwarders)


def _link(message: Message, received_at: datetime) -> Link | LinkRefused:
    try:
        return find(message, received_at)
    except LinkRefused as refused:
        return refused
