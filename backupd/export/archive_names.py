"""Member names: decoding, and the rules that keep them harmless and unmistakable.

Names are never used as paths here; the rules make sure that nobody who does use them can be led
outside a directory or shown two members under one name.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zlib
from itertools import pairwise

from backupd.export.archive_records import (
    FLAG_UTF8,
    UNICODE_PATH_EXTRA,
    Header,
    extra_fields,
)
from backupd.export.archive_rules import ArchiveLimits, ArchiveRefused, Rule

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_SEPARATOR = re.compile(r"[/\\]+")
_ALLOWED_TYPES = frozenset((0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO))


def member_name(header: Header, limits: ArchiveLimits, where: str) -> str:
    """Return the one name a directory entry tells, after every rule on names.

    A header without the UTF-8 flag is read as UTF-8 if it is (macOS writes it so) and else as code
    page 437, as the format says.
    """
    name = _decode(header, where)
    _check(name, limits, where)
    told = _unicode_path(header, where)
    if told is None or told == name:
        return name
    _check(told, limits, where)
    if header.name.isascii() and not any(mark in name for mark in ("?", "#U", "#L", "_")):
        raise ArchiveRefused(Rule.NAME_AMBIGUOUS, f"{where} has two different names")
    return told


def check_local_name(local: Header, name: str, where: str) -> None:
    """Refuse a local header whose Unicode path field tells another name than the directory."""
    told = _unicode_path(local, where)
    if told is not None and told != name:
        raise ArchiveRefused(Rule.NAME_AMBIGUOUS, f"{where} has two different names")


def check_type(header: Header, name: str, where: str) -> None:
    """Refuse links, devices and directories that hold data.

    A FIFO type is let through: it is what `zip` records for data that it read from a pipe.
    """
    if stat.S_IFMT(header.mode) not in _ALLOWED_TYPES:
        raise ArchiveRefused(Rule.FILE_TYPE, f"{where} is a link or a device")
    if name.endswith("/") and header.size:
        raise ArchiveRefused(Rule.FILE_TYPE, f"{where} is a directory that holds data")


def check_unique(names: list[str]) -> None:
    """Refuse two names that one file system could take for the same, or a file used as directory.

    Sorting by components puts a file directly before what claims to be inside it, so one pass over
    neighbours finds both.
    """
    keys = sorted((_key(name), name.endswith(("/", "\\"))) for name in names)
    for (key, is_directory), (following, _) in pairwise(keys):
        if key == following:
            raise ArchiveRefused(Rule.DUPLICATE, "two members have the same name")
        if not is_directory and following.startswith(key + "\0"):
            raise ArchiveRefused(Rule.NAME_CONFLICT, "a member's name is also a directory's")


def _key(name: str) -> str:
    """Fold a name so that equal keys mean the same file; NUL separates, as it sorts first."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return "\0".join(part for part in _SEPARATOR.split(folded) if part not in ("", "."))


def _decode(header: Header, where: str) -> str:
    try:
        return header.name.decode("utf-8")
    except UnicodeDecodeError as error:
        if header.flags & FLAG_UTF8:
            raise ArchiveRefused(
                Rule.NAME_ENCODING, f"{where} has a name that is not UTF-8"
            ) from error
        return header.name.decode("cp437")


def _unicode_path(header: Header, where: str) -> str | None:
    """Return the name of an Info-ZIP Unicode path field, if it belongs to this header's name."""
    field = extra_fields(header.extra).get(UNICODE_PATH_EXTRA)
    if field is None or len(field) < 5:
        return None
    version, crc32 = struct.unpack_from("<BI", field)
    if version != 1 or crc32 != zlib.crc32(header.name):
        return None
    try:
        return field[5:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArchiveRefused(
            Rule.NAME_ENCODING, f"{where} has a Unicode name that is not UTF-8"
        ) from error


def _check(name: str, limits: ArchiveLimits, where: str) -> None:
    if not name or len(name) > limits.max_name or _CONTROL.search(name):
        raise ArchiveRefused(Rule.NAME, f"{where} has an empty, overlong or control-character name")
    parts = _SEPARATOR.split(name)
    if parts[0] == "" or _DRIVE.match(name) or ".." in parts:
        raise ArchiveRefused(Rule.NAME_PATH, f"{where} has a name that leads elsewhere")
