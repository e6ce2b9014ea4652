"""Pack files: many frames in one immutable file, named by the SHA-256 of its bytes (I3).

    magic       16 bytes
    frames      payloads, one after the other, no gaps
    directory   MessagePack array: [format, sequence, [frame, ...]]
    trailer     offset and length of the directory (u64 little endian each),
                SHA-256 of the directory, magic of the end (16 bytes)

A frame's entry: [kind, codec, offset, length, raw length, checksum, prefix, objects]; `prefix`
names the older bytes the frame was compressed against, each name either an object (16 bytes) or a
whole frame (12 bytes); an object's entry: [id, length, key]. Offsets are counted from the start of
the file. Each byte of a pack is covered by the magic, a checksum, or the trailer's own consistency.

In an encrypted repository payloads and directory are sealed each on its own; lengths and checksums
are those of the sealed bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec

from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.frames import CHECKSUM_SIZE, FrameDamaged, checksum, grow, shrink
from backupd.store.fsio import NewFile
from backupd.store.naming import FRAME_NAME_SIZE, ID_SIZE, KEY_SIZE, Kind, frame_name

FORMAT = 1
MAGIC = b"backupd pack 1\r\n"
END_MAGIC = b"backupd pack end"
_TRAILER = struct.Struct("<QQ32s16s")
_KINDS = frozenset(Kind)
_MAX_DIRECTORY = 256 << 20


class PackDamaged(Exception):
    """A pack's structure is not what was written; the text says where."""


class ObjectEntry(msgspec.Struct, frozen=True, array_like=True):
    """One object of a frame; `key` finds earlier versions of the same thing, or is empty."""

    id: bytes
    length: int
    key: bytes


class FrameEntry(msgspec.Struct, frozen=True, array_like=True):
    """One frame of a pack."""

    kind: int
    codec: int
    offset: int
    length: int
    raw_length: int
    checksum: bytes
    prefix: tuple[bytes, ...]
    objects: tuple[ObjectEntry, ...]


class Directory(msgspec.Struct, frozen=True, array_like=True):
    """What a pack holds; packs with a higher `sequence` were written later."""

    format: int
    sequence: int
    frames: tuple[FrameEntry, ...]


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A finished pack that waits in `path` to be put under its name."""

    path: Path
    digest: bytes
    size: int
    directory: Directory


class PackWriter:
    """Writes one pack into a new file."""

    def __init__(self, file: NewFile, sequence: int, envelope: Envelope) -> None:
        self._file = file
        self._sequence = sequence
        self._envelope = envelope
        self._frames: list[FrameEntry] = []
        file.write(MAGIC)

    @property
    def path(self) -> Path:
        """Where the pack is being written."""
        return self._file.path

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def add(
        self,
        kind: Kind,
        coded: tuple[int, bytes],
        prefix: tuple[bytes, ...],
        objects: tuple[ObjectEntry, ...],
    ) -> FrameEntry:
        """Append one frame given as (codec, payload)."""
        codec, data = coded
        context = frame_context(frame_name(item.id for item in objects), kind, codec, prefix)
        payload = self._envelope.seal(Purpose.FRAME, context, data)
        entry = FrameEntry(
            kind=int(kind),
            codec=codec,
            offset=self._file.size,
            length=len(payload),
            raw_length=sum(item.length for item in objects),
            checksum=checksum(payload),
            prefix=prefix,
            objects=objects,
        )
        self._file.write(payload)
        self._frames.append(entry)
        return entry

    def seal(self) -> SealedPack:
        """Write directory and trailer and make the file durable."""
        directory = Directory(FORMAT, self._sequence, tuple(self._frames))
        plain = shrink(msgspec.msgpack.encode(directory))
        data = self._envelope.seal(Purpose.DIRECTORY, b"", plain)
        offset = self._file.size
        self._file.write(data)
        digest = hashlib.sha256(data).digest()
        self._file.write(_TRAILER.pack(offset, len(data), digest, END_MAGIC))
        return SealedPack(self._file.path, self._file.seal(), self._file.size, directory)


def frame_context(name: bytes, kind: int, codec: int, prefix: tuple[bytes, ...]) -> bytes:
    """Return what a sealed payload stands for: it opens as no other frame, kind or codec."""
    return msgspec.msgpack.encode((name, int(kind), int(codec), prefix))


def read_directory(path: Path, envelope: Envelope) -> tuple[Directory, int]:
    """Read and verify a pack's directory; return it with the pack's size.

    Raises:
        PackDamaged: the file is not a whole pack.
        OSError: the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(MAGIC) + _TRAILER.size:
            raise PackDamaged("too short to be a pack")
        if file.read(len(MAGIC)) != MAGIC:
            raise PackDamaged("does not begin as a pack")
        file.seek(size - _TRAILER.size)
        offset, length, digest, end = _TRAILER.unpack(file.read(_TRAILER.size))
        if end != END_MAGIC or offset + length + _TRAILER.size != size:
            raise PackDamaged("its trailer is wrong")
        file.seek(offset)
        data = file.read(length)
    if hashlib.sha256(data).digest() != digest:
        raise PackDamaged("its directory does not match its checksum")
    try:
        return _checked(envelope.unseal(Purpose.DIRECTORY, b"", data), offset), size
    except Forged as error:
        raise PackDamaged(f"its directory: {error}") from error


def _checked(data: bytes, end: int) -> Directory:
    try:
        directory = msgspec.msgpack.decode(grow(data, _MAX_DIRECTORY), type=Directory)
    except (FrameDamaged, msgspec.MsgspecError) as error:
        raise PackDamaged("its directory cannot be read") from error
    if directory.format != FORMAT:
        raise PackDamaged(f"format {directory.format} is not known")
    position = len(MAGIC)
    for frame in directory.frames:
        if frame.offset != position or not _plausible(frame):
            raise PackDamaged(f"the entry of the frame at {position} is wrong")
        position += frame.length
    if position != end:
        raise PackDamaged("bytes that no frame owns")
    return directory


def _plausible(frame: FrameEntry) -> bool:
    return (
        frame.kind in _KINDS
        and frame.length >= 0
        and len(frame.checksum) == CHECKSUM_SIZE
        and all(len(name) in (ID_SIZE, FRAME_NAME_SIZE) for name in frame.prefix)
        and all(len(o.id) == ID_SIZE and len(o.key) in (0, KEY_SIZE) for o in frame.objects)
        and sum(o.length for o in frame.objects) == frame.raw_length
    )
