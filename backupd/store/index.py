"""The object index: where each object lies. Derived from the packs; may be deleted at any time.

SQLite under `cache/`, one transaction per pack, brought up to date whenever a repository is opened:
packs it lacks are read in order of their sequence; when a pack is gone, or SQLite calls the file
damaged, or it has another version, the index is built anew. Without a file, or where it cannot be
written, the index lives in memory; where SQLite fails in the middle of the work (disk full, file
damaged), the work goes on with an index in memory, made from the packs. The index of an encrypted
repository never lies in it: see `derived`.

An object or frame that several packs hold is read from the one written last.

It also remembers, as a mere hint, the newest object of each key (`heads`); `hints` keeps more.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from backupd.store import index_file
from backupd.store.envelope import Envelope
from backupd.store.naming import ID_SIZE, Kind, frame_name
from backupd.store.packs import Directory, FrameEntry, PackDamaged, read_directory

T = TypeVar("T")
_log = logging.getLogger("backupd.store")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame and where it lies; `depth` counts the frames that must be decoded before it."""

    name: bytes
    pack: Path
    kind: int
    codec: int
    offset: int
    length: int
    raw_length: int
    checksum: bytes
    prefix: tuple[bytes, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object's bytes lie inside a decoded frame."""

    frame: Frame
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack to be indexed."""

    name: bytes
    size: int
    directory: Directory


@dataclass(frozen=True, slots=True)
class Usage:
    """Objects of one kind, their bytes, and what they cost in packs."""

    kind: Kind
    objects: int
    raw_bytes: int
    stored_bytes: int


class Index:
    """The open index; safe to use from several threads."""

    def __init__(
        self,
        file: Path | None,
        pack_path: Callable[[bytes], Path],
        packs: Callable[[], Iterable[Pack]] = tuple,
    ) -> None:
        """Open the index; `packs` reads all packs that are there, should it be needed."""
        self._file = file
        self._all_packs = packs
        self._pack_path = pack_path
        self._lock = threading.RLock()
        self._in_memory = file is None
        self._connection = index_file.open_or_make(file) if file else index_file.in_memory()
        self._frames: dict[int, Frame] = {}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def renew(self, packs: list[Pack]) -> None:
        """Hold these packs and nothing else.

        In the same file, where others may be reading, if SQLite finds it sound; else in a new one.
        """
        with self._lock:
            if index_file.is_sound(self._connection):
                self.insert(packs, anew=True)  # goes on in memory if the file is no good after all
                if not self._in_memory:
                    return
            if self._file is not None:
                self._connection.close()
                self._frames.clear()
                index_file.remove(self._file)
                self._connection = index_file.open_or_make(self._file)
                self._in_memory = False
                self.insert(packs)

    def packs(self) -> set[bytes]:
        """Return the names of the packs that are indexed."""
        return {row[0] for row in self.rows("SELECT name FROM packs")}

    def next_sequence(self) -> int:
        """Return a sequence number higher than that of every pack."""
        return int(self.rows("SELECT coalesce(max(sequence), 0) + 1 FROM packs")[0][0])

    def locate(self, object_id: bytes) -> Place | None:
        """Return where an object lies, or None."""
        sql = "SELECT frame, offset, length FROM objects WHERE id = ?"
        for _ in range(2):  # between two statements another process may have replaced the rows
            rows = self.rows(sql, (object_id,))
            frame = self._frame(rows[0][0]) if rows else None
            if frame is not None:
                return Place(frame, rows[0][1], rows[0][2])
        return None

    def frame_named(self, name: bytes) -> Frame | None:
        """Return a frame by its name, or None."""
        rows = self.rows("SELECT id FROM frames WHERE name = ? ORDER BY id DESC LIMIT 1", (name,))
        return self._frame(rows[0][0]) if rows else None

    def base(self, kind: Kind) -> tuple[bytes, int] | None:
        """Return name and raw length of the largest frame of a kind that needs no other frame."""
        rows = self.rows(
            "SELECT name, raw FROM frames WHERE kind = ? AND depth = 0"
            " ORDER BY raw DESC, id LIMIT 1",
            (int(kind),),
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def head(self, kind: Kind, key: bytes) -> bytes | None:
        """Return the newest object of a key, or None."""
        rows = self.rows("SELECT object FROM heads WHERE kind = ? AND key = ?", (int(kind), key))
        return bytes(rows[0][0]) if rows else None

    def usage(self) -> list[Usage]:
        """Return what each kind holds."""
        rows = self.rows(
            "SELECT f.kind, sum(o.count), sum(f.raw), sum(f.length) FROM frames f JOIN"
            " (SELECT frame, count(*) AS count FROM objects GROUP BY frame) o ON o.frame = f.id"
            " GROUP BY f.kind ORDER BY f.kind"
        )
        return [Usage(Kind(kind), count, raw, stored) for kind, count, raw, stored in rows]

    def keys(self, kind: Kind) -> int:
        """Return how many different keys a kind has."""
        return int(self.rows("SELECT count(*) FROM heads WHERE kind = ?", (int(kind),))[0][0])

    def sort(self, ids: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the ids that are known in an order that decodes each frame once, or nearly.

        What goes back to the same first frame comes together, older frames first: a frame is
        compressed against others of its line, and one line fits into the cache of a reader, where
        the whole repository in order of storage would not.
        """
        wanted = [(name,) for name in ids]

        def query(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (id BLOB PRIMARY KEY)")
            connection.execute("DELETE FROM wanted")
            connection.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", wanted)
            return connection.execute(
                "SELECT o.frame, o.offset, w.id FROM wanted w JOIN objects o ON o.id = w.id"
            ).fetchall()

        lines: dict[int, int] = {}
        found = self.change(query)
        found.sort(key=lambda row: (self._line(row[0], lines), *row[:2]))
        return (row[2] for row in found)

    def _line(self, row: int, lines: dict[int, int]) -> int:
        """Return the frame that a line of versions began with; `lines` are those known already."""
        walked: dict[int, None] = {}
        before: int | None = row
        while before is not None and before not in lines and before not in walked:
            row = before
            walked[row] = None
            before = self._before(row)
        first = row if before is None else lines.get(before, row)
        lines.update(dict.fromkeys(walked, first))
        return first

    def _before(self, row: int) -> int | None:
        """Return the frame of the first older object that a frame is compressed against."""
        frame = self._frame(row)
        first = frame.prefix[0] if frame and frame.prefix else b""
        if len(first) != ID_SIZE:  # a whole frame: the base, which every line may lean on
            return None
        rows = self.rows("SELECT frame FROM objects WHERE id = ?", (first,))
        return int(rows[0][0]) if rows else None

    def names_in(self, pack: bytes) -> list[bytes]:
        """Return the names of all objects and frames of a pack."""
        where = (
            "frame IN (SELECT f.id FROM frames f JOIN packs p ON p.id = f.pack WHERE p.name = ?)"
        )
        objects = self.rows(f"SELECT id FROM objects WHERE {where}", (pack,))
        frames = self.rows(
            "SELECT f.name FROM frames f JOIN packs p ON p.id = f.pack WHERE p.name = ?", (pack,)
        )
        return [row[0] for row in (*objects, *frames)]

    def agrees(self, pack: bytes, directory: Directory) -> bool:
        """Return whether what the index says of a pack is what the pack says itself."""
        for entry in directory.frames:
            offset = 0
            for item in entry.objects:
                place = self.locate(item.id)
                if place is None or place.length != item.length:
                    return False
                here = place.frame.pack == self._pack_path(pack)
                if here and not _same(place, entry, offset):
                    return False
                offset += item.length
        return True

    def insert(self, packs: Iterable[Pack], *, anew: bool = False) -> None:
        """Take in packs, in order of their sequence; known ones change nothing.

        With `anew` everything known before is forgotten, hints too. One transaction: a reader in
        another process sees the index as it was, or as it is afterwards.
        """
        ordered = sorted(packs, key=lambda pack: (pack.directory.sequence, pack.name))

        def change(connection: sqlite3.Connection) -> None:
            for table in index_file.TABLES if anew else ():
                connection.execute(f"DELETE FROM {table}")
            self._insert(connection, ordered)

        self.change(change)

    def _insert(self, connection: sqlite3.Connection, packs: Iterable[Pack]) -> None:
        for pack in packs:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO packs (name, sequence, size) VALUES (?, ?, ?)",
                (pack.name, pack.directory.sequence, pack.size),
            )
            if cursor.rowcount:
                for frame in pack.directory.frames:
                    self._insert_frame(connection, cursor.lastrowid, frame)

    def _insert_frame(
        self, connection: sqlite3.Connection, pack: int | None, frame: FrameEntry
    ) -> None:
        name = frame_name(item.id for item in frame.objects)
        prefix = b"".join(bytes((len(part),)) + part for part in frame.prefix)
        values = (pack, name, frame.kind, frame.codec, frame.offset, frame.length)
        more = (frame.raw_length, frame.checksum, prefix, self.depth(frame.prefix))
        row = connection.execute(
            "INSERT INTO frames VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values + more
        ).lastrowid
        offset = 0
        for item in frame.objects:
            connection.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                (item.id, row, offset, item.length),
            )
            offset += item.length
            if item.key:
                connection.execute(
                    "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (frame.kind, item.key, item.id)
                )

    def depth(self, prefix: Iterable[bytes]) -> int:
        """Return the depth of a frame with this prefix."""
        deepest = -1
        for name in prefix:
            place = self.locate(name) if len(name) == ID_SIZE else None
            frame = place.frame if place else self.frame_named(name)
            deepest = max(deepest, frame.depth if frame else 0)
        return deepest + 1

    def _frame(self, row: int) -> Frame | None:
        """Return the frame of a row; frames are few and rows never reused, so each is read once."""
        known = self._frames.get(row)
        if known is not None:
            return known
        found = self.rows(
            "SELECT f.name, p.name, f.kind, f.codec, f.offset, f.length, f.raw, f.checksum,"
            " f.prefix, f.depth FROM frames f JOIN packs p ON p.id = f.pack WHERE f.id = ?",
            (row,),
        )
        if not found:
            return None
        name, pack, kind, codec, offset, length, raw, checksum, prefix, depth = found[0]
        path, parts = self._pack_path(pack), _split(prefix)
        self._frames[row] = Frame(
            name, path, kind, codec, offset, length, raw, checksum, parts, depth
        )
        return self._frames[row]

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return what a query gives."""
        return self._attempt(lambda connection: connection.execute(sql, parameters).fetchall())

    def change(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do `action` in one transaction; it may be called twice."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = action(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the failure may have ended the transaction
                    connection.execute("ROLLBACK")
                raise
            return result

        return self._attempt(transaction)

    def _attempt(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do `action`; where SQLite fails, once more with an index in memory."""
        with self._lock:
            connection = self._connection
            try:
                return action(connection)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if self._connection is connection:
                    if self._in_memory or isinstance(error, sqlite3.ProgrammingError):
                        raise
                    self._go_on_in_memory(error)
                return action(self._connection)

    def _go_on_in_memory(self, error: sqlite3.Error | UnicodeDecodeError) -> None:
        """Leave the file, removed if it is damaged, for the next to open; read all packs."""
        _log.warning("object index: %s; going on without its file", error)
        self._in_memory = True
        self._frames.clear()
        self._connection.close()
        if self._file is not None and index_file.is_damage(error):
            index_file.remove(self._file)
        self._connection = index_file.in_memory()
        self.insert(self._all_packs())


def read_packs(
    names: Iterable[bytes], pack_path: Callable[[bytes], Path], envelope: Envelope
) -> list[Pack]:
    """Return the packs of these names; one that cannot be read is left out, `check` names it."""
    found = []
    for name in names:
        try:
            directory, size = read_directory(pack_path(name), envelope)
        except (OSError, PackDamaged):
            continue
        found.append(Pack(name, size, directory))
    return found


def _same(place: Place, entry: FrameEntry, offset: int) -> bool:
    frame = place.frame
    return place.offset == offset and (
        (frame.kind, frame.codec, frame.offset, frame.length, frame.raw_length)
        == (entry.kind, entry.codec, entry.offset, entry.length, entry.raw_length)
        and (frame.checksum, frame.prefix) == (entry.checksum, entry.prefix)
    )


def _split(prefix: bytes) -> tuple[bytes, ...]:
    names = []
    position = 0
    while position < len(prefix):
        end = position + 1 + prefix[position]
        names.append(prefix[position + 1 : end])
        position = end
    return tuple(names)
