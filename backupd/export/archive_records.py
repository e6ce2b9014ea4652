"""The fixed-size records of a ZIP file, read field by field.

Pure parsing: bytes in, values out; nothing here seeks, and nothing here decides whether two
records agree. Every function raises `ArchiveRefused` when a record cannot be read in one way only.
Source: APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from backupd.export.archive_rules import ArchiveRefused, Rule

LOCAL_SIGNATURE = b"PK\x03\x04"
CENTRAL_SIGNATURE = b"PK\x01\x02"
END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR_SIGNATURE = b"PK\x06\x07"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"

END_SIZE = 22
LOCATOR_SIZE = 20
END64_SIZE = 56
LOCAL_SIZE = 30
CENTRAL_SIZE = 46
MAX_COMMENT = 0xFFFF
MAX_DESCRIPTOR = 24

ABSENT16 = 0xFFFF
ABSENT32 = 0xFFFFFFFF

FLAG_ENCRYPTED = 0x0001
FLAG_DESCRIPTOR = 0x0008
FLAG_PATCH = 0x0020
FLAG_STRONG = 0x0040
FLAG_UTF8 = 0x0800
FLAG_MASKED = 0x2000

ZIP64_EXTRA = 0x0001
UNICODE_PATH_EXTRA = 0x7075

_END = struct.Struct("<4sHHHHIIH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")


@dataclass(frozen=True, slots=True)
class EndRecord:
    """Where the central directory is, as the end of the file tells it.

    `position` is where the directory must end: the 64-bit end record if there is one, else the
    32-bit one. `elsewhere` says that the disk's number stands in the 64-bit record only.
    """

    position: int
    count: int
    directory_offset: int
    directory_size: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """One member as one of its two headers tells it, 64-bit fields resolved.

    `offset` and `mode` are zero and `disk` is zero in a local header. `zip64_sizes` says that the
    sizes came from a 64-bit field.
    """

    name: bytes
    extra: bytes
    flags: int
    method: int
    dos_time: int
    crc32: int
    compressed_size: int
    size: int
    offset: int
    disk: int
    mode: int


@dataclass(frozen=True, slots=True)
class CentralPrefix:
    """The fixed part of a directory entry and the lengths of the three parts that follow."""

    flags: int
    method: int
    dos_time: int
    crc32: int
    compressed_size: int
    size: int
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    mode: int
    offset: int


def parse_end(record: bytes, position: int) -> EndRecord:
    """Read the 32-bit end record found at `position`; its fields may still be 64-bit markers."""
    _, disk, directory_disk, here, count, size, offset, _ = _END.unpack_from(record)
    if (disk, directory_disk) not in ((0, 0), (ABSENT16, ABSENT16), (0, ABSENT16), (ABSENT16, 0)):
        raise ArchiveRefused(Rule.MULTI_DISK, "the archive spans several disks")
    if here != count:
        raise ArchiveRefused(Rule.MULTI_DISK, "the end record counts members of other disks")
    return EndRecord(position, count, offset, size, ABSENT16 in (disk, directory_disk))


def parse_locator(record: bytes) -> int:
    """Return the offset of the 64-bit end record that a locator names."""
    _, disk, offset, disks = _LOCATOR.unpack(record)
    if disk != 0 or disks > 1:
        raise ArchiveRefused(Rule.MULTI_DISK, "the 64-bit locator names another disk")
    return int(offset)


def parse_end64(record: bytes, position: int, locator: int) -> EndRecord:
    """Read the 64-bit end record at `position`, which must reach exactly to its `locator`."""
    if len(record) < END64_SIZE or record[:4] != END64_SIGNATURE:
        raise ArchiveRefused(Rule.ZIP64, "no 64-bit end record where the locator points")
    _, length, _, _, disk, directory_disk, here, count, size, offset = _END64.unpack(record)
    if disk or directory_disk or here != count:
        raise ArchiveRefused(Rule.MULTI_DISK, "the 64-bit end record names another disk")
    if position + 12 + length != locator:
        raise ArchiveRefused(Rule.ZIP64, "the 64-bit end record does not reach its locator")
    return EndRecord(position, count, offset, size)


def reconcile(end: EndRecord, end64: EndRecord) -> EndRecord:
    """Return the 64-bit record if every 32-bit field is a marker or tells the same."""
    pairs = (
        (end.count, ABSENT16, end64.count),
        (end.directory_size, ABSENT32, end64.directory_size),
        (end.directory_offset, ABSENT32, end64.directory_offset),
    )
    if any(small not in (marker, large) for small, marker, large in pairs):
        raise ArchiveRefused(Rule.ZIP64, "the 32-bit and 64-bit end records disagree")
    return end64


def parse_central(fixed: bytes) -> CentralPrefix:
    """Read the fixed part of a directory entry."""
    if len(fixed) < CENTRAL_SIZE or fixed[:4] != CENTRAL_SIGNATURE:
        raise ArchiveRefused(Rule.COUNT, "the directory ends before its last member")
    (
        _, _, _, flags, method, clock, date, crc32, compressed, size,
        name_length, extra_length, comment_length, disk, _, attributes, offset,
    ) = _CENTRAL.unpack(fixed)  # fmt: skip
    return CentralPrefix(
        flags, method, date << 16 | clock, crc32, compressed, size,
        name_length, extra_length, comment_length, disk, attributes >> 16, offset,
    )  # fmt: skip


def resolve_central(prefix: CentralPrefix, name: bytes, extra: bytes) -> Header:
    """Put the 64-bit fields of a directory entry in the place of their markers."""
    wide = extra_fields(extra).get(ZIP64_EXTRA)
    size, compressed, offset, disk = resolve(
        wide,
        ((prefix.size, 8), (prefix.compressed_size, 8), (prefix.offset, 8), (prefix.disk, 4)),
    )
    return Header(
        name, extra, prefix.flags, prefix.method, prefix.dos_time, prefix.crc32,
        compressed, size, offset, disk, prefix.mode,
    )  # fmt: skip


def local_lengths(data: bytes) -> tuple[int, int]:
    """Return the lengths of name and extra field of the local header in `data`."""
    fields = _LOCAL.unpack_from(data)
    return fields[-2], fields[-1]


def parse_local(data: bytes) -> Header:
    """Read a whole local header, name and extra field included."""
    _, _, flags, method, clock, date, crc32, compressed, size, names, extras = _LOCAL.unpack_from(
        data
    )
    name = data[LOCAL_SIZE : LOCAL_SIZE + names]
    extra = data[LOCAL_SIZE + names : LOCAL_SIZE + names + extras]
    wide = extra_fields(extra).get(ZIP64_EXTRA)
    size, compressed = resolve(wide, ((size, 8), (compressed, 8)))
    return Header(name, extra, flags, method, date << 16 | clock, crc32, compressed, size, 0, 0, 0)


def descriptors(crc32: int, compressed_size: int, size: int) -> tuple[bytes, ...]:
    """Return every form that the data descriptor of a member may have."""
    forms = [struct.pack("<IQQ", crc32, compressed_size, size)]
    if max(compressed_size, size) <= ABSENT32:
        forms.append(struct.pack("<III", crc32, compressed_size, size))
    return (*forms, *(DESCRIPTOR_SIGNATURE + form for form in forms))


def extra_fields(extra: bytes) -> dict[int, bytes]:
    """Split an extra field by kind; up to three bytes of padding may follow the last one.

    A second 64-bit or Unicode-path field would let two readers choose differently: refused.
    """
    fields: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        position += 4
        if position + length > len(extra):
            if not any(extra[position - 4 :]):
                break  # zero padding, as alignment tools write it
            raise ArchiveRefused(Rule.EXTRA_FIELD, "an extra field runs past its end")
        if kind in fields and kind in (ZIP64_EXTRA, UNICODE_PATH_EXTRA):
            raise ArchiveRefused(Rule.EXTRA_FIELD, "an extra field is given twice")
        fields[kind] = extra[position : position + length]
        position += length
    return fields


def resolve(wide: bytes | None, fields: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Replace the markers among `fields`, each (value, width in bytes), by their 64-bit values.

    Accepted layouts: exactly the marked fields in order, or (as some writers always do) all of
    the first fields in order, in which case the unmarked ones must tell the same value.
    """
    markers = [value == (ABSENT32 if width == 8 else ABSENT16) for value, width in fields]
    if wide is None:
        return tuple(value for value, _ in fields)
    if len(wide) == sum(
        width for (_, width), marked in zip(fields, markers, strict=True) if marked
    ):
        chosen = markers
    else:
        chosen = _leading(wide, fields, markers)
    values: list[int] = []
    position = 0
    for (value, width), present, marked in zip(fields, chosen, markers, strict=True):
        if not present:
            values.append(value)
            continue
        large = int.from_bytes(wide[position : position + width], "little")
        position += width
        if not marked and large != value:
            raise ArchiveRefused(Rule.ZIP64_EXTRA, "a 64-bit field contradicts its 32-bit one")
        values.append(large)
    return tuple(values)


def _leading(wide: bytes, fields: tuple[tuple[int, int], ...], markers: list[bool]) -> list[bool]:
    """Say which fields a 64-bit extra field holds when it holds the first ones in full."""
    total = 0
    for index, (_, width) in enumerate(fields):
        total += width
        if total == len(wide) and not any(markers[index + 1 :]):
            return [position <= index for position in range(len(fields))]
    raise ArchiveRefused(Rule.ZIP64_EXTRA, "a 64-bit extra field has an impossible length")
