"""The rules an archive must keep, their stable names, and the bounds they are counted against.

A broken rule refuses the *interpretation* of the bytes, never the bytes: the caller keeps the file
as received. The names are part of notices and of the quarantine record, so they never change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from backupd.errors import BackupdError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Rule(StrEnum):
    """Stable names of the rules; the comment says what breaks one."""

    NOT_A_ZIP = "not-a-zip"  # no local header at offset 0
    PREPENDED_DATA = "prepended-data"  # the first member does not begin at offset 0
    TRUNCATED = "truncated"  # the file ends before something it promises
    TRAILING_DATA = "trailing-data"  # the end record is not the last thing in the file
    END_AMBIGUOUS = "end-ambiguous"  # two end records fit
    MULTI_DISK = "multi-disk"
    COUNT = "count"  # the end record and the directory disagree on the number of members
    TOO_MANY = "too-many-members"
    EMPTY = "empty"
    DIRECTORY = "directory"  # the central directory is not where, or as large as, it is said to be
    DIRECTORY_TOO_BIG = "directory-too-big"
    ZIP64 = "zip64"  # the 64-bit end record, its locator and the 32-bit one disagree
    ZIP64_EXTRA = "zip64-extra"  # a 64-bit extra field that can be read in two ways
    EXTRA_FIELD = "extra-field"
    ENCRYPTED = "encrypted"
    METHOD = "method"  # neither stored nor deflated
    FLAGS = "flags"  # directory and local header disagree, or patch data
    LOCAL_HEADER = "local-header"  # none where the directory says
    LOCAL_DIFFERS = "local-differs"  # name, method, size or CRC differ from the directory
    OVERLAP = "overlap"
    GAP = "gap"  # bytes between members that belong to none
    DESCRIPTOR = "descriptor"
    SIZE = "size"  # declared and real sizes differ
    CRC = "crc"
    DEFLATE = "deflate"  # the compressed stream is damaged or ends early or late
    RATIO = "ratio"
    TOO_BIG = "too-big"
    NAME = "name"  # empty, too long, or with control characters
    NAME_ENCODING = "name-encoding"
    NAME_PATH = "name-path"  # absolute, drive letter, or a step upwards
    NAME_AMBIGUOUS = "name-ambiguous"  # header and Unicode extra field tell different names
    DUPLICATE = "duplicate-name"  # equal after NFC and case folding
    NAME_CONFLICT = "name-conflict"  # one name is a file and also a directory
    FILE_TYPE = "file-type"  # link or device


class ArchiveRefused(BackupdError):
    """A file is not an archive that can be read in one way only.

    `rule` is the stable name of the broken rule; `detail` says where. It holds member numbers and
    offsets but no member names, which may be personal.
    """

    def __init__(self, rule: Rule, detail: str) -> None:
        super().__init__(
            f"read archive: {detail} ({rule})",
            "the file is kept as received; ask for a new export if the original is damaged",
        )
        self.rule: Rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Bounds on what an archive may claim and hold.

    `max_ratio` is checked for members beyond `ratio_from` bytes. `max_total` bounds the sum of the
    uncompressed sizes; callers lower it to what their disk can bear.
    """

    max_members: int = 250_000
    max_directory: int = 48 * MIB
    max_name: int = 4096
    max_total: int = 200 * GIB
    max_ratio: int = 300
    ratio_from: int = 10 * MIB


DEFAULT = ArchiveLimits()
