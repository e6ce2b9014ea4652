"""What the ledger remembers of mailboxes: cursors, messages seen, requests, small facts.

A message is remembered by its key (Message-ID, or a digest of its bytes) so that neither a
UIDVALIDITY change nor a moved or copied mail leads to a second download.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from backupd.ledger.db import Database
from backupd.ledger.deliveries import moment, stamp

SAME_REQUEST = timedelta(days=7)
"""While a request is pending, OpenAI takes no further one: so long all words are about one."""


class Verdict(StrEnum):
    """What became of a message."""

    DELIVERY = "delivery"
    STARTED = "started"
    DUPLICATE = "duplicate"
    OTHER = "other"
    REFUSED = "refused"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Request:
    """An export that was asked for and has not arrived yet."""

    id: str
    mailbox: str | None
    requested_at: datetime


class Messages:
    """Messages, cursors, requests and facts of one ledger."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known(self, mailbox: str, message_key: str) -> bool:
        """Say whether a verdict on this message is on record."""
        found = self._db.row(
            "SELECT 1 FROM messages WHERE mailbox = ? AND message_key = ?", (mailbox, message_key)
        )
        return found is not None

    def remember(
        self, mailbox: str, message_key: str, verdict: Verdict, delivery: str | None, now: datetime
    ) -> None:
        """Record the verdict on a message; the first one stands."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO messages VALUES (?,?,?,?,?)",
                (mailbox, message_key, stamp(now), verdict.value, delivery),
            )

    def refused_since(self, mailbox: str, since: datetime) -> int:
        """Count the messages of a mailbox that were refused or unreadable since then."""
        row = self._db.row(
            "SELECT count(*) AS number FROM messages WHERE mailbox = ? AND seen_at > ?"
            " AND verdict IN (?, ?)",
            (mailbox, stamp(since), Verdict.REFUSED.value, Verdict.UNREADABLE.value),
        )
        return 0 if row is None else int(row["number"])

    def cursor(self, mailbox: str, folder: str) -> tuple[int, int] | None:
        """Return (UIDVALIDITY, last UID seen) of a folder, or None before the first contact."""
        row = self._db.row(
            "SELECT uidvalidity, last_uid FROM cursors WHERE mailbox = ? AND folder = ?",
            (mailbox, folder),
        )
        return None if row is None else (row["uidvalidity"], row["last_uid"])

    def advance(
        self, mailbox: str, folder: str, uidvalidity: int, last_uid: int, now: datetime
    ) -> None:
        """Move the cursor of a folder."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO cursors VALUES (?,?,?,?,?)",
                (mailbox, folder, uidvalidity, last_uid, stamp(now)),
            )

    def request(self, mailbox: str | None, requested_at: datetime) -> Request:
        """Open a pending request, or return the pending one that is meant.

        A person's word and OpenAI's mail are about the same request if they are less than a week
        apart; a later word takes the place of the request that was not answered.
        """
        with self._db.transaction() as connection:
            for known in self.requests():
                if mailbox is not None and known.mailbox not in (None, mailbox):
                    continue
                if requested_at - known.requested_at < SAME_REQUEST:
                    connection.execute(
                        "UPDATE requests SET mailbox = ? WHERE id = ?",
                        (known.mailbox or mailbox, known.id),
                    )
                    return replace(known, mailbox=known.mailbox or mailbox)
                self._close(known.id, None, requested_at)
            request = Request(secrets.token_hex(4), mailbox, requested_at)
            connection.execute(
                "INSERT INTO requests (id, mailbox, requested_at) VALUES (?,?,?)",
                (request.id, mailbox, stamp(requested_at)),
            )
        return request

    def requests(self) -> list[Request]:
        """Return the pending requests, oldest first."""
        rows = self._db.rows(
            "SELECT * FROM requests WHERE closed_at IS NULL ORDER BY requested_at, id"
        )
        return [Request(row["id"], row["mailbox"], moment(row["requested_at"])) for row in rows]

    def close_requests(
        self,
        mailbox: str | None,
        delivery: str | None,
        now: datetime,
        asked_by: datetime | None = None,
    ) -> tuple[str, ...]:
        """Close the pending requests of `mailbox`, and those of no mailbox; None closes all.

        With `asked_by` only those that were made by then. Returns the ids of what was closed.
        """
        with self._db.transaction():
            closing = tuple(
                known.id
                for known in self.requests()
                if None in (mailbox, known.mailbox) or mailbox == known.mailbox
                if asked_by is None or known.requested_at <= asked_by
            )
            for identity in closing:
                self._close(identity, delivery, now)
        return closing

    def _close(self, identity: str, delivery: str | None, now: datetime) -> None:
        with self._db.transaction() as connection:
            connection.execute(
                "UPDATE requests SET closed_at = ?, delivery = ? WHERE id = ?",
                (stamp(now), delivery, identity),
            )

    def fact(self, name: str) -> str | None:
        """Return a remembered fact, such as the time of the last check."""
        row = self._db.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row["value"])

    def set_fact(self, name: str, value: str, now: datetime) -> None:
        """Remember a fact, replacing what was remembered under the name."""
        with self._db.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO facts VALUES (?,?,?)", (name, value, stamp(now))
            )
