"""The table of hostile ZIP files: what each is called, the rule that refuses it, how to make it.

The groups follow what is known of ambiguous archives: redundant fields that disagree, names that
readers normalise differently, structures that can be found in more than one place, and data that
is not what the headers say. `SCANNED` are refused by the scan, `DATA` while they are read.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from backupd.export.archive import Rule
from tests.support import zips
from tests.support.zips import (
    DESCRIPTOR,
    MARK16,
    MARK32,
    STORED,
    TEXT,
    UTF8,
    End,
    Part,
    Record,
    build,
    deflate,
    described,
    extra,
    zip64_extra,
)

Case = tuple[Rule, Callable[[], bytes]]
DEFLATED_SIZE, SIZE, CRC = len(deflate(TEXT)), len(TEXT), zlib.crc32(TEXT)
PLAIN = build(Part(b"a"), Part(b"b"))
ZEROS = deflate(bytes(64 << 20))


def unicode_path(name: bytes, other: bytes) -> bytes:
    """Return an Info-ZIP Unicode path field that belongs to `name` and tells `other`."""
    return extra(0x7075, b"\1" + struct.pack("<I", zlib.crc32(name)) + other)


def shared_data(count: int) -> bytes:
    """Return an archive in which every directory entry points at one local header."""
    part = Part(b"a")
    body, entries = zips._local(part) + part.data(), zips._central(part, 0) * count
    return body + entries + zips._ends(len(body + entries), count, len(body), len(entries), End())


def quoted_overlap() -> bytes:
    """Return an archive whose first member quotes the second's local header in a stored block."""
    inner = Part(b"b", TEXT)
    local = zips._local(inner)
    stored_block = b"\0" + struct.pack("<HH", len(local), len(local) ^ 0xFFFF) + local
    stream = stored_block + inner.data()
    outer = Part(b"a", local + TEXT, stream=stream)
    body = zips._local(outer) + stream
    offset = len(zips._local(outer)) + 5
    directory = zips._central(outer, 0) + zips._central(inner, offset)
    tail = zips._ends(len(body) + len(directory), 2, len(body), len(directory), End())
    return body + directory + tail


def second_directory() -> bytes:
    """Return an archive with a complete second directory in front of the real one."""
    decoy = zips._central(Part(b"evil"), 0)
    return build(Part(b"a"), end=End(before=decoy))


def comment_with_end() -> bytes:
    """Return an archive whose comment holds an end record that also fits."""
    fake = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0)
    return build(Part(b"a"), end=End(comment=fake))


def comment_with_longer_end() -> bytes:
    """Return an archive whose comment holds an end record with a comment of its own."""
    fake = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 4)
    return build(Part(b"a"), end=End(comment=fake + b"tail"))


def zip64_far() -> bytes:
    """Return an archive with a second 64-bit end record to which the locator points."""
    data = build(Part(b"a"), end=End(zip64=True))
    at = data.index(b"PK\6\6")
    part = Part(b"a", gap=data[at : at + 56])
    hidden = build(part, end=End(zip64=True)).index(b"PK\6\6")
    return build(part, end=End(zip64=True, locator_offset=hidden))


def named(name: bytes, **changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive with one member of this name."""
    return lambda: build(Part(name, **changes))  # type: ignore[arg-type]


def pair(first: bytes, second: bytes) -> Callable[[], bytes]:
    """Return a maker of an archive with two members of these names."""
    flags = UTF8 if not (first + second).isascii() else 0
    return lambda: build(Part(first, flags=flags), Part(second, flags=flags))


def local(**changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive whose first local header differs in these fields."""
    return lambda: build(Part(local=Record(**changes)), Part(b"b"))  # type: ignore[arg-type]


def central(**changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive whose first directory entry differs in these fields."""
    return lambda: build(Part(central=Record(**changes)), Part(b"b"))  # type: ignore[arg-type]


def both(**changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive with these fields in both headers of the first member."""
    return lambda: build(alike(**changes), Part(b"b"))


def second(**changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive whose second directory entry differs in these fields."""
    return lambda: build(Part(b"a"), Part(central=Record(**changes)))  # type: ignore[arg-type]


def alike(**changes: object) -> Part:
    """Return a part with these fields in both of its headers."""
    return Part(
        stream=changes.pop("stream", None),  # type: ignore[arg-type]
        content=changes.pop("content", TEXT),  # type: ignore[arg-type]
        local=Record(**changes),  # type: ignore[arg-type]
        central=Record(**changes),  # type: ignore[arg-type]
    )


def end(**changes: object) -> Callable[[], bytes]:
    """Return a maker of an archive with these fields in its end records."""
    return lambda: build(Part(b"a"), Part(b"b"), end=End(**changes))  # type: ignore[arg-type]


STRUCTURE: dict[str, Case] = {
    "nothing": (Rule.NOT_A_ZIP, lambda: b""),
    "html page": (Rule.NOT_A_ZIP, lambda: b"<!doctype html><title>Log in</title>"),
    "html before zip": (Rule.NOT_A_ZIP, lambda: build(Part(), prefix=b"<html>")),
    "no members": (Rule.EMPTY, lambda: build()),
    "only a local header": (Rule.TRUNCATED, lambda: b"PK\3\4" + bytes(26)),
    "half": (Rule.TRUNCATED, lambda: PLAIN[: len(PLAIN) // 2]),
    "last byte missing": (Rule.TRUNCATED, lambda: PLAIN[:-1]),
    "one byte more": (Rule.TRAILING_DATA, lambda: PLAIN + b"\n"),
    "70 KB more": (Rule.TRUNCATED, lambda: PLAIN + bytes(70_000)),
    "another zip behind": (Rule.DIRECTORY, lambda: PLAIN + PLAIN),
    "whole zip before": (Rule.DIRECTORY, lambda: build(Part(), prefix=PLAIN, end=End(offset=0))),
    "adjusted zip before": (Rule.PREPENDED_DATA, lambda: build(Part(b"x"), prefix=PLAIN)),
    "short end record": (Rule.TRUNCATED, lambda: PLAIN[:-10]),
    "comment too short": (Rule.TRAILING_DATA, end(comment=b"abc", comment_length=1)),
    "comment too long": (Rule.TRUNCATED, end(comment=b"abc", comment_length=9)),
    "end record in comment": (Rule.END_AMBIGUOUS, comment_with_end),
    "end record with comment in comment": (Rule.END_AMBIGUOUS, comment_with_longer_end),
    "count too high": (Rule.COUNT, end(count=3)),
    "count too low": (Rule.COUNT, end(count=1)),
    "count 65535": (Rule.COUNT, end(count=65535)),
    "count of another disk": (Rule.MULTI_DISK, end(here=1)),
    "disk number": (Rule.MULTI_DISK, end(disk=1)),
    "disk number told elsewhere": (Rule.MULTI_DISK, end(disk=MARK16)),
    "member on another disk": (Rule.MULTI_DISK, central(disk=1)),
    "directory offset low": (Rule.DIRECTORY, end(offset=10)),
    "directory offset huge": (Rule.DIRECTORY, end(offset=MARK32)),
    "directory size low": (Rule.DIRECTORY, end(size=46)),
    "directory size huge": (Rule.DIRECTORY_TOO_BIG, end(size=MARK32)),
    "second directory": (Rule.GAP, second_directory),
    "bytes before directory": (Rule.GAP, end(before=b"hidden")),
    "bytes after directory": (Rule.DIRECTORY, end(between=b"hidden")),
    "bytes between members": (Rule.GAP, lambda: build(Part(b"a", gap=b"x"), Part(b"b"))),
    "hidden member": (Rule.GAP, lambda: build(Part(b"a", gap=zips._local(Part(b"h"))), Part(b"b"))),
    "no first entry": (Rule.PREPENDED_DATA, lambda: build(Part(b"a"), prefix=zips._local(Part()))),
    "same data twice": (Rule.OVERLAP, lambda: shared_data(2)),
    "same data 1000 times": (Rule.OVERLAP, lambda: shared_data(1000)),
    "quoted overlap": (Rule.OVERLAP, quoted_overlap),
    "size into next member": (Rule.OVERLAP, both(compressed_size=DEFLATED_SIZE + 40)),
    "size into directory": (
        Rule.OVERLAP,
        lambda: build(alike(compressed_size=9999)),
    ),
    "size short of next member": (Rule.GAP, both(compressed_size=DEFLATED_SIZE - 4)),
    "offset behind file": (Rule.GAP, second(offset=1 << 31)),
    "offset into directory": (Rule.GAP, second(offset=len(PLAIN) - 70)),
    "no local signature": (
        Rule.LOCAL_HEADER,
        lambda: build(Part(b"a"), Part(local=Record(signature=b"PK\3\5"))),
    ),
    "no central signature": (Rule.COUNT, central(signature=b"PK\1\3")),
    "entry longer than directory": (Rule.COUNT, central(name_length=60000)),
    "too many members": (Rule.TOO_MANY, end(zip64=True, count=MARK16, count64=250_001)),
}  # fmt: skip

ZIP64: dict[str, Case] = {
    "locator to nowhere": (Rule.ZIP64, end(zip64=True, locator_offset=3)),
    "locator behind itself": (Rule.ZIP64, end(zip64=True, locator_offset=1 << 40)),
    "locator of max": (Rule.ZIP64, end(zip64=True, locator_offset=(1 << 64) - 1)),
    "locator to another record": (Rule.ZIP64, zip64_far),
    "locator disk": (Rule.MULTI_DISK, end(zip64=True, locator_disk=1)),
    "locator disks": (Rule.MULTI_DISK, end(zip64=True, locator_disks=2)),
    "record disk": (Rule.MULTI_DISK, end(zip64=True, disk64=1)),
    "record signature": (Rule.ZIP64, end(zip64=True, signature64=b"PK\6\0")),
    "record too long": (Rule.ZIP64, end(zip64=True, length64=1000)),
    "record too short": (Rule.ZIP64, end(zip64=True, length64=0)),
    "record length of max": (Rule.ZIP64, end(zip64=True, length64=(1 << 64) - 1)),
    "gap behind locator": (Rule.DIRECTORY, end(zip64=True, between=b"x")),
    "counts differ": (Rule.ZIP64, end(zip64=True, count64=3)),
    "sizes differ": (Rule.ZIP64, end(zip64=True, size64=3)),
    "offsets differ": (Rule.ZIP64, end(zip64=True, offset64=3)),
    "offset of max": (Rule.DIRECTORY, end(zip64=True, offset=MARK32, offset64=(1 << 64) - 1)),
    "size of max": (Rule.DIRECTORY_TOO_BIG, end(zip64=True, size=MARK32, size64=(1 << 64) - 1)),
    "extra contradicts": (Rule.ZIP64_EXTRA, both(extra=zip64_extra(SIZE + 1, DEFLATED_SIZE))),
    "extra too short": (Rule.ZIP64_EXTRA, central(size=MARK32, extra=extra(1, b"1234"))),
    "extra too long": (Rule.ZIP64_EXTRA, central(extra=extra(1, bytes(40)))),
    "extra twice": (Rule.EXTRA_FIELD, central(extra=zip64_extra(1) + zip64_extra(2))),
    "extra says huge": (
        Rule.LOCAL_DIFFERS,
        central(size=MARK32, extra=zip64_extra(1 << 62)),
    ),
    "extra offset huge": (
        Rule.GAP,
        second(offset=MARK32, extra=zip64_extra(1 << 63)),
    ),
    "extra runs over": (Rule.EXTRA_FIELD, central(extra=struct.pack("<HH", 9, 99) + b"x")),
    "local extra runs over": (Rule.EXTRA_FIELD, local(extra=struct.pack("<HH", 9, 99) + b"x")),
}  # fmt: skip

HEADERS: dict[str, Case] = {
    "encrypted": (Rule.ENCRYPTED, lambda: build(Part(flags=1))),
    "strongly encrypted": (Rule.ENCRYPTED, lambda: build(Part(flags=0x40))),
    "masked directory": (Rule.ENCRYPTED, lambda: build(Part(flags=0x2000))),
    "encrypted only locally": (Rule.FLAGS, local(flags=1)),
    "patch data": (Rule.FLAGS, lambda: build(Part(flags=0x20))),
    "method bzip2": (Rule.METHOD, both(method=12)),
    "method lzma": (Rule.METHOD, both(method=14)),
    "method deflate64": (Rule.METHOD, both(method=9)),
    "method zstd": (Rule.METHOD, both(method=93)),
    "method aes": (Rule.METHOD, both(method=99)),
    "method unknown": (Rule.METHOD, both(method=0x7777)),
    "methods differ": (Rule.LOCAL_DIFFERS, local(method=STORED)),
    "names differ": (Rule.LOCAL_DIFFERS, local(name=b"conversations.jsom")),
    "sizes differ": (Rule.LOCAL_DIFFERS, local(size=SIZE + 1)),
    "compressed sizes differ": (Rule.LOCAL_DIFFERS, local(compressed_size=DEFLATED_SIZE - 1)),
    "crcs differ": (Rule.LOCAL_DIFFERS, local(crc32=CRC ^ 1)),
    "zero sizes without descriptor": (Rule.LOCAL_DIFFERS, local(size=0, compressed_size=0)),
    "descriptor only locally": (Rule.FLAGS, local(flags=DESCRIPTOR)),
    "descriptor only centrally": (Rule.FLAGS, central(flags=DESCRIPTOR)),
    "descriptor missing": (Rule.DESCRIPTOR, lambda: build(Part(flags=DESCRIPTOR))),
    "descriptor wrong": (Rule.DESCRIPTOR, lambda: build(Part(flags=DESCRIPTOR, gap=bytes(16)))),
    "descriptor too long": (Rule.DESCRIPTOR, lambda: build(described("signed64", gap=bytes(4)))),
    "descriptor hides data": (Rule.DESCRIPTOR, lambda: build(described("signed32", gap=TEXT))),
    "local name cut short": (Rule.LOCAL_HEADER, local(name_length=65535)),
    "local extra cut short": (Rule.LOCAL_HEADER, local(extra_length=4000)),
    "local extra over data": (
        Rule.OVERLAP,
        lambda: build(Part(b"a", bytes(40), STORED, local=Record(extra_length=40)), Part()),
    ),
    "stored with two sizes": (Rule.SIZE, central(method=STORED)),
    "symlink": (Rule.FILE_TYPE, central(attributes=0o120777 << 16)),
    "block device": (Rule.FILE_TYPE, central(attributes=0o60600 << 16)),
    "character device": (Rule.FILE_TYPE, central(attributes=0o20600 << 16)),
    "socket": (Rule.FILE_TYPE, central(attributes=0o140600 << 16)),
    "directory with data": (Rule.FILE_TYPE, named(b"dir/")),
}  # fmt: skip

NAMES: dict[str, Case] = {
    "absolute": (Rule.NAME_PATH, named(b"/etc/passwd")),
    "absolute backslash": (Rule.NAME_PATH, named(b"\\windows\\x")),
    "drive": (Rule.NAME_PATH, named(b"C:\\x")),
    "drive relative": (Rule.NAME_PATH, named(b"c:x")),
    "upwards": (Rule.NAME_PATH, named(b"../x")),
    "upwards inside": (Rule.NAME_PATH, named(b"a/../../x")),
    "upwards backslash": (Rule.NAME_PATH, named(b"a\\..\\x")),
    "only upwards": (Rule.NAME_PATH, named(b"..")),
    "upwards in unicode field": (
        Rule.NAME_PATH,
        lambda: build(Part(b"a?", central=Record(extra=unicode_path(b"a?", b"../x")))),
    ),
    "empty": (Rule.NAME, named(b"")),
    "nul": (Rule.NAME, named(b"a\0b")),
    "newline": (Rule.NAME, named(b"a\nb")),
    "escape": (Rule.NAME, named(b"\x1b[2J")),
    "delete": (Rule.NAME, named(b"a\x7f")),
    "c1 control": (Rule.NAME, named("a\x85".encode(), flags=UTF8)),
    "too long": (Rule.NAME, named(b"a" * 5000)),
    "not utf-8": (Rule.NAME_ENCODING, named(b"a\xff", flags=UTF8)),
    "overlong utf-8": (Rule.NAME_ENCODING, named(b"\xc0\xae\xc0\xae/x", flags=UTF8)),
    "utf-8 surrogate": (Rule.NAME_ENCODING, named(b"\xed\xa0\x80", flags=UTF8)),
    "unicode field not utf-8": (
        Rule.NAME_ENCODING,
        lambda: build(Part(b"a?", central=Record(extra=unicode_path(b"a?", b"\xff")))),
    ),
    "unicode field differs": (
        Rule.NAME_AMBIGUOUS,
        lambda: build(Part(b"a", central=Record(extra=unicode_path(b"a", b"b")))),
    ),
    "local unicode field differs": (
        Rule.NAME_AMBIGUOUS,
        lambda: build(Part(b"a", local=Record(extra=unicode_path(b"a", b"b")))),
    ),
    "unicode field twice": (
        Rule.EXTRA_FIELD,
        lambda: build(
            Part(b"a?", central=Record(extra=unicode_path(b"a?", b"b") + unicode_path(b"a?", b"c")))
        ),
    ),
    "encodings differ": (
        Rule.NAME_AMBIGUOUS,
        named("é".encode(), local=Record(flags=UTF8)),
    ),
    "same name": (Rule.DUPLICATE, pair(b"a", b"a")),
    "case": (Rule.DUPLICATE, pair(b"user.json", b"USER.JSON")),
    "sharp s": (Rule.DUPLICATE, pair("straße".encode(), b"STRASSE")),
    "nfc and nfd": (Rule.DUPLICATE, pair("\u00e9".encode(), "e\u0301".encode())),
    "slashes": (Rule.DUPLICATE, pair(b"a/b", b"a//b")),
    "dot step": (Rule.DUPLICATE, pair(b"a/b", b"a/./b")),
    "leading dot": (Rule.DUPLICATE, pair(b"b", b"./b")),
    "backslash": (Rule.DUPLICATE, pair(b"a/b", b"a\\b")),
    "duplicate by unicode field": (
        Rule.DUPLICATE,
        lambda: build(Part(b"b"), Part(b"a?", central=Record(extra=unicode_path(b"a?", b"b")))),
    ),
    "file and directory": (Rule.DUPLICATE, lambda: build(Part(b"a"), Part(b"a/", b"", STORED))),
    "file as directory": (Rule.NAME_CONFLICT, pair(b"a", b"a/b")),
    "file as deep directory": (Rule.NAME_CONFLICT, pair(b"a/b", b"A/B/c/d")),
}  # fmt: skip

CLAIMS: dict[str, Case] = {
    "ratio": (
        Rule.RATIO,
        lambda: build(alike(content=b"", stream=ZEROS, size=64 << 20)),
    ),
    "total": (
        Rule.TOO_BIG,
        lambda: build(Part(content=bytes(3000), method=STORED), Part(b"b", bytes(3000), STORED)),
    ),
}  # fmt: skip

DATA: dict[str, Case] = {
    "crc": (Rule.CRC, both(crc32=CRC ^ 1)),
    "longer than declared": (Rule.SIZE, both(size=SIZE - 1)),
    "shorter than declared": (Rule.SIZE, both(size=SIZE + 1)),
    "declared empty": (Rule.SIZE, both(size=0, crc32=0)),
    "declared tiny, is a bomb": (
        Rule.SIZE,
        lambda: build(alike(content=b"", stream=ZEROS, size=10)),
    ),
    "not deflate": (Rule.DEFLATE, lambda: build(Part(stream=b"\xff" * 50))),
    "empty stream": (Rule.DEFLATE, lambda: build(Part(content=b"", stream=b""))),
    "stream cut": (Rule.DEFLATE, lambda: build(Part(stream=deflate(TEXT)[:-1]))),
    "stream with tail": (Rule.DEFLATE, lambda: build(Part(stream=deflate(TEXT) + b"hidden"))),
    "stream with a second stream": (Rule.DEFLATE, lambda: build(Part(stream=deflate(TEXT) * 2))),
    "stream with late tail": (
        Rule.DEFLATE,
        lambda: build(Part(stream=deflate(TEXT) + random.Random(1).randbytes(600_000))),
    ),
    "zlib header": (Rule.DEFLATE, lambda: build(Part(stream=zlib.compress(TEXT)))),
}  # fmt: skip

SCANNED = {
    f"{group}: {name}": case
    for group, cases in (
        ("structure", STRUCTURE), ("zip64", ZIP64), ("headers", HEADERS), ("names", NAMES),
        ("claims", CLAIMS),
    )
    for name, case in cases.items()
}  # fmt: skip


def many_members(count: int, stem: str = "") -> bytes:
    """Return an archive of `count` empty members, whose names end in `stem`."""
    body, directory = bytearray(), bytearray()
    for number in range(count):
        part = Part(f"{number:06}{stem}.dat".encode(), b"", STORED, flags=UTF8)
        directory += zips._central(part, len(body))
        body += zips._local(part)
    start, size = len(body), len(directory)
    wide = End(zip64=True, count=0xFFFF, size=MARK32, offset=MARK32)
    return bytes(body + directory) + zips._ends(start + size, count, start, size, wide)
