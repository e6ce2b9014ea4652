"""The notice log and the outbox: what was told, and what each channel has yet to be sent.

A notice and its outbox rows are written in one transaction, which joins the caller's: what a
person is told of and the telling become durable together. Repeats of an open fault collapse into
one entry; a recovery is told once, and only if its fault was open.

The outbox keeps the order of each channel: only the oldest unsent row of a channel can be claimed,
and a claim is a lease, so that two processes on one ledger never send the same row. A process that
dies between sending and `sent` leaves the lease to run out; only then is a row sent again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.ledger.db import Database
from backupd.ledger.deliveries import moment, stamp
from backupd.notice import Notice, Severity

LONGEST_WAIT = timedelta(hours=2)
"""No row waits longer; one that seems to do was written before the clock was set back."""

_COLUMNS = "time, severity, event, title, body, delivery, snapshot, fault, fields, last_at, open"


@dataclass(frozen=True, slots=True)
class LoggedNotice:
    """One entry of the notice log; `repeats` counts what collapsed into it, until `last_at`."""

    id: int
    time: datetime
    severity: Severity
    event: str
    title: str
    body: str
    delivery: str | None
    snapshot: str | None
    repeats: int
    last_at: datetime
    open: bool


@dataclass(frozen=True, slots=True)
class Due:
    """One notice that this process has claimed for one channel; `attempts` counts this one too."""

    id: int
    channel: str
    attempts: int
    notice: Notice


class NoticeLog:
    """The notices and the outbox of one ledger. Thread-safe, as the database is."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, notice: Notice, channels: Iterable[str], now: datetime) -> bool:
        """Record a notice and queue it for `channels`; say whether it is to be told at all.

        Not told are: a repeat of an open fault, unless it has become more severe, and a recovery
        from nothing.
        """
        with self.database.transaction() as connection:
            cleared = sum(_clear(connection, fault) for fault in notice.clears)
            if notice.recovery and not cleared:
                return False
            if notice.fault is not None and _collapsed(connection, notice, now):
                return False
            number = _insert(connection, notice, now)
            connection.executemany(
                "INSERT INTO outbox (notice, channel, next_attempt_at) VALUES (?, ?, ?)",
                [(number, channel, stamp(now)) for channel in channels],
            )
        return True

    def list(self, limit: int = 50) -> tuple[LoggedNotice, ...]:
        """Return the newest `limit` entries, oldest of them first."""
        rows = self.database.rows("SELECT * FROM notices ORDER BY id DESC LIMIT ?", (limit,))
        return tuple(_logged(row) for row in reversed(rows))

    def told(self, event: str, snapshot: str) -> bool:
        """Say whether the log has an event of a snapshot."""
        found = self.database.row(
            "SELECT 1 FROM notices WHERE event = ? AND snapshot = ?", (event, snapshot)
        )
        return found is not None

    def claim(self, channel: str, now: datetime, lease: timedelta) -> Due | None:
        """Take the oldest unsent notice of `channel` if it is due; it is ours until the lease ends.

        None also while another process holds it: later notices do not overtake it.
        """
        with self.database.transaction() as connection:
            row = connection.execute(
                "SELECT notices.*, outbox.attempts, outbox.next_attempt_at FROM outbox"
                " JOIN notices ON notices.id = outbox.notice"
                " WHERE channel = ? AND sent_at IS NULL ORDER BY outbox.notice LIMIT 1",
                (channel,),
            ).fetchone()
            if row is None or now < moment(row["next_attempt_at"]) <= now + LONGEST_WAIT:
                return None
            connection.execute(
                "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = ?"
                " WHERE notice = ? AND channel = ?",
                (stamp(now + lease), row["id"], channel),
            )
        return Due(row["id"], channel, row["attempts"] + 1, _notice(row))

    def sent(self, due: Due, now: datetime) -> None:
        """Record that a claimed notice was delivered."""
        self._update("sent_at", due, now)

    def failed(self, due: Due, retry_at: datetime) -> None:
        """Record that a claimed notice was not delivered; it is due again at `retry_at`."""
        self._update("next_attempt_at", due, retry_at)

    def waiting(self) -> int:
        """Count the rows of the outbox that are not sent yet."""
        row = self.database.row("SELECT count(*) AS number FROM outbox WHERE sent_at IS NULL")
        return 0 if row is None else int(row["number"])

    def _update(self, column: str, due: Due, at: datetime) -> None:
        with self.database.transaction() as connection:
            connection.execute(
                f"UPDATE outbox SET {column} = ? WHERE notice = ? AND channel = ?",
                (stamp(at), due.id, due.channel),
            )


def _clear(connection: sqlite3.Connection, fault: str) -> int:
    """Close the open faults that `fault` names, a final `*` standing for any ending."""
    start = fault.removesuffix("*")
    compared = "substr(fault, 1, length(?1))" if fault.endswith("*") else "fault"
    return connection.execute(
        f"UPDATE notices SET open = 0 WHERE open = 1 AND {compared} = ?1", (start,)
    ).rowcount


def _collapsed(connection: sqlite3.Connection, notice: Notice, now: datetime) -> bool:
    """Count a repeat of an open fault; one that has become more severe closes the old entry."""
    row = connection.execute(
        "SELECT id, severity FROM notices WHERE fault = ? AND open = 1", (notice.fault,)
    ).fetchone()
    if row is None:
        return False
    if notice.severity.rank > Severity(row["severity"]).rank:
        connection.execute("UPDATE notices SET open = 0 WHERE id = ?", (row["id"],))
        return False
    connection.execute(
        "UPDATE notices SET repeats = repeats + 1, last_at = ? WHERE id = ?",
        (stamp(now), row["id"]),
    )
    return True


def _insert(connection: sqlite3.Connection, notice: Notice, now: datetime) -> int:
    values = (
        stamp(now),
        notice.severity.value,
        notice.event,
        notice.title,
        notice.body,
        notice.delivery,
        notice.snapshot,
        notice.fault,
        json.dumps(dict(notice.fields)),
        stamp(now),
        int(notice.fault is not None),
    )
    marks = ", ".join("?" * len(values))
    done = connection.execute(f"INSERT INTO notices ({_COLUMNS}) VALUES ({marks})", values)
    return int(done.lastrowid or 0)


def _notice(row: sqlite3.Row) -> Notice:
    return Notice(
        event=row["event"],
        severity=Severity(row["severity"]),
        title=row["title"],
        body=row["body"],
        delivery=row["delivery"],
        snapshot=row["snapshot"],
        fault=row["fault"],
        fields=json.loads(row["fields"]),
    )


def _logged(row: sqlite3.Row) -> LoggedNotice:
    return LoggedNotice(
        id=row["id"],
        time=moment(row["time"]),
        severity=Severity(row["severity"]),
        event=row["event"],
        title=row["title"],
        body=row["body"],
        delivery=row["delivery"],
        snapshot=row["snapshot"],
        repeats=row["repeats"],
        last_at=moment(row["last_at"]),
        open=bool(row["open"]),
    )
