"""Reading the data of members that a scan has accepted, counted while inflating.

Every reader seeks before each read, so several may take turns on one file object in one thread;
for a second thread open the file a second time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from backupd.export.archive_rules import DEFAULT, KIB, ArchiveLimits, ArchiveRefused, Rule

STORED = 0
DEFLATED = 8
CHUNK = 256 * KIB


@dataclass(frozen=True, slots=True)
class Member:
    """One member: what both of its headers agree on, and where its data is.

    The data are the bytes [`data_offset`, `data_offset + compressed_size`) of the file. `dos_time`
    is the packed DOS date (high half) and time.
    """

    name: str
    method: int
    crc32: int
    compressed_size: int
    size: int
    header_offset: int
    data_offset: int
    dos_time: int

    @property
    def modified(self) -> tuple[int, int, int, int, int, int]:
        """Year, month, day, hour, minute, second as recorded; no zone, and not checked."""
        date, clock = self.dos_time >> 16, self.dos_time & 0xFFFF
        return (
            (date >> 9) + 1980, date >> 5 & 15, date & 31,
            clock >> 11, clock >> 5 & 63, (clock & 31) * 2,
        )  # fmt: skip

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory entry, which holds no data."""
        return self.name.endswith("/")

    @property
    def data_end(self) -> int:
        """Offset of the first byte after the data."""
        return self.data_offset + self.compressed_size


@dataclass(frozen=True, slots=True)
class Archive:
    """An accepted archive of `size` bytes: its members in the order of their data."""

    size: int
    members: tuple[Member, ...]

    def skeleton(self) -> Iterator[tuple[int, int]]:
        """Yield the (start, end) ranges of all bytes that are not member data, in order.

        Together with the members' data ranges they cover the file exactly once. Empty ranges are
        left out.
        """
        position = 0
        for member in self.members:
            if position < member.data_offset:
                yield position, member.data_offset
            position = member.data_end
        if position < self.size:
            yield position, self.size


def read_range(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes [start, end) of `file` in pieces of at most 256 KiB.

    Raises:
        ArchiveRefused: the file became shorter.
    """
    while start < end:
        file.seek(start)
        chunk = file.read(min(CHUNK, end - start))
        if not chunk:
            raise ArchiveRefused(Rule.TRUNCATED, f"the file ends at {start}")
        start += len(chunk)
        yield chunk


def read_raw(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield a member's data as it lies in the file, in pieces of at most 256 KiB."""
    return read_range(file, member.data_offset, member.data_end)


def read_member(file: BinaryIO, member: Member, limits: ArchiveLimits = DEFAULT) -> Iterator[bytes]:
    """Yield a member's content in pieces of at most 256 KiB; size and CRC are proved at the end.

    Never yields more than the declared size, nor more than `limits` allow.

    Raises:
        ArchiveRefused: the stream is damaged, or size, CRC or ratio are not as declared.
    """
    check_ratio(member, limits)
    source = read_raw(file, member)
    content = source if member.method == STORED else _inflate(source, member)
    crc32 = size = 0
    for chunk in content:
        size += len(chunk)
        if size > member.size:
            raise ArchiveRefused(Rule.SIZE, f"{_at(member)} holds more than it declares")
        crc32 = zlib.crc32(chunk, crc32)
        yield chunk
    if size != member.size:
        raise ArchiveRefused(Rule.SIZE, f"{_at(member)} holds {size} of {member.size} bytes")
    if crc32 != member.crc32:
        raise ArchiveRefused(Rule.CRC, f"{_at(member)} fails its CRC")


def check_ratio(member: Member, limits: ArchiveLimits) -> None:
    """Refuse a member that declares to grow beyond the allowed ratio when inflated."""
    if member.size > limits.ratio_from + limits.max_ratio * member.compressed_size:
        raise ArchiveRefused(Rule.RATIO, f"{_at(member)} declares an impossible ratio")
    if member.size > limits.max_total:
        raise ArchiveRefused(Rule.TOO_BIG, f"{_at(member)} declares {member.size} bytes")


def verify(file: BinaryIO, archive: Archive, limits: ArchiveLimits = DEFAULT) -> None:
    """Read every member to its end.

    Raises:
        ArchiveRefused: at the first member that is not as declared.
    """
    for member in archive.members:
        for _ in read_member(file, member, limits):
            pass


def _inflate(source: Iterator[bytes], member: Member) -> Iterator[bytes]:
    """Inflate exactly one raw deflate stream that must use up `source`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for compressed in source:
            if inflater.eof:
                raise ArchiveRefused(Rule.DEFLATE, f"{_at(member)} has data after its end")
            pending = compressed
            while pending:
                chunk = inflater.decompress(pending, CHUNK)
                pending = inflater.unconsumed_tail
                if chunk:
                    yield chunk
        while not inflater.eof and (chunk := inflater.decompress(b"", CHUNK)):
            yield chunk
    except zlib.error as error:
        raise ArchiveRefused(Rule.DEFLATE, f"{_at(member)} has a damaged stream") from error
    if inflater.unused_data:
        raise ArchiveRefused(Rule.DEFLATE, f"{_at(member)} has data after its end")
    if not inflater.eof:
        raise ArchiveRefused(Rule.DEFLATE, f"{_at(member)} ends before its stream does")


def _at(member: Member) -> str:
    return f"the member at {member.header_offset}"
