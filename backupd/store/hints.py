"""What earlier additions learnt and later ones may use: hints, kept in the file of the index.

Any of it may be missing, and nothing that is stored depends on it. A wrong hint would make a wrong
recipe; the proof that ends every addition finds it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from backupd.store.index import Index
from backupd.store.naming import Kind


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest object of a key, and its length."""

    object: bytes
    key: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """What a transform made of an object: its length, and the name that it has as an object."""

    object: bytes
    transform: int
    size: int
    outcome: bytes


class Hints:
    """Hints in one index."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def recall(self, stream: bytes) -> tuple[bytes, int] | None:
        """Return (snapshot, ordinal of the member) that explains a compressed stream, or None."""
        rows = self._index.rows("SELECT snapshot, member FROM memo WHERE stream = ?", (stream,))
        return (rows[0][0], rows[0][1]) if rows else None

    def newest(self, kind: Kind) -> list[Newest]:
        """Return the newest object of every key of a kind, in no order."""
        rows = self._index.rows(
            "SELECT o.id, h.key, o.length FROM heads h JOIN objects o ON o.id = h.object"
            " WHERE h.kind = ?",
            (int(kind),),
        )
        return [Newest(*row) for row in rows]

    def pages(self, kind: Kind) -> list[Page]:
        """Return what is known to have been made of the newest objects of a kind."""
        rows = self._index.rows(
            "SELECT p.object, p.transform, p.size, p.outcome FROM heads h"
            " JOIN pages p ON p.object = h.object WHERE h.kind = ?",
            (int(kind),),
        )
        return [Page(*row) for row in rows]

    def remember(
        self, streams: Iterable[tuple[bytes, bytes, int]], pages: Iterable[Page] = ()
    ) -> None:
        """Remember (stream, snapshot, ordinal) and pages for later exports; the newest count."""
        rows = list(streams)
        made = [(page.object, page.transform, page.size, page.outcome) for page in pages]

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO memo VALUES (?, ?, ?)", rows)
            connection.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)", made)

        self._index.change(change)
