"""Read objects: find the frame, decode it against its prefix, prove the bytes by their name (I2).

Decoded frames are kept in a small cache bounded by bytes, because neighbours are read together.
Nothing is returned whose hash is not its name. A reader belongs to one thread.

A pack may be removed while it is read, by `prune`: what is needed of it lies in another pack by
then. A reader that finds its pack gone lets the index be brought up to date and looks again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from backupd.errors import RepositoryDamaged
from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.frames import FrameDamaged, Prefix, checksum, decode
from backupd.store.index import Frame, Place
from backupd.store.naming import FRAME_NAME_SIZE, ID_SIZE
from backupd.store.packs import frame_context

CACHE_BYTES = 16 << 20
MAX_DEPTH = 64
_OPEN_PACKS = 32
_LOOKS = 3
_PLACES = 1 << 14


class _Missing(RepositoryDamaged):
    """Something is in no pack, or the pack in which it lay is no longer there."""


class FrameCache:
    """Decoded frames, the least recently used dropped first; holds at most `limit` bytes.

    Readers of several threads may share one.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._frames: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._base = Prefix(b"")

    def base(self, data: bytes) -> Prefix:
        """Return the prefix that a whole frame of this cache is; the last one is kept."""
        base = self._base
        if base.data is not data:
            base = self._base = Prefix(data)
        return base

    def get(self, key: tuple[Path, int]) -> bytes | None:
        """Return a frame's bytes if they are still here."""
        with self._lock:
            data = self._frames.get(key)
            if data is not None:
                self._frames.move_to_end(key)
            return data

    def put(self, key: tuple[Path, int], data: bytes) -> None:
        """Keep a frame's bytes; one larger than the whole cache is kept alone."""
        with self._lock:
            if key in self._frames:
                return
            self._frames[key] = data
            self._size += len(data)
            while self._size > self._limit and len(self._frames) > 1:
                self._size -= len(self._frames.popitem(last=False)[1])


class ObjectReader:
    """Reads objects through `locate` (object id) and `frame_named` (frame name)."""

    def __init__(
        self,
        locate: Callable[[bytes], Place | None],
        frame_named: Callable[[bytes], Frame | None],
        envelope: Envelope,
        cache: FrameCache | None = None,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self._locate = locate
        self._frame_named = frame_named
        self._envelope = envelope
        self._cache = cache or FrameCache()
        self._refresh = refresh
        self._descriptors: OrderedDict[Path, int] = OrderedDict()
        self._places: dict[bytes, Place] = {}

    def close(self) -> None:
        """Close the pack files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __enter__(self) -> ObjectReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, wanted: bytes) -> bytes:
        """Return an object's bytes.

        Raises:
            RepositoryDamaged: the object is missing, or its bytes are not those of its name.
        """
        for _ in range(_LOOKS if self._refresh else 0):
            try:
                return self._read(wanted, 0)
            except _Missing:
                self._look_again()
        return self._read(wanted, 0)

    def prefix(self, names: tuple[bytes, ...]) -> bytes:
        """Return the bytes that the objects and frames of a prefix make together."""
        return self._prefix(names, 0)

    def frame(self, frame: Frame) -> bytes:
        """Return a frame's decoded bytes.

        Raises:
            RepositoryDamaged: the pack does not hold what was written.
        """
        return self._frame(frame, 0)

    def _look_again(self) -> None:
        self._places.clear()
        if self._refresh is not None:
            self._refresh()

    def verify(self, frame: Frame) -> bytes:
        """Return a frame's payload, which its checksum covers, without decoding it.

        Raises:
            RepositoryDamaged: the pack does not hold what was written.
        """
        payload = self._payload(frame)
        if checksum(payload) != frame.checksum:
            raise _damaged(frame, "its checksum does not match")
        return payload

    def _read(self, wanted: bytes, depth: int) -> bytes:
        known = self._places.get(wanted)
        place = known or self._locate(wanted)
        if place is None:
            raise _Missing(f"read object {wanted.hex()}: it is in no pack", _HINT)
        data = self._frame(place.frame, depth)[place.offset : place.offset + place.length]
        if self._envelope.object_id(data) != wanted:
            raise _damaged(place.frame, f"object {wanted.hex()} has other bytes")
        if known is None:  # only where the object was found sound
            self._remember(wanted, place)
        return data

    def _remember(self, wanted: bytes, place: Place) -> None:
        """Keep where an object lies: most are read twice or more, and the index is slower."""
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[wanted] = place

    def _prefix(self, names: tuple[bytes, ...], depth: int) -> bytes:
        return b"".join(self._part(name, depth) for name in names)

    def _before(self, names: tuple[bytes, ...], depth: int) -> Prefix:
        """Return what a frame was compressed against; a whole frame is likely to be so again."""
        if len(names) == 1 and len(names[0]) == FRAME_NAME_SIZE:
            return self._cache.base(self._part(names[0], depth))
        return Prefix(self._prefix(names, depth))

    def _part(self, name: bytes, depth: int) -> bytes:
        if len(name) == ID_SIZE:
            return self._read(name, depth)
        frame = self._frame_named(name)
        if frame is None:
            raise _Missing(f"read frame {name.hex()}: it is in no pack", _HINT)
        return self._frame(frame, depth)

    def _frame(self, frame: Frame, depth: int) -> bytes:
        key = (frame.pack, frame.offset)
        data = self._cache.get(key)
        if data is not None:
            return data
        if depth > MAX_DEPTH:
            raise _damaged(frame, "its prefixes never end")
        payload = self.verify(frame)
        context = frame_context(frame.name, frame.kind, frame.codec, frame.prefix)
        try:
            payload = self._envelope.unseal(Purpose.FRAME, context, payload)
            prefix = self._before(frame.prefix, depth + 1)
            data = decode(frame.codec, payload, prefix, frame.raw_length)
        except (Forged, FrameDamaged) as error:
            raise _damaged(frame, str(error)) from error
        self._cache.put(key, data)
        return data

    def _payload(self, frame: Frame) -> bytes:
        try:
            return os.pread(self._descriptor(frame.pack), frame.length, frame.offset)
        except FileNotFoundError as error:
            raise _Missing(_damaged(frame, "there is no such pack").message, _HINT) from error
        except OSError as error:
            raise _damaged(frame, error.strerror or str(error)) from error

    def _descriptor(self, pack: Path) -> int:
        found = self._descriptors.get(pack)
        if found is not None:
            self._descriptors.move_to_end(pack)
            return found
        descriptor = os.open(pack, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._descriptors[pack] = descriptor
        if len(self._descriptors) > _OPEN_PACKS:
            os.close(self._descriptors.popitem(last=False)[1])
        return descriptor


_HINT = "run check --read-data; snapshots that do not need it still restore"


def _damaged(frame: Frame, cause: str) -> RepositoryDamaged:
    return RepositoryDamaged(f'read pack "{frame.pack.name}" at {frame.offset}: {cause}', _HINT)
