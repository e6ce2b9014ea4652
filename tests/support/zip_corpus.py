"""Hostile ZIP files by the hundred: the table of `hostile_zips`, and what generators add to it.

A case says by which rules it may be refused; none at all means that it is odd but can be read in
one way only, and must come back byte for byte. Whatever is generated is the same for each run.
"""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from backupd.export.archive import Rule
from tests.support import zips
from tests.support.hostile_zips import (
    DATA,
    PLAIN,
    SCANNED,
    alike,
    many_members,
    shared_data,
    unicode_path,
)
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
    zip64_extra,
)

SEED = 10
_SIZE, _SHORT, _CRC = len(TEXT), len(deflate(TEXT)), zlib.crc32(TEXT)
_LIMITED = ("claims: total",)
"""Cases that need limits of their own, which the command does not take."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file: what it is called, the rules that may refuse it (none: it is kept), its maker."""

    name: str
    rules: frozenset[Rule]
    make: Callable[[], bytes]


def corpus() -> list[Case]:
    """Return every case; no two have the same bytes."""
    groups = (
        _table(), _truncations(), _ends(), _fields(), _zip64(), _descriptors(), _polyglots(),
        _tails(), _names(), _pairs(), _methods(), _overlaps(), _bombs(), _mutations(), _kept(),
    )  # fmt: skip
    seen: dict[str, Case] = {}
    for group in groups:
        for case in group:
            seen.setdefault(hashlib.sha256(case.make()).hexdigest(), case)
    return list(seen.values())


def _case(name: str, make: Callable[[], bytes], *rules: Rule) -> Case:
    return Case(name, frozenset(rules), make)


def _table() -> Iterator[Case]:
    for name, (rule, make) in {**SCANNED, **{f"data: {n}": c for n, c in DATA.items()}}.items():
        if name not in _LIMITED:
            yield _case(name, make, rule)


def _truncations() -> Iterator[Case]:
    whole = build(described("signed32", name=b"a"), Part(b"b"), end=End(zip64=True, comment=b"end"))
    marks = {len(whole) * n // 16 for n in range(1, 16)}
    for signature in (b"PK\3\4", b"PK\7\x08", b"PK\1\2", b"PK\6\6", b"PK\6\7", b"PK\5\6"):
        at = whole.rindex(signature)
        marks |= {at, at + 2, at + 4}
    for at in sorted(marks):
        rules = (Rule.TRUNCATED, Rule.NOT_A_ZIP)
        yield _case(f"truncated: at {at}", lambda at=at: whole[:at], *rules)


def _ends() -> Iterator[Case]:
    start, size = PLAIN.index(b"PK\1\2"), PLAIN.index(b"PK\5\6") - PLAIN.index(b"PK\1\2")
    lies = {
        "count": (0, 1, 3, 4, 255, MARK16), "here": (0, 1, 3, MARK16), "disk": (1, 2, MARK16),
        "size": (0, 1, size - 1, size + 1, size * 2, MARK32),
        "offset": (0, 1, start - 1, start + 1, start + size, MARK32),
        "comment_length": (1, 22, MARK16),
    }  # fmt: skip
    rules = (
        Rule.COUNT, Rule.EMPTY, Rule.MULTI_DISK, Rule.DIRECTORY, Rule.DIRECTORY_TOO_BIG,
        Rule.TRUNCATED, Rule.TOO_MANY, Rule.ZIP64,
    )  # fmt: skip
    for wide, (field, values) in product((False, True), lies.items()):
        for value in values:
            if wide and value in (MARK16, MARK32):
                continue  # with a 64-bit record these say no more than "look there"
            end = replace(End(zip64=wide), **{field: value})
            name = f"end{64 if wide else 32}: {field} {value}"
            yield _case(name, lambda end=end: build(Part(b"a"), Part(b"b"), end=end), *rules)


def _fields() -> Iterator[Case]:
    lies: dict[str, tuple[object, ...]] = {
        "crc32": (0, 1, _CRC ^ 1, MARK32), "size": (0, 1, _SIZE - 1, _SIZE + 1, MARK32 - 1),
        "compressed_size": (0, 1, _SHORT - 1, _SHORT + 1, MARK32 - 1),
        "method": (STORED, 1, 6, 98), "name": (b"", b"x", b"../conversations.json", b"a\0"),
        "name_length": (0, 1, 17, MARK16), "extra_length": (1, 4, MARK16),
        "signature": (b"PK\3\3", b"PK\5\6", bytes(4)), "flags": (1, 0x20, 0x40, DESCRIPTOR, 0x2000),
    }  # fmt: skip
    refused = frozenset(Rule) - {Rule.NOT_A_ZIP, Rule.RATIO, Rule.TOO_BIG}
    for place, (field, values) in product(("local", "central"), lies.items()):
        for value in values:
            record = replace(Record(), **{field: value})  # type: ignore[arg-type]
            parts = (Part(b"a"), replace(Part(), **{place: record}), Part(b"b"))  # type: ignore[arg-type]
            yield Case(f"{place}: {field} {value!r}", refused, lambda parts=parts: build(*parts))


def _zip64() -> Iterator[Case]:
    rules = frozenset((
        Rule.ZIP64, Rule.ZIP64_EXTRA, Rule.EXTRA_FIELD, Rule.LOCAL_DIFFERS, Rule.GAP, Rule.OVERLAP,
        Rule.DIRECTORY, Rule.DIRECTORY_TOO_BIG, Rule.COUNT, Rule.EMPTY, Rule.TOO_MANY, Rule.SIZE,
        Rule.MULTI_DISK, Rule.PREPENDED_DATA, Rule.RATIO, Rule.TOO_BIG,
    ))  # fmt: skip
    extremes = (0, 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
    for field, value in product(("count64", "size64", "offset64", "locator_offset"), extremes):
        if (field, value) == ("count64", 1):
            continue  # the truth
        end = replace(End(zip64=True), **{field: value})
        yield Case(f"zip64: {field} {value}", rules, lambda end=end: build(Part(b"a"), end=end))
    for field, value in product(("size", "compressed_size"), extremes):
        record = replace(Record(extra=zip64_extra(value)), **{field: MARK32})
        part = Part(b"a", central=record)
        yield Case(f"zip64: member {field} {value}", rules, lambda part=part: build(part))


def _descriptors() -> Iterator[Case]:
    forms = ("signed32", "plain32", "signed64", "plain64")
    for form, at, bit in product(forms, range(0, 12, 4), (1, 128)):
        yield _case(
            f"descriptor: {form} wrong at {at} by {bit}",
            lambda form=form, at=at, bit=bit: _flipped(form, at, bit),
            Rule.DESCRIPTOR,
        )


def _flipped(form: str, at: int, bit: int) -> bytes:
    data = bytearray(build(described(form, name=b"a"), Part(b"b")))
    start = data.index(b"PK\3\4", 4) - {"32": 12, "64": 20}[form[-2:]]
    data[start + at] ^= bit
    return bytes(data)


_HEADS = {
    "html": b"<!doctype html><script>0</script>", "pdf": b"%PDF-1.7\n%", "elf": b"\x7fELF\2\1\1",
    "exe": b"MZ\x90\0", "gif": b"GIF89a", "png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff\xe0",
    "rar": b"Rar!\x1a\7\1\0", "7z": b"7z\xbc\xaf\x27\x1c", "gzip": b"\x1f\x8b\x08",
    "bom": b"\xef\xbb\xbf",
    "shell": b"#!/bin/sh\nexit\n", "newline": b"\n", "span marker": b"PK00", "split": b"PK\7\x08",
}  # fmt: skip


def _polyglots() -> Iterator[Case]:
    rules = (Rule.NOT_A_ZIP,)
    for name, head in _HEADS.items():
        yield _case(f"polyglot: {name} before", lambda head=head: head + PLAIN, *rules)
        yield _case(
            f"polyglot: {name} before, adjusted",
            lambda head=head: build(Part(b"a"), prefix=head),
            *rules,
        )
        yield _case(
            f"polyglot: {name} between",
            lambda head=head: build(Part(b"a", gap=head), Part(b"b")),
            Rule.GAP,
        )


def _tails() -> Iterator[Case]:
    rules = (Rule.TRAILING_DATA, Rule.TRUNCATED, Rule.DIRECTORY, Rule.END_AMBIGUOUS)
    for name, tail in _HEADS.items():
        yield _case(f"polyglot: {name} behind", lambda tail=tail: PLAIN + tail, *rules)
    for size in (1, 21, 22, 65535):
        yield _case(f"tail: {size} zeros", lambda size=size: PLAIN + bytes(size), *rules)
    record = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    for before, after in product((0, 1, 40), (0, 1, 40)):
        comment = bytes(before) + record[:-2] + struct.pack("<H", after) + bytes(after)
        yield _case(
            f"comment: an end record at {before} before {after}",
            lambda comment=comment: build(Part(b"a"), end=End(comment=comment)),
            Rule.END_AMBIGUOUS,
        )


def _names() -> Iterator[Case]:
    bad = {
        Rule.NAME_PATH: (
            "/x", "//x", "\\x", "\\\\host\\x", "C:/x", "z:", "a:b", "../x", "..\\x", "a/..",
            "a/../x",
            "./../x", "a\\..\\..\\x", "..", "../", "/../x", "/",
        ),
        Rule.NAME: ("\0", "a\0.json", "a\r", "a\tb", "\x1b]0;x\7", "a\x80", "é\x9f", "\x01/x"),
    }  # fmt: skip
    for rule, names in bad.items():
        for name in names:
            flags = 0 if name.isascii() else UTF8
            part = Part(name.encode(), flags=flags)
            yield _case(f"name: {name!r}", lambda part=part: build(part), rule, Rule.FILE_TYPE)
            told = Record(extra=unicode_path(b"a?", name.encode()))
            hidden = Part(b"a?", central=told)
            yield _case(f"name in field: {name!r}", lambda part=hidden: build(part), rule)
    for length in (4097, 20_000, 65_535):
        yield _case(
            f"name of {length}",
            lambda length=length: build(Part(b"n" * length, local=Record(name=b"n" * length))),
            Rule.NAME,
        )


def _pairs() -> Iterator[Case]:
    alike_names = (
        ("A", "a"), ("É", "é"), ("ß", "ss"), ("ﬁ", "fi"), ("\u212b", "å"), ("İ", "i\u0307"),
        ("a/", "a"), ("a//b", "a/b"), ("a/./b", "a/b"), ("./a", "a"), ("a\\b", "a/b"),
        ("e\u0301", "é"), ("Σ", "ς"), ("a/B", "A/b"),
    )  # fmt: skip
    for first, second in alike_names:
        for between in (0, 3):
            parts = [Part(first.encode(), b"" if first.endswith("/") else TEXT, STORED)]
            parts += [Part(b"between-%d" % n) for n in range(between)]
            parts.append(Part(second.encode(), flags=0 if second.isascii() else UTF8))
            parts[0].flags = 0 if first.isascii() else UTF8
            yield _case(
                f"pair: {first!r} {second!r} apart {between}",
                lambda parts=tuple(parts): build(*parts),
                Rule.DUPLICATE,
            )
    for first, second in (("a", "a/b"), ("A/B", "a/b/c"), ("a", "a\\b"), ("é", "É/x")):
        flags = 0 if (first + second).isascii() else UTF8
        names = tuple(Part(name.encode(), flags=flags) for name in (first, second))
        yield _case(
            f"pair: {first!r} holds {second!r}", lambda p=names: build(*p), Rule.NAME_CONFLICT
        )


def _methods() -> Iterator[Case]:
    for method in (*range(1, 8), *range(9, 21), *range(93, 100), 255, MARK16):
        yield _case(
            f"method {method}", lambda m=method: build(alike(method=m), Part(b"b")), Rule.METHOD
        )
    for flags in (0x1, 0x9, 0x41, 0x801, 0x2001, 0x2041, 0x40 | UTF8):
        yield _case(f"flags {flags:#x}", lambda f=flags: build(Part(flags=f)), Rule.ENCRYPTED)


def _overlaps() -> Iterator[Case]:
    for count in (3, 10, 5000):
        yield _case(f"overlap: {count} share", lambda n=count: shared_data(n), Rule.OVERLAP)
    for step in (1, 2, 8, 30):
        yield _case(
            f"overlap: {step} into the next",
            lambda s=step: build(alike(compressed_size=_SHORT + s), Part(b"b")),
            Rule.OVERLAP,
        )
        yield _case(
            f"gap: {step} unclaimed",
            lambda s=step: build(Part(b"a", gap=bytes(s)), Part(b"b")),
            Rule.GAP,
        )
    for depth in (2, 5, 30):
        yield _case(f"quoted overlap: {depth} deep", lambda d=depth: _quoted(d), Rule.OVERLAP)


def _quoted(depth: int) -> bytes:
    """Let each member quote the local header of the next in a stored block, and share its data."""
    stream, content = deflate(TEXT), TEXT
    parts = [Part(b"%d" % depth)]
    for number in range(depth - 1, 0, -1):
        quoted = zips._local(parts[0])
        block = b"\0" + struct.pack("<HH", len(quoted), len(quoted) ^ 0xFFFF) + quoted
        stream, content = block + stream, quoted + content
        parts.insert(0, Part(b"%d" % number, content, stream=stream))
    body, offset, directory = zips._local(parts[0]) + stream, 0, b""
    for part in parts:
        directory += zips._central(part, offset)
        offset += len(zips._local(part)) + 5
    tail = zips._ends(len(body + directory), depth, len(body), len(directory), End())
    return body + directory + tail


def _bombs() -> Iterator[Case]:
    for size in (16, 48, 96):
        stream = deflate(bytes(size << 20))
        part = alike(content=b"", stream=stream, size=size << 20)
        yield _case(f"bomb: {size} MiB of zeros", lambda p=part: build(p), Rule.RATIO)
        lie = alike(content=b"", stream=stream, size=1000)
        yield _case(f"bomb: {size} MiB as 1000 bytes", lambda p=lie: build(p), Rule.SIZE)
    for claim in (200 << 30, 1 << 60):
        wide = Record(size=MARK32, extra=zip64_extra(claim))
        part = Part(local=replace(wide, extra=zip64_extra(claim, _SHORT)), central=wide)
        rules = (Rule.RATIO, Rule.TOO_BIG, Rule.LOCAL_DIFFERS, Rule.ZIP64_EXTRA)
        yield _case(f"bomb: claims {claim}", lambda p=part: build(p), *rules)
    for count in (250_001, 1 << 40):
        end = End(zip64=True, count=MARK16, count64=count)
        yield _case(f"bomb: {count} members", lambda e=end: build(Part(), end=e), Rule.TOO_MANY)
    blob = bytes(9 << 20)
    yield _case(
        "bomb: nine members below the free size",
        lambda: build(*(Part(b"z%d" % n, blob, stream=deflate(blob)) for n in range(9))),
    )
    yield _case("bomb: nested 40 deep", lambda: _nested(40))
    yield _case("bomb: 3000 empty members", lambda: many_members(3000))


def _nested(depth: int) -> bytes:
    data = build(Part())
    for _ in range(depth):
        data = build(Part(b"Conversations__x.zip", data, STORED))
    return data


def _mutations() -> Iterator[Case]:
    """Flip single bits of a sound file's records; one that changes no meaning is kept."""
    dice = random.Random(SEED)
    whole = build(Part(b"a.txt"), described("signed32", name=b"b.txt"), end=End(zip64=True))
    for number in range(60):
        at, bit = dice.randrange(len(whole)), 1 << dice.randrange(8)
        data = bytearray(whole)
        data[at] ^= bit
        yield Case(f"bit flip {number}: {at} by {bit}", frozenset(Rule), lambda d=bytes(data): d)


def _kept() -> Iterator[Case]:
    """Yield what is odd and harmless: no name becomes a path, so none of these leads anywhere."""
    names = (
        "CON", "nul.json", "COM1", "aux.tar", "lpt9.txt", "stream.txt::$DATA", "dot.",
        "space ", " lead", "exe\u202egnp.json", "\u2066iso\u2069", "zero\u200bwidth", "\u200ertl",
        "~", "-rf", "*?.json", '"<>|', "$(id)", "`id`", "%00", "%2e%2e/x", "...", "a..b", "🏴‍☠️",
        "cоnversations.json", "ｆull.json", "conversations.json ", "\ufeffconversations.json",
        "n" * 4000,
    )  # fmt: skip
    for name in names:
        part = Part(name.encode(), flags=0 if name.isascii() else UTF8)
        yield _case(f"kept name: {name[:20]!r}", lambda part=part: build(part))
    for size in (1, 100, 65_535):
        comment = End(comment=b"c" * size)
        yield _case(f"kept comment of {size}", lambda e=comment: build(Part(), end=e))
