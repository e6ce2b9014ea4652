"""Questions to the catalog, each one statement, so that each answer is of one moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from backupd.catalog.ingest import chunks
from backupd.catalog.values import (
    ConversationChange,
    ConversationRow,
    SnapshotSummary,
    VersionRow,
)
from backupd.export.versions import Change, Counts, Presence

_LOOKUP = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The newest snapshot of the account of a history `h`: what a NULL `last` stands for.
_NEWEST = (
    "(SELECT id FROM snapshots WHERE account = h.account AND gone_slices IS NULL"
    " ORDER BY at DESC, received DESC, id DESC LIMIT 1)"
)


def summary(connection: sqlite3.Connection, snapshot: str) -> SnapshotSummary | None:
    """Return what a snapshot was to those before it."""
    row = connection.execute(
        "SELECT total, new, changed, metadata_changed, unchanged, gone, complete, mass_drop,"
        " missing, unreadable FROM snapshots WHERE id = ? AND total IS NOT NULL",
        (snapshot,),
    ).fetchone()
    if row is None:
        return None
    complete = None if row[6] is None else bool(row[6])
    return SnapshotSummary(snapshot, Counts(*row[:6]), complete, bool(row[7]), row[8], row[9])


def changes(connection: sqlite3.Connection, snapshot: str) -> tuple[ConversationChange, ...]:
    """Return what a snapshot changed, ordered by conversation id."""
    rows = connection.execute(
        "SELECT conversations.id, h.title, events.change FROM events"
        " JOIN snapshots ON snapshots.key = events.snapshot"
        " JOIN histories h ON h.key = events.history"
        " JOIN conversations ON conversations.key = h.conversation"
        " WHERE snapshots.id = ? ORDER BY conversations.id",
        (snapshot,),
    )
    return tuple(ConversationChange(*row) for row in rows)


def conversations(
    connection: sqlite3.Connection, account: str | None, presence: frozenset[Presence]
) -> tuple[ConversationRow, ...]:
    """Return conversations, the one updated last first."""
    rows = connection.execute(
        "SELECT conversations.id, h.account, h.title, latest.created, latest.updated, h.presence,"
        " prints.kept, h.versions, first.id, coalesce(last.id, newest.id), gone.id, head.id"
        " FROM histories h"
        " JOIN conversations ON conversations.key = h.conversation"
        " JOIN versions ON versions.history = h.key AND versions.number = h.head"
        " JOIN prints ON prints.key = versions.print"
        " JOIN slices head ON head.key = versions.slice"
        " JOIN slices latest ON latest.key = h.slice"
        " JOIN snapshots first ON first.key = h.first"
        " LEFT JOIN snapshots last ON last.key = h.last"
        " LEFT JOIN snapshots gone ON gone.key = h.gone_at"
        f" JOIN snapshots newest ON newest.id = {_NEWEST}"
        " WHERE (?1 IS NULL OR h.account = ?1)"
        f" AND h.presence IN ({','.join(str(int(item)) for item in sorted(presence))})"
        " ORDER BY latest.updated DESC, conversations.id, h.account",
        (account,),
    )
    return tuple(_conversation(row) for row in rows)


def versions(
    connection: sqlite3.Connection, account: str, conversation: str
) -> tuple[VersionRow, ...]:
    """Return the versions of one conversation, the oldest first."""
    rows = connection.execute(
        f"SELECT v.number, first.id, coalesce(last.id, {_NEWEST}), prints.kept, v.change, v.added,"
        " v.lost, v.altered, v.moved, v.number = h.head, slices.id FROM versions v"
        " JOIN histories h ON h.key = v.history"
        " JOIN conversations ON conversations.key = h.conversation"
        " JOIN prints ON prints.key = v.print"
        " JOIN slices ON slices.key = v.slice"
        " JOIN snapshots first ON first.key = v.first"
        " LEFT JOIN snapshots last ON last.key = v.last"
        " WHERE h.account = ? AND conversations.id = ? ORDER BY v.number",
        (account, conversation),
    )
    return tuple(_version(row) for row in rows)


def count_unreadable(connection: sqlite3.Connection, slices: Iterable[int]) -> int:
    """Count the slices that are no conversations."""
    total = 0
    for part in chunks(slices, _LOOKUP):
        marks = ",".join("?" * len(part))
        total += connection.execute(
            f"SELECT count(*) FROM slices WHERE conversation IS NULL AND key IN ({marks})", part
        ).fetchone()[0]
    return total


def _version(row: tuple[Any, ...]) -> VersionRow:
    number, first, last, turns, change, *differences, head, slice_id = row
    added, lost, altered, moved = differences
    return VersionRow(
        number,
        first,
        last,
        turns,
        Change(change),
        added,
        lost,
        altered,
        moved,
        bool(head),
        slice_id,
    )


def _conversation(row: tuple[Any, ...]) -> ConversationRow:
    name, account, title, created, updated, presence, *rest = row
    times = _moment(created), _moment(updated)
    return ConversationRow(name, account, title, *times, Presence(presence), *rest)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else _EPOCH + timedelta(seconds=seconds)
