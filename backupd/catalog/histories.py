"""The rows of `histories`, `versions`, `prints` and `slices`, as values and as statements.

Only SQL lives here; what the rows mean is decided in `folding`. Every function works inside the
caller's transaction.
"""

from __future__ import annotations

import sqlite3
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

import msgspec

from backupd.catalog.ingest import chunks
from backupd.export.marks import MARK_SIZE, Difference
from backupd.export.versions import Change, Fingerprint, Presence

_LOOKUP = 500
_CACHED = 20_000
_decode_title = msgspec.json.Decoder(dict[str, str | int | bool | None])


@dataclass(slots=True)
class History:
    """One row of `histories`: where a conversation stands for an account.

    The only mutable value here: it is the working copy while snapshots are folded in.
    """

    key: int
    conversation: int
    presence: Presence
    slice: int
    print: int
    head: int
    latest: int
    versions: int
    metadata: bytes
    first: int
    last: int | None = None
    gone_at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One slice of a snapshot that is a conversation. `updated` is -inf where unknown."""

    slice: int
    conversation: int
    print: int
    metadata: bytes
    kept: int
    turns: int
    updated: float

    @property
    def worth(self) -> tuple[int, int, float, int]:
        """Order the slices of one conversation in one export; the last is the one to believe."""
        return self.kept, self.turns, self.updated, self.slice


def pack_members(keys: Iterable[int]) -> bytes:
    """Return a snapshot's slice keys as bytes, four each, little endian."""
    packed = array("I", keys)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack_members(packed: bytes) -> Iterator[int]:
    """Yield the slice keys of a snapshot."""
    keys = array("I")
    keys.frombytes(packed)
    if sys.byteorder == "big":
        keys.byteswap()
    yield from keys


def load_histories(connection: sqlite3.Connection, account: str) -> list[History]:
    """Return all histories of an account."""
    rows = connection.execute(
        "SELECT key, conversation, presence, slice, print, head, latest, versions, metadata, first,"
        " last, gone_at FROM histories WHERE account = ?",
        (account,),
    )
    return [History(key, name, Presence(presence), *rest) for key, name, presence, *rest in rows]


def save_histories(
    connection: sqlite3.Connection, account: str, histories: Iterable[History]
) -> None:
    """Write histories, new ones and known ones."""
    connection.executemany(
        "INSERT OR REPLACE INTO histories (account, title, key, conversation, presence, slice,"
        " print, head, latest, versions, metadata, first, last, gone_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((account, title_of(item.metadata), *astuple(item)) for item in histories),
    )


def seen_slices(connection: sqlite3.Connection, keys: Iterable[int]) -> Iterator[Seen]:
    """Yield what is known of those slices that are conversations."""
    for part in chunks(keys, _LOOKUP):
        marks = ",".join("?" * len(part))
        yield from (
            Seen(*row)
            for row in connection.execute(
                "SELECT slices.key, slices.conversation, print, metadata, kept,"
                f" length(marks) / {MARK_SIZE}, ifnull(updated, -1e999) FROM slices"
                f" JOIN prints ON prints.key = slices.print WHERE slices.key IN ({marks})",
                part,
            )
        )


class Prints:
    """Fingerprints by key, the recent ones in memory. Their metadata is empty."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._recent: dict[int, Fingerprint] = {}

    def get(self, key: int) -> Fingerprint:
        """Return the fingerprint with that key."""
        found = self._recent.get(key)
        if found is None:
            row = self._connection.execute(
                "SELECT content, marks, kept FROM prints WHERE key = ?", (key,)
            ).fetchone()
            if len(self._recent) >= _CACHED:
                self._recent.clear()
            found = self._recent[key] = Fingerprint(row[0], b"{}", row[1], row[2])
        return found


class Versions:
    """The versions of conversations. `history` is the key of a history."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(
        self, history: History, seen: Seen, snapshot: int, change: Change, found: Difference
    ) -> int:
        """Append a version and return its number."""
        history.versions += 1
        self._connection.execute(
            "INSERT INTO versions (history, number, print, slice, first, change, added, lost,"
            " altered, moved) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (history.key, history.versions, seen.print, seen.slice, snapshot, change.value,
             found.added, found.lost, found.altered, found.moved),
        )  # fmt: skip
        return history.versions

    def find(self, history: History, content: bytes) -> int | None:
        """Return the number of the version with that content, if there is one."""
        row = self._connection.execute(
            "SELECT number FROM versions JOIN prints ON prints.key = versions.print"
            " WHERE history = ? AND content = ?",
            (history.key, content),
        ).fetchone()
        return row[0] if row is not None else None

    def print_of(self, history: History, number: int) -> int:
        """Return the key of a version's fingerprint."""
        row = self._connection.execute(
            "SELECT print FROM versions WHERE history = ? AND number = ?", (history.key, number)
        ).fetchone()
        key: int = row[0]
        return key

    def enrich(self, history: History, number: int, seen: Seen) -> None:
        """Let a richer state of the same content stand for a version."""
        self._connection.execute(
            "UPDATE versions SET print = ?, slice = ? WHERE history = ? AND number = ?",
            (seen.print, seen.slice, history.key, number),
        )

    def end(self, history: History, last: int | None) -> None:
        """Say that the version seen last was there up to snapshot `last`, if it is not ended."""
        self._connection.execute(
            "UPDATE versions SET last = ? WHERE history = ? AND number = ? AND last IS NULL",
            (last, history.key, history.latest),
        )

    def resume(self, history: History) -> None:
        """Say that the version seen last is there again."""
        self._connection.execute(
            "UPDATE versions SET last = NULL WHERE history = ? AND number = ?",
            (history.key, history.latest),
        )


def title_of(metadata: bytes) -> str | None:
    """Return the title in a history's metadata."""
    title = _decode_title.decode(metadata).get("title")
    return title if isinstance(title, str) else None
