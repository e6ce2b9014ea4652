"""Decide whether a file is a ZIP that can be read in one way only, and where its members are.

The scan trusts nothing: the central directory must end where the end record says, begin where the
last member ends, and every byte before it must belong to exactly one member. Two readers that both
accept such a file see the same members. Only `seek` and `read` are used; memory is bounded by
`ArchiveLimits.max_members`, time by one pass over the directory and one read per local header.

What the scan does not do: inflate. Sizes and CRCs are proved by `read_member` and `verify`.
An archive inside an archive is scanned by the same function on a file of its own.
Read first: `archive_rules.Rule`, then `scan`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import BinaryIO

from backupd.export import archive_records as records
from backupd.export.archive_end import check_end, find_end, looks_complete
from backupd.export.archive_members import (
    CHUNK,
    DEFLATED,
    STORED,
    Archive,
    Member,
    check_ratio,
    read_member,
    read_range,
    read_raw,
    verify,
)
from backupd.export.archive_names import (
    check_local_name,
    check_type,
    check_unique,
    member_name,
)
from backupd.export.archive_records import EndRecord, Header
from backupd.export.archive_rules import DEFAULT, ArchiveLimits, ArchiveRefused, Rule

__all__ = [
    "CHUNK",
    "DEFAULT",
    "DEFLATED",
    "STORED",
    "Archive",
    "ArchiveLimits",
    "ArchiveRefused",
    "Member",
    "Rule",
    "looks_complete",
    "read_member",
    "read_range",
    "read_raw",
    "scan",
    "verify",
]

_BAD_FLAGS = records.FLAG_ENCRYPTED | records.FLAG_STRONG | records.FLAG_MASKED
_COMPARED_FLAGS = _BAD_FLAGS | records.FLAG_DESCRIPTOR | records.FLAG_PATCH


def scan(file: BinaryIO, limits: ArchiveLimits = DEFAULT) -> Archive:
    """Return the members of a ZIP, or refuse it by the name of the first rule it breaks.

    Raises:
        ArchiveRefused: see `Rule`; nothing else, whatever the bytes are.
        OSError: the file could not be read.
    """
    end, size = find_end(file)
    check_end(end, limits)
    entries = sorted(_read_directory(file, end, limits), key=attrgetter("offset"))
    members = tuple(_follow(file, entries, end.directory_offset))
    for member in members:
        check_ratio(member, limits)
    if sum(member.size for member in members) > limits.max_total:
        raise ArchiveRefused(Rule.TOO_BIG, "the members declare more than may be unpacked")
    check_unique([member.name for member in members])
    return Archive(size, members)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory entry: the name it tells, and its header without the parts no longer needed."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    dos_time: int
    crc32: int
    compressed_size: int
    size: int
    offset: int


class _Directory:
    """The bytes of the central directory, taken in order."""

    def __init__(self, file: BinaryIO, end: EndRecord) -> None:
        self._source = read_range(file, end.directory_offset, end.position)
        self._buffer = b""
        self._position = 0

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes; fewer only at the end of the directory."""
        while len(self._buffer) - self._position < length:
            chunk = next(self._source, b"")
            if not chunk:
                break
            self._buffer = self._buffer[self._position :] + chunk
            self._position = 0
        start, self._position = self._position, min(self._position + length, len(self._buffer))
        return self._buffer[start : self._position]


def _read_directory(file: BinaryIO, end: EndRecord, limits: ArchiveLimits) -> Iterator[_Entry]:
    """Yield the directory's entries; they must fill it exactly and be as many as counted."""
    directory = _Directory(file, end)
    for number in range(1, end.count + 1):
        fixed = directory.take(records.CENTRAL_SIZE)
        prefix = records.parse_central(fixed)
        rest = directory.take(prefix.name_length + prefix.extra_length + prefix.comment_length)
        if len(rest) < prefix.name_length + prefix.extra_length + prefix.comment_length:
            raise ArchiveRefused(Rule.COUNT, f"the directory ends in member {number}")
        name = rest[: prefix.name_length]
        extra = rest[prefix.name_length : prefix.name_length + prefix.extra_length]
        header = records.resolve_central(prefix, name, extra)
        yield _accept(header, f"member {number}", limits)
    if directory.take(1):
        raise ArchiveRefused(Rule.COUNT, "the directory holds more than the counted members")


def _accept(header: Header, where: str, limits: ArchiveLimits) -> _Entry:
    """Apply the rules that a directory entry must keep by itself."""
    if header.flags & _BAD_FLAGS:
        raise ArchiveRefused(Rule.ENCRYPTED, f"{where} is encrypted")
    if header.flags & records.FLAG_PATCH:
        raise ArchiveRefused(Rule.FLAGS, f"{where} is patch data")
    if header.method not in (STORED, DEFLATED):
        raise ArchiveRefused(Rule.METHOD, f"{where} uses method {header.method}")
    if header.method == STORED and header.size != header.compressed_size:
        raise ArchiveRefused(Rule.SIZE, f"{where} is stored with two different sizes")
    if header.disk:
        raise ArchiveRefused(Rule.MULTI_DISK, f"{where} is on another disk")
    name = member_name(header, limits, where)
    check_type(header, name, where)
    return _Entry(
        name, header.name, header.flags, header.method, header.dos_time, header.crc32,
        header.compressed_size, header.size, header.offset,
    )  # fmt: skip


def _follow(file: BinaryIO, entries: list[_Entry], directory: int) -> Iterator[Member]:
    """Walk the local headers in file order; each member must begin where the one before ends."""
    if entries[0].offset:
        raise ArchiveRefused(Rule.PREPENDED_DATA, "the first member is not at the start")
    nexts = [entry.offset for entry in entries[1:]]
    for entry, following in zip(entries, [*nexts, directory], strict=True):
        data_offset = _compare_local(file, entry, directory)
        data_end = data_offset + entry.compressed_size
        if data_end > following:
            raise ArchiveRefused(Rule.OVERLAP, f"the member at {entry.offset} overlaps the next")
        _check_between(file, entry, data_end, following - data_end)
        yield Member(
            entry.name, entry.method, entry.crc32, entry.compressed_size, entry.size,
            entry.offset, data_offset, entry.dos_time,
        )  # fmt: skip


def _compare_local(file: BinaryIO, entry: _Entry, directory: int) -> int:
    """Compare an entry with its local header and return the offset of the data."""
    where = f"the member at {entry.offset}"
    file.seek(min(entry.offset, directory))
    fixed = file.read(records.LOCAL_SIZE)
    if len(fixed) < records.LOCAL_SIZE or fixed[:4] != records.LOCAL_SIGNATURE:
        raise ArchiveRefused(Rule.LOCAL_HEADER, f"no local header for {where}")
    variable = file.read(sum(records.local_lengths(fixed)))
    if len(variable) < sum(records.local_lengths(fixed)):
        raise ArchiveRefused(Rule.LOCAL_HEADER, f"the local header of {where} is cut short")
    local = records.parse_local(fixed + variable)
    if (local.flags ^ entry.flags) & _COMPARED_FLAGS:
        raise ArchiveRefused(Rule.FLAGS, f"{where} has two different sets of flags")
    if local.name != entry.raw_name or local.method != entry.method:
        raise ArchiveRefused(Rule.LOCAL_DIFFERS, f"{where} has two different headers")
    if (local.flags ^ entry.flags) & records.FLAG_UTF8 and not entry.raw_name.isascii():
        raise ArchiveRefused(Rule.NAME_AMBIGUOUS, f"{where} has a name in two encodings")
    check_local_name(local, entry.name, where)
    _compare_sizes(local, entry, where)
    return entry.offset + records.LOCAL_SIZE + len(variable)


def _compare_sizes(local: Header, entry: _Entry, where: str) -> None:
    """CRC and sizes must agree; with a data descriptor the local ones may be zero or marked."""
    pairs = (
        (local.crc32, entry.crc32),
        (local.compressed_size, entry.compressed_size),
        (local.size, entry.size),
    )
    for here, there in pairs:
        unknown = local.flags & records.FLAG_DESCRIPTOR and here in (0, records.ABSENT32)
        if here != there and not unknown:
            raise ArchiveRefused(Rule.LOCAL_DIFFERS, f"{where} has two different sizes or CRCs")


def _check_between(file: BinaryIO, entry: _Entry, start: int, length: int) -> None:
    """Between two members there may be a data descriptor, where one is announced, and no more.

    The four forms (with or without signature, 32 or 64-bit sizes) differ in length, so that the
    distance to the next member tells which one it must be.
    """
    where = f"the member at {entry.offset}"
    if not entry.flags & records.FLAG_DESCRIPTOR:
        if length:
            raise ArchiveRefused(Rule.GAP, f"{length} bytes after {where} belong to no member")
        return
    file.seek(start)
    found = file.read(length) if length <= records.MAX_DESCRIPTOR else b""
    if not found or found not in records.descriptors(
        entry.crc32, entry.compressed_size, entry.size
    ):
        raise ArchiveRefused(Rule.DESCRIPTOR, f"no valid data descriptor after {where}")
