"""Slices into the catalog: parsed once, remembered as fingerprints.

A slice is content-addressed, so one that is there is never read again, and a batch that two
processes write at once is written once. Each batch is a transaction of its own: an interrupted
rebuild goes on where it stopped, and nobody waits for a lock longer than a batch takes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

from backupd.catalog.database import CatalogFile
from backupd.catalog.texts import Spoken, remember_turns, spoken
from backupd.export.conversations import ConversationUnreadable, parse
from backupd.export.versions import Fingerprint, fingerprint

BATCH = 400
BATCH_BYTES = 16 * 2**20
_LOOKUP = 500
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A slice as it will be remembered; `state` is None if it is no conversation."""

    id: bytes
    size: int
    conversation: str
    state: Fingerprint | None
    created: float | None
    updated: float | None
    turns: tuple[Spoken, ...] = ()


def known_slices(file: CatalogFile, ids: Iterable[bytes]) -> dict[bytes, int]:
    """Return the keys of those slices that the catalog has."""
    found: dict[bytes, int] = {}
    for part in chunks(ids, _LOOKUP):
        marks = ",".join("?" * len(part))
        with file.reading() as connection:
            found.update(
                connection.execute(f"SELECT id, key FROM slices WHERE id IN ({marks})", part)
            )
    return found


def ingest(
    file: CatalogFile,
    slices: Iterable[tuple[bytes, bytes]],
    progress: Callable[[int, int], None],
) -> tuple[int, int]:
    """Parse slices and remember them; return how many there were, and their bytes.

    `progress` is told both after each batch. Memory: one slice, and the fingerprints and texts of
    a batch, which has BATCH_BYTES of slices at most, or one.
    """
    count = size = 0
    for batch in _batches(_parsed(identity, data) for identity, data in slices):
        with file.writing() as connection:
            for parsed in batch:
                _remember(connection, parsed)
        count += len(batch)
        size += sum(parsed.size for parsed in batch)
        progress(count, size)
    return count, size


def chunks(items: Iterable[_T], length: int) -> Iterator[list[_T]]:
    """Yield `items` in lists of at most `length`."""
    iterator = iter(items)
    while part := list(islice(iterator, length)):
        yield part


def _batches(items: Iterable[_Parsed]) -> Iterator[list[_Parsed]]:
    batch: list[_Parsed] = []
    size = 0
    for item in items:
        if batch and (len(batch) == BATCH or size + item.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch


def _parsed(identity: bytes, data: bytes) -> _Parsed:
    try:
        conversation = parse(data)
    except ConversationUnreadable:
        return _Parsed(identity, len(data), "", None, None, None)
    return _Parsed(
        identity,
        len(data),
        conversation.id,
        fingerprint(conversation),
        _seconds(conversation.created),
        _seconds(conversation.updated),
        spoken(conversation),
    )


def _remember(connection: sqlite3.Connection, parsed: _Parsed) -> None:
    state = parsed.state
    if state is None:
        mark = seal(parsed.id, None, None, None, None, None)
        row = (parsed.id, mark)
        connection.execute("INSERT OR IGNORE INTO slices (id, seal) VALUES (?, ?)", row)
        return
    conversation = _conversation(connection, parsed.conversation)
    stamp = (conversation, state.digest)
    found = connection.execute(
        "SELECT key FROM prints WHERE conversation = ? AND digest = ?", stamp
    ).fetchone()
    found = (
        found
        or connection.execute(
            "INSERT INTO prints (conversation, digest, content, marks, kept) VALUES (?, ?, ?, ?, ?)"
            " RETURNING key",
            (*stamp, state.content, state.marks, state.kept),
        ).fetchone()
    )
    said = (state.metadata, parsed.created, parsed.updated)
    connection.execute(
        "INSERT OR IGNORE INTO slices (id, conversation, print, metadata, created, updated, seal)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(parsed.id, conversation, found[0], *said),
            seal(parsed.id, parsed.conversation, state.digest, *said),
        ),
    )
    remember_turns(connection, conversation, parsed.turns)


def seal(*said: object) -> bytes:
    """Hash what a row says: slice id, conversation id, digest, metadata, created, updated."""
    return blake2b(repr(said).encode(), digest_size=8).digest()


def _conversation(connection: sqlite3.Connection, identity: str) -> int:
    found = connection.execute("SELECT key FROM conversations WHERE id = ?", (identity,)).fetchone()
    found = (
        found
        or connection.execute(
            "INSERT INTO conversations (id) VALUES (?) RETURNING key", (identity,)
        ).fetchone()
    )
    key: int = found[0]
    return key


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
