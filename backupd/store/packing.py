"""Compress frames in worker threads and write them, in order, into packs of a staging directory.

What was handed over can be read back at once, whether it is still being compressed, lies in a pack
that is still being written, or is in the repository. Nothing outside the staging directory changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backupd.store.envelope import Envelope
from backupd.store.frames import HIGH_LEVEL, LEVEL, Codec, encode
from backupd.store.fsio import FileSystem, NewFile
from backupd.store.index import Frame, Index, Place
from backupd.store.naming import ID_SIZE, Kind, frame_name
from backupd.store.packs import FrameEntry, ObjectEntry, PackWriter, SealedPack
from backupd.store.reader import FrameCache, ObjectReader

PACK_BYTES = 64 << 20
_WORKERS = 2
_AHEAD = 2 * _WORKERS
_SMALL_RECIPE = 1 << 20


@dataclass(frozen=True, slots=True)
class _Flight:
    """A frame that is being compressed."""

    kind: Kind
    prefix: tuple[bytes, ...]
    objects: tuple[ObjectEntry, ...]
    depth: int
    result: Future[tuple[Codec, bytes]]


class Packing:
    """The packs of one addition."""

    def __init__(self, files: FileSystem, staging: Path, index: Index, envelope: Envelope) -> None:
        self._files = files
        self._staging = staging
        self._index = index
        self._envelope = envelope
        self._sequence = index.next_sequence()
        self._flights: deque[_Flight] = deque()
        self._flying: set[bytes] = set()
        self._placed: dict[bytes, Place] = {}
        self._named: dict[bytes, Frame] = {}
        self._file: NewFile | None = None
        self._pack: PackWriter | None = None
        self._sealed: list[SealedPack] = []
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="backupd-zstd")
        self._cache = FrameCache()
        self._readers: list[ObjectReader] = []

    def knows(self, name: bytes) -> bool:
        """Return whether an object is here or in the repository."""
        return name in self._flying or self.locate(name) is not None

    def locate(self, name: bytes) -> Place | None:
        """Return where an object lies; one that is still being compressed lies nowhere."""
        return self._placed.get(name) or self._index.locate(name)

    def settle(self, name: bytes) -> Place | None:
        """Return where an object lies, waiting for its frame if need be."""
        if name in self._flying:
            self._land(0)
        return self.locate(name)

    def read(self, name: bytes) -> bytes:
        """Return an object's bytes."""
        self.settle(name)
        with self._reader() as reader:
            return reader.read(name)

    def submit(
        self,
        kind: Kind,
        data: bytes,
        prefix: tuple[bytes, ...],
        objects: tuple[ObjectEntry, ...],
    ) -> None:
        """Take one frame; may wait until an earlier one is written."""
        for name in prefix:
            if len(name) == ID_SIZE:
                self.settle(name)
            elif self._frame_named(name) is None:
                self._land(0)
        depth = 1 + max((self._depth(name) for name in prefix), default=-1)
        high = kind is Kind.RECIPE and len(data) <= _SMALL_RECIPE  # a fifth smaller in 40 ms
        result = self._pool.submit(self._encode, data, prefix, HIGH_LEVEL if high else LEVEL)
        self._flights.append(_Flight(kind, prefix, objects, depth, result))
        self._flying.update(item.id for item in objects)
        self._land(_AHEAD)

    def finish(self) -> list[SealedPack]:
        """Write what is left, seal the last pack, and return all of them in order."""
        self._land(0)
        self._seal()
        return self._sealed

    def close(self) -> None:
        """End the threads and close the files; what is not sealed is left to be collected."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        while self._readers:  # they know this object: nothing would free their memory soon
            self._readers.pop().close()
        if self._file is not None:
            self._file.close()

    def _encode(self, data: bytes, prefix: tuple[bytes, ...], level: int) -> tuple[Codec, bytes]:
        with self._reader() as reader:
            before = reader.prefix(prefix)
        return encode(data, before, level)

    @contextmanager
    def _reader(self) -> Iterator[ObjectReader]:
        """Give a reader that no other thread uses; all share what they have decoded."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = ObjectReader(self.locate, self._frame_named, self._envelope, self._cache)
        try:
            yield reader
        finally:
            self._readers.append(reader)

    def _frame_named(self, name: bytes) -> Frame | None:
        return self._named.get(name) or self._index.frame_named(name)

    def _depth(self, name: bytes) -> int:
        if len(name) == ID_SIZE:
            place = self.locate(name)
            return place.frame.depth if place else 0
        frame = self._frame_named(name)
        return frame.depth if frame else 0

    def _land(self, most: int) -> None:
        while len(self._flights) > most:
            flight = self._flights[0]
            coded = flight.result.result()  # one that failed stays, so that nothing can be sealed
            pack = self._pack or self._begin()
            entry = pack.add(flight.kind, coded, flight.prefix, flight.objects)
            self._flights.popleft()
            self._place(pack.path, entry, flight.depth)
            if pack.size >= PACK_BYTES:
                self._seal()

    def _place(self, path: Path, entry: FrameEntry, depth: int) -> None:
        name = frame_name(item.id for item in entry.objects)
        frame = Frame(
            name, path, entry.kind, entry.codec, entry.offset, entry.length, entry.raw_length,
            entry.checksum, entry.prefix, depth,
        )  # fmt: skip
        self._named[name] = frame
        offset = 0
        for item in entry.objects:
            self._placed.setdefault(item.id, Place(frame, offset, item.length))
            self._flying.discard(item.id)
            offset += item.length

    def _begin(self) -> PackWriter:
        path = self._staging / f"{len(self._sealed):04d}.pack"
        self._file = NewFile(self._files, path)
        self._pack = PackWriter(self._file, self._sequence + len(self._sealed), self._envelope)
        return self._pack

    def _seal(self) -> None:
        if self._pack is not None:
            pack, self._pack = self._pack, None
            self._sealed.append(pack.seal())
