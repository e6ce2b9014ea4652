"""Writes ZIP files as Python's `writestr` does, or with ZIP64 records and descriptors.

The plain shape is that of real exports of 2023: deflate at level 6, no flags, no extra fields,
versions 2.0, mode 0600, one time stamp for all entries, sizes known in the local header. The
deflating happens in a second thread while the caller makes the next piece, so that the two
processors of a small machine share the work.

Not a general ZIP writer: no encryption, no comments, no directories, and without `zip64` no member
may be 4 GiB or more. Source: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import queue
import struct
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import BinaryIO

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_FILL = 0xFFFFFFFF
_UTF8 = 0x800
_DESCRIPTOR = 0x08
_DEFLATE, _STORE = 8, 0
_PIECE = 1 << 18
_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Shape:
    """How the ZIP is written; `zip64` writes 64-bit records even where 32 bits would do."""

    zip64: bool = False
    data_descriptors: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


class ZipWriter:
    """Writes members one after another to a seekable file; leaving the context ends the ZIP."""

    def __init__(self, file: BinaryIO, moment: datetime, shape: Shape | None = None) -> None:
        self._file = file
        self._shape = shape or Shape()
        self._date = (moment.year - 1980) << 9 | moment.month << 5 | moment.day
        self._time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        self._entries: list[_Entry] = []

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, name: str, pieces: Iterable[bytes], *, stored: bool = False) -> int:
        """Write one member from its pieces and return its size."""
        encoded = name.encode()
        flags = 0 if name.isascii() else _UTF8
        if self._shape.data_descriptors:
            flags |= _DESCRIPTOR
        method = _STORE if stored else _DEFLATE
        offset = self._file.tell()
        self._file.write(self._local(_Entry(encoded, flags, method, 0, 0, 0, offset)))
        packer = _Packer(self._file, stored=stored)
        packer.run(pieces)
        entry = _Entry(encoded, flags, method, packer.crc, packer.packed, packer.size, offset)
        if self._shape.data_descriptors:
            self._file.write(self._descriptor(entry))
        else:
            end = self._file.tell()
            self._file.seek(offset)
            self._file.write(self._local(entry))
            self._file.seek(end)
        self._entries.append(entry)
        return entry.size

    def _local(self, entry: _Entry) -> bytes:
        described = entry.flags & _DESCRIPTOR
        crc, packed, size = (0, 0, 0) if described else (entry.crc, entry.packed, entry.size)
        extra = b""
        if self._shape.zip64:
            extra = struct.pack("<2H2Q", 1, 16, size, packed)
            packed = size = _FILL
        version = 45 if self._shape.zip64 else 20
        head = _LOCAL.pack(
            b"PK\3\4", version, entry.flags, entry.method, self._time, self._date,
            crc, packed, size, len(entry.name), len(extra),
        )  # fmt: skip
        return head + entry.name + extra

    def _descriptor(self, entry: _Entry) -> bytes:
        layout = "<4sL2Q" if self._shape.zip64 else "<4s3L"
        return struct.pack(layout, b"PK\7\10", entry.crc, entry.packed, entry.size)

    def _central(self, entry: _Entry) -> bytes:
        extra = b""
        packed, size, offset = entry.packed, entry.size, entry.offset
        if self._shape.zip64:
            extra = struct.pack("<2H3Q", 1, 24, size, packed, offset)
            packed = size = offset = _FILL
        version = 45 if self._shape.zip64 else 20
        head = _CENTRAL.pack(
            b"PK\1\2", version, 3, version, 0, entry.flags, entry.method, self._time, self._date,
            entry.crc, packed, size, len(entry.name), len(extra), 0, 0, 0, 0o600 << 16, offset,
        )  # fmt: skip
        return head + entry.name + extra

    def _finish(self) -> None:
        start = self._file.tell()
        for entry in self._entries:
            self._file.write(self._central(entry))
        length, count = self._file.tell() - start, len(self._entries)
        if self._shape.zip64:
            at = start + length
            self._file.write(
                _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
                + _LOCATOR.pack(b"PK\6\7", 0, at, 1)
            )
            count, length, start = 0xFFFF, _FILL, _FILL
        self._file.write(_END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0))


class _Packer:
    """Deflates pieces in a thread of its own and writes the stream; counts on the way."""

    def __init__(self, file: BinaryIO, *, stored: bool) -> None:
        self._file = file
        self._deflate = None if stored else zlib.compressobj(6, zlib.DEFLATED, -15, 8)
        self._queue: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._error: Exception | None = None
        self.crc = self.size = self.packed = 0

    def run(self, pieces: Iterable[bytes]) -> None:
        """Take all pieces; an error of the thread is raised here."""
        thread = threading.Thread(target=self._work, name="zip-packer")
        thread.start()
        try:
            for piece in _gathered(pieces):
                self._queue.put(piece)
        finally:
            self._queue.put(None)
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._error is None:
                self._guarded(piece)
        if self._error is None:
            self._guarded(None)

    def _guarded(self, piece: bytes | None) -> None:
        """Pack a piece, or with None end the stream; keep an error for the caller's thread."""
        try:
            if piece is not None:
                self._pack(piece)
            elif self._deflate is not None:
                self._write(self._deflate.flush())
        except (OSError, zlib.error) as error:
            self._error = error

    def _pack(self, piece: bytes) -> None:
        self.crc = zlib.crc32(piece, self.crc)
        self.size += len(piece)
        self._write(piece if self._deflate is None else self._deflate.compress(piece))

    def _write(self, data: bytes) -> None:
        self.packed += len(data)
        self._file.write(data)


def _gathered(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Join small pieces to about 256 KiB, and yield large ones as they come."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
