"""Two snapshots side by side, and one conversation as it was in a snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from backupd.catalog.histories import Prints, Seen, seen_slices, title_of, unpack_members
from backupd.catalog.ingest import chunks
from backupd.catalog.values import ConversationChange
from backupd.export.marks import difference
from backupd.export.versions import merge_metadata

_LOOKUP = 500


def slice_at(connection: sqlite3.Connection, snapshot: str, conversation: str) -> bytes | None:
    """Return the slice of a conversation in a snapshot, None if it is not there."""
    row = connection.execute(
        "SELECT key FROM conversations WHERE id = ?", (conversation,)
    ).fetchone()
    state = _states(connection, snapshot).get(row[0]) if row is not None else None
    if state is None:
        return None
    found: bytes = connection.execute(
        "SELECT id FROM slices WHERE key = ?", (state.slice,)
    ).fetchone()[0]
    return found


def between(connection: sqlite3.Connection, one: str, other: str) -> tuple[ConversationChange, ...]:
    """Return what conversations snapshot `other` has new, changed, renamed or not, against `one`.

    A conversation that `other` lacks is "gone", whatever the reason. Ordered by id.
    """
    before, after = _states(connection, one), _states(connection, other)
    prints = Prints(connection)
    found = dict.fromkeys(after.keys() - before.keys(), "new")
    found |= dict.fromkeys(before.keys() - after.keys(), "gone")
    for name in before.keys() & after.keys():
        change = _change(prints, before[name], after[name])
        if change:
            found[name] = change
    ids = _names(connection, found)
    titles = {name: title_of((after.get(name) or before[name]).metadata) for name in found}
    told = (ConversationChange(ids[name], titles[name], found[name]) for name in found)
    return tuple(sorted(told, key=lambda item: item.id))


def _change(prints: Prints, old: Seen, new: Seen) -> str:
    if old.print != new.print and not _same(prints, old, new):
        return "changed"
    return "metadata_changed" if merge_metadata(old.metadata, new.metadata)[1] else ""


def _same(prints: Prints, old: Seen, new: Seen) -> bool:
    return difference(prints.get(old.print).marks, prints.get(new.print).marks).same


def _states(connection: sqlite3.Connection, snapshot: str) -> dict[int, Seen]:
    """Return the state of each conversation in a snapshot, the richest where it occurs twice."""
    row = connection.execute(
        "SELECT members FROM snapshots WHERE id = ? AND gone_slices IS NULL", (snapshot,)
    ).fetchone()
    states = seen_slices(connection, unpack_members(row[0])) if row is not None else ()
    return {seen.conversation: seen for seen in sorted(states, key=lambda seen: seen.worth)}


def _names(connection: sqlite3.Connection, keys: dict[int, str]) -> dict[int, str]:
    return dict(_pairs(connection, keys))


def _pairs(connection: sqlite3.Connection, keys: dict[int, str]) -> Iterator[tuple[int, str]]:
    for part in chunks(keys, _LOOKUP):
        marks = ",".join("?" * len(part))
        yield from connection.execute(
            f"SELECT key, id FROM conversations WHERE key IN ({marks})", part
        )
