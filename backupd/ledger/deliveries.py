"""Deliveries: everything known about one export on its way in.

A delivery moves proven → fetching → fetched → stored, waits as needs-you, or ends as expired or
refused; only the methods below move it. That its mail was seen is the message's row (`messages`).
Each method is one durable transaction and may be nested in a caller's transaction. The signed link
is stored from `proven` until the delivery is stored, expired or refused, or its file lies in
quarantine, and is erased by the same statement (I6).

A delivery whose mail is not proven has no `proof`; it begins as needs-you, is never due, and goes
on only when a person approves it or a proven mail brings the same export.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlite3 import Row
from typing import Any

from backupd.ledger.db import Database
from backupd.ledger.delivery import OVER, PENDING, UNPROVEN, Delivery, Opening, State

CLOCK_SLACK = timedelta(minutes=1)
"""By so much may the clock be set back without anything being tried before its time."""


class Deliveries:
    """The deliveries of one ledger."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, opening: Opening, now: datetime) -> Delivery:
        """Record a proven mail with its link and deadline; due at once."""
        return self._insert(opening, State.PROVEN, None, None, now)

    def ask(self, opening: Opening, doubt: str, now: datetime) -> Delivery:
        """Record a mail that nothing proves, and why; it waits for a person."""
        return self._insert(opening, State.NEEDS_YOU, UNPROVEN, doubt, now)

    def _insert(
        self, opening: Opening, state: State, outcome: str | None, detail: str | None, now: datetime
    ) -> Delivery:
        identity, place = secrets.token_hex(4), opening.place
        row: dict[str, str | int | None] = {
            "id": identity,
            "state": state.value,
            "outcome": outcome,
            "detail": detail,
            "mailbox": place.mailbox,
            "folder": place.folder,
            "uidvalidity": place.uidvalidity,
            "uid": place.uid,
            "message_id": opening.message_id,
            "sender": opening.sender,
            "proof": opening.proof,
            "link": opening.link,
            "era": opening.era,
            "host": opening.host,
            "file_name": opening.file_name,
            "account": opening.account,
            "mail_at": stamp(opening.mail_at),
            "deadline": stamp(opening.deadline),
            "give_up_at": stamp(opening.give_up_at),
            **dict.fromkeys(("created_at", "updated_at"), stamp(now)),
            "next_attempt_at": stamp(now) if state is State.PROVEN else None,
        }
        marks = ", ".join("?" * len(row))
        with self._db.transaction() as connection:
            connection.execute(
                f"INSERT INTO deliveries ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
        return self.get(identity)

    def get(self, identity: str) -> Delivery:
        """Return one delivery; KeyError if there is none of that id."""
        row = self._db.row("SELECT * FROM deliveries WHERE id = ?", (identity,))
        if row is None:
            raise KeyError(identity)
        return _delivery(row)

    def pending(self) -> list[Delivery]:
        """Return the deliveries that are neither stored nor ended, nearest deadline first."""
        return self._in_states(PENDING)

    def renew(self, identity: str, opening: Opening, now: datetime) -> Delivery:
        """Give a pending delivery the newer link of another, proven mail; due at once."""
        self._set(
            identity,
            now,
            "proof = ?, sender = ?, link = ?, host = ?, era = ?,"
            " mail_at = ?, deadline = ?, give_up_at = ?, alarm = 0,"
            " next_attempt_at = ?, state = CASE state WHEN ? THEN state ELSE ? END, outcome = NULL",
            opening.proof,
            opening.sender,
            opening.link,
            opening.host,
            opening.era,
            stamp(opening.mail_at),
            stamp(opening.deadline),
            stamp(opening.give_up_at),
            stamp(now),
            State.FETCHING.value,
            State.PROVEN.value,
        )
        return self.get(identity)

    def due(self, now: datetime) -> list[Delivery]:
        """Return the pending deliveries whose next attempt has come, nearest deadline first.

        One that was written in what is now the future is due too: the clock was set back.
        """
        return [
            delivery
            for delivery in self.pending()
            if delivery.next_attempt_at is not None
            and delivery.proof is not None
            and (delivery.next_attempt_at <= now or delivery.updated_at > now + CLOCK_SLACK)
        ]

    def missed_at(self) -> datetime | None:
        """Return when the newest delivery expired, or None if it did not; proven ones count."""
        row = self._db.row(
            "SELECT state, updated_at FROM deliveries WHERE proof IS NOT NULL"
            " ORDER BY created_at DESC, id LIMIT 1"
        )
        missed = row is not None and row["state"] == State.EXPIRED.value
        return moment(row["updated_at"]) if row is not None and missed else None

    def has_mail_since(self, mailbox: str, at: datetime) -> bool:
        """Say whether a mailbox brought a delivery by a mail of that time or a later one."""
        found = self._db.row(
            "SELECT 1 FROM deliveries WHERE mailbox = ? AND mail_at >= ?", (mailbox, stamp(at))
        )
        return found is not None

    def of_file(self, file_name: str) -> Delivery | None:
        """Return the newest delivery of this file name that was not refused, if any."""
        row = self._db.row(
            "SELECT * FROM deliveries WHERE file_name = ? AND state != ?"
            " ORDER BY created_at DESC LIMIT 1",
            (file_name, State.REFUSED.value),
        )
        return None if row is None else _delivery(row)

    def fetching(self, identity: str, part: Path, now: datetime) -> None:
        """Record that an attempt begins, and into which file."""
        self._set(
            identity,
            now,
            "state = ?, attempts = attempts + 1, part = ?",
            State.FETCHING.value,
            str(part),
        )

    def retry(self, identity: str, at: datetime, outcome: str, detail: str, now: datetime) -> None:
        """Record a failed attempt and when the next one is due."""
        self._set(
            identity,
            now,
            "state = ?, next_attempt_at = ?, outcome = ?, detail = ?",
            State.PROVEN.value,
            stamp(at),
            outcome,
            detail,
        )

    def interrupted(self, identity: str, now: datetime) -> None:
        """Record that an attempt was broken off from this side: due again, and not counted."""
        self._set(
            identity,
            now,
            "state = ?, next_attempt_at = ?, attempts = max(attempts - 1, 0), outcome = ?,"
            " detail = ''",
            State.PROVEN.value,
            stamp(now),
            "interrupted",
        )

    def last_chance(self, identity: str, until: datetime, now: datetime) -> Delivery:
        """Put off the giving up, once, and make the delivery due at once."""
        self._set(
            identity,
            now,
            "give_up_at = ?, next_attempt_at = ?, alarm = ?",
            stamp(until),
            stamp(now),
            OVER,
        )
        return self.get(identity)

    def needs_you(
        self, identity: str, at: datetime, outcome: str, detail: str, now: datetime
    ) -> None:
        """Record that a person has to act; `at` is the next unattended attempt."""
        self._set(
            identity,
            now,
            "state = ?, next_attempt_at = ?, outcome = ?, detail = ?",
            State.NEEDS_YOU.value,
            stamp(at),
            outcome,
            detail,
        )

    def fetched(self, identity: str, sha256: str, size: int, now: datetime) -> None:
        """Record that the file is complete and durable; it is stored next."""
        self._set(
            identity,
            now,
            "state = ?, sha256 = ?, size = ?, next_attempt_at = ?, outcome = ?",
            State.FETCHED.value,
            sha256,
            size,
            stamp(now),
            "fetched",
        )

    def postpone(self, identity: str, at: datetime, now: datetime) -> None:
        """Try the next step later, in the same state."""
        self._set(identity, now, "next_attempt_at = ?", stamp(at))

    def quarantined(self, identity: str, detail: str, now: datetime) -> None:
        """Record that the file is kept in quarantine; nothing more is tried, the link is erased."""
        self._set(
            identity,
            now,
            "state = ?, next_attempt_at = NULL, outcome = ?, detail = ?, link = NULL, part = NULL",
            State.NEEDS_YOU.value,
            "quarantined",
            detail,
        )

    def stored(self, identity: str, snapshot: str, now: datetime) -> None:
        """Record the snapshot that ended the delivery; the link is erased."""
        self._end(identity, State.STORED, "stored", "", now, snapshot)

    def expired(self, identity: str, detail: str, now: datetime) -> None:
        """Record that the link is dead; it is erased."""
        self._end(identity, State.EXPIRED, "expired", detail, now, None)

    def refused(self, identity: str, detail: str, now: datetime) -> None:
        """Record that the link leads where nothing is fetched from; it is erased."""
        self._end(identity, State.REFUSED, "refused", detail, now, None)

    def alarmed(self, identity: str, level: int, now: datetime) -> None:
        """Record the highest deadline level (per cent of the window) the person was told of."""
        self._set(identity, now, "alarm = ?", level)

    def _end(
        self,
        identity: str,
        state: State,
        outcome: str,
        detail: str,
        now: datetime,
        snapshot: str | None,
    ) -> None:
        self._set(
            identity,
            now,
            "state = ?, outcome = ?, detail = ?, snapshot = ?, link = NULL, part = NULL,"
            " next_attempt_at = NULL",
            state.value,
            outcome,
            detail,
            snapshot,
        )

    def _set(self, identity: str, now: datetime, sql: str, *values: object) -> None:
        with self._db.transaction() as connection:
            connection.execute(
                f"UPDATE deliveries SET {sql}, updated_at = ? WHERE id = ?",
                (*values, stamp(now), identity),
            )

    def _in_states(self, states: Iterable[State]) -> list[Delivery]:
        names = tuple(state.value for state in states)
        rows = self._db.rows(
            f"SELECT * FROM deliveries WHERE state IN ({','.join('?' * len(names))})"
            " ORDER BY deadline, created_at, id",
            names,
        )
        return [_delivery(row) for row in rows]


def stamp(moment: datetime) -> str:
    """Write an aware time as the ledger stores it: UTC, ISO 8601, microseconds, sortable."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """Read a time that `stamp` wrote."""
    return datetime.fromisoformat(text)


_TIMES = frozenset(
    {"mail_at", "deadline", "give_up_at", "created_at", "updated_at", "next_attempt_at"}
)


def _delivery(row: Row) -> Delivery:
    return Delivery(**{field.name: _value(field.name, row) for field in fields(Delivery)})


def _value(name: str, row: Row) -> Any:
    value = row[name]
    if value is None:
        return None
    if name in _TIMES:
        return moment(value)
    if name == "state":
        return State(value)
    return Path(value) if name == "part" else value
