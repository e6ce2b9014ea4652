"""Find the end of a ZIP file and what it says about the central directory.

The end record must be the last thing in the file and the only one that can be read there; with a
64-bit locator in front of it, the 64-bit record counts and both must agree.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from backupd.export import archive_records as records
from backupd.export.archive_records import EndRecord
from backupd.export.archive_rules import DEFAULT, ArchiveLimits, ArchiveRefused, Rule


def looks_complete(file: BinaryIO) -> None:
    """Check cheaply that a file begins as a ZIP and ends as one, before it is read in full.

    Raises:
        ArchiveRefused: no local header at 0, no end record at the end, or a directory that would
            not fit between them.
    """
    end, _ = find_end(file)
    check_end(end, DEFAULT)
    file.seek(end.directory_offset)
    if file.read(4) != records.CENTRAL_SIGNATURE:
        raise ArchiveRefused(Rule.DIRECTORY, "no directory where the end record points")


def find_end(file: BinaryIO) -> tuple[EndRecord, int]:
    """Return the end record, 64-bit if there is one, and the size of the file.

    Raises:
        ArchiveRefused: no ZIP at the start, or an end that is missing, not last, or ambiguous.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    first = file.read(4)
    if first != records.LOCAL_SIGNATURE:
        rule = Rule.EMPTY if first == records.END_SIGNATURE else Rule.NOT_A_ZIP
        raise ArchiveRefused(rule, "no member at the start of the file")
    start = max(0, size - records.END_SIZE - records.MAX_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    index = _locate_end(tail)
    end = records.parse_end(tail[index:], start + index)
    return _widen(file, end), size


def _locate_end(tail: bytes) -> int:
    """Return where in the last 64 KiB the end record begins: it must end exactly at the end."""
    last = tail.rfind(records.END_SIGNATURE)
    if last < 0:
        raise ArchiveRefused(Rule.TRUNCATED, "no end record in the last 64 KiB")
    fitting = []
    index = last
    while index >= 0:
        if index + records.END_SIZE + _comment_length(tail, index) == len(tail):
            fitting.append(index)
        index = tail.rfind(records.END_SIGNATURE, 0, index)
    if not fitting:
        short = len(tail) - last < records.END_SIZE + _comment_length(tail, last)
        rule = Rule.TRUNCATED if short else Rule.TRAILING_DATA
        raise ArchiveRefused(rule, "the end record does not end at the end of the file")
    if fitting != [last]:
        raise ArchiveRefused(Rule.END_AMBIGUOUS, "the end of the archive can be read in two ways")
    return last


def _comment_length(tail: bytes, index: int) -> int:
    """Return the comment length of the end record at `index`; too short a record has the most."""
    field = tail[index + records.END_SIZE - 2 : index + records.END_SIZE]
    return int.from_bytes(field, "little") if len(field) == 2 else records.MAX_COMMENT


def _widen(file: BinaryIO, end: EndRecord) -> EndRecord:
    """Follow the 64-bit locator in front of the end record, if there is one."""
    position = end.position - records.LOCATOR_SIZE
    file.seek(max(position, 0))
    locator = file.read(records.LOCATOR_SIZE)
    if position < 0 or locator[:4] != records.LOCATOR_SIGNATURE:
        if end.elsewhere:
            raise ArchiveRefused(Rule.MULTI_DISK, "the end record names a disk that is not there")
        return end
    offset = records.parse_locator(locator)
    if offset + records.END64_SIZE > position:
        raise ArchiveRefused(Rule.ZIP64, "the 64-bit locator points behind itself")
    file.seek(offset)
    end64 = records.parse_end64(file.read(records.END64_SIZE), offset, position)
    return records.reconcile(end, end64)


def check_end(end: EndRecord, limits: ArchiveLimits) -> None:
    """Refuse an end record whose counts and sizes cannot be true, before anything is read."""
    if end.count == 0:
        raise ArchiveRefused(Rule.EMPTY, "the archive has no members")
    if end.count > limits.max_members:
        raise ArchiveRefused(Rule.TOO_MANY, f"the archive claims {end.count} members")
    if end.directory_size > limits.max_directory:
        raise ArchiveRefused(Rule.DIRECTORY_TOO_BIG, f"a directory of {end.directory_size} bytes")
    if end.directory_offset + end.directory_size != end.position:
        raise ArchiveRefused(Rule.DIRECTORY, "the directory does not reach the end record")
    if end.count * records.CENTRAL_SIZE > end.directory_size:
        raise ArchiveRefused(Rule.COUNT, "the directory is too small for its members")
