"""ZIP files made byte by byte: every odd but legitimate form, and every lie.

The builder writes what the format asks for; each field of each record can then be overridden, so
that a hostile file differs from a good one in exactly one thing.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

STORED, DEFLATED = 0, 8
DESCRIPTOR, UTF8 = 0x0008, 0x0800
MARK16, MARK32 = 0xFFFF, 0xFFFFFFFF
TEXT = b'[{"title": "one", "id": "c-1"}]' * 20


@dataclass
class Record:
    """The fields of a header; None leaves what the builder would write."""

    signature: bytes | None = None
    name: bytes | None = None
    flags: int | None = None
    method: int | None = None
    crc32: int | None = None
    compressed_size: int | None = None
    size: int | None = None
    extra: bytes | None = None
    name_length: int | None = None
    extra_length: int | None = None
    comment: bytes | None = None
    disk: int | None = None
    attributes: int | None = None
    offset: int | None = None

    def or_(self, name: str, value: object) -> object:
        """Return an override, or the value."""
        chosen = getattr(self, name)
        return value if chosen is None else chosen


@dataclass
class Part:
    """One member, with overrides for its two headers."""

    name: bytes = b"conversations.json"
    content: bytes = TEXT
    method: int = DEFLATED
    flags: int = 0
    stream: bytes | None = None
    descriptor: str = ""
    gap: bytes = b""
    local: Record = field(default_factory=Record)
    central: Record = field(default_factory=Record)

    def data(self) -> bytes:
        """Return the member's data as it lies in the file."""
        if self.stream is not None:
            return self.stream
        return deflate(self.content) if self.method == DEFLATED else self.content


@dataclass
class End:
    """Overrides for the end records; `zip64` writes the 64-bit ones too."""

    count: int | None = None
    here: int | None = None
    size: int | None = None
    offset: int | None = None
    disk: int = 0
    comment: bytes = b""
    comment_length: int | None = None
    zip64: bool = False
    count64: int | None = None
    size64: int | None = None
    offset64: int | None = None
    disk64: int = 0
    length64: int | None = None
    extensible: bytes = b""
    locator_offset: int | None = None
    locator_disk: int = 0
    locator_disks: int = 1
    before: bytes = b""
    between: bytes = b""
    signature64: bytes = b"PK\x06\x06"


def deflate(content: bytes, level: int = 6, mem_level: int = 8, strategy: int = 0) -> bytes:
    """Return a raw deflate stream."""
    encoder = zlib.compressobj(level, zlib.DEFLATED, -15, mem_level, strategy)
    return encoder.compress(content) + encoder.flush()


def deflate_unknown(content: bytes, at: int) -> bytes:
    """Return a raw deflate stream that no single encoder writes: it becomes another one at `at`."""
    head = zlib.compressobj(6, zlib.DEFLATED, -15)
    start = head.compress(content[:at]) + head.flush(zlib.Z_FULL_FLUSH)
    return start + deflate(content[at:], 1, 9, zlib.Z_FILTERED)


def deflate_flushing(content: bytes, at: Iterable[int], mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a raw deflate stream with flushes at these offsets of the content."""
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    made, start = [], 0
    for end in at:
        made += [encoder.compress(content[start:end]), encoder.flush(mode)]
        start = end
    return b"".join(made) + encoder.compress(content[start:]) + encoder.flush()


def extra(kind: int, data: bytes) -> bytes:
    """Return one extra field."""
    return struct.pack("<HH", kind, len(data)) + data


def zip64_extra(*values: int) -> bytes:
    """Return a 64-bit extra field with these values."""
    return extra(1, struct.pack(f"<{len(values)}Q", *values))


def build(*parts: Part, end: End | None = None, prefix: bytes = b"", suffix: bytes = b"") -> bytes:
    """Return a ZIP file of these parts."""
    end = end or End()
    body = bytearray(prefix)
    directory = bytearray()
    for part in parts:
        offset = len(body)
        body += _local(part) + part.data() + _descriptor(part) + part.gap
        directory += _central(part, offset)
    body += end.before
    start = len(body)
    body += directory
    return bytes(body) + _ends(len(body), len(parts), start, len(directory), end) + suffix


def _numbers(part: Part) -> tuple[int, int, int]:
    return zlib.crc32(part.content), len(part.data()), len(part.content)


def _local(part: Part) -> bytes:
    over = part.local
    crc32, compressed, size = (0, 0, 0) if part.flags & DESCRIPTOR else _numbers(part)
    name = over.or_("name", part.name)
    extra_field = over.or_("extra", b"")
    return (
        struct.pack(
            "<4sHHHHHIIIHH",
            over.or_("signature", b"PK\x03\x04"), 20, over.or_("flags", part.flags),
            over.or_("method", part.method), 0x6000, 0x5B37, over.or_("crc32", crc32),
            over.or_("compressed_size", compressed), over.or_("size", size),
            over.or_("name_length", len(name)), over.or_("extra_length", len(extra_field)),
        )
        + name
        + extra_field
    )  # fmt: skip


def _central(part: Part, offset: int) -> bytes:
    over = part.central
    crc32, compressed, size = _numbers(part)
    name = over.or_("name", part.name)
    extra_field = over.or_("extra", b"")
    comment = over.or_("comment", b"")
    return (
        struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            over.or_("signature", b"PK\x01\x02"), 0x0314, 20, over.or_("flags", part.flags),
            over.or_("method", part.method), 0x6000, 0x5B37, over.or_("crc32", crc32),
            over.or_("compressed_size", compressed), over.or_("size", size),
            over.or_("name_length", len(name)), over.or_("extra_length", len(extra_field)),
            len(comment), over.or_("disk", 0), 0, over.or_("attributes", 0o100600 << 16),
            over.or_("offset", offset),
        )
        + name
        + extra_field
        + comment
    )  # fmt: skip


def _descriptor(part: Part) -> bytes:
    crc32, compressed, size = _numbers(part)
    form = "<III" if part.descriptor.endswith("32") else "<IQQ"
    if not part.descriptor:
        return b""
    signature = b"PK\x07\x08" if part.descriptor.startswith("signed") else b""
    return signature + struct.pack(form, crc32, compressed, size)


def _ends(position: int, count: int, offset: int, size: int, end: End) -> bytes:
    wide = b""
    if end.zip64:
        wide = (
            struct.pack(
                "<4sQHHIIQQQQ",
                end.signature64,
                44 + len(end.extensible) if end.length64 is None else end.length64,
                45, 45, 0, end.disk64,
                count if end.count64 is None else end.count64,
                count if end.count64 is None else end.count64,
                size if end.size64 is None else end.size64,
                offset if end.offset64 is None else end.offset64,
            )
            + end.extensible
            + struct.pack(
                "<4sIQI",
                b"PK\x06\x07",
                end.locator_disk,
                position if end.locator_offset is None else end.locator_offset,
                end.locator_disks,
            )
        )  # fmt: skip
    total = count if end.count is None else end.count
    return (
        wide
        + end.between
        + struct.pack(
            "<4sHHHHIIH",
            b"PK\x05\x06", end.disk, end.disk, total if end.here is None else end.here, total,
            size if end.size is None else end.size,
            offset if end.offset is None else end.offset,
            len(end.comment) if end.comment_length is None else end.comment_length,
        )
        + end.comment
    )  # fmt: skip


def described(form: str, **changes: object) -> Part:
    """Return a part whose sizes follow its data, in one of the four forms."""
    return Part(flags=DESCRIPTOR, descriptor=form, **changes)  # type: ignore[arg-type]


class _Unseekable(io.RawIOBase):
    """A sink that cannot seek, so that writers must use data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += bytes(data)  # type: ignore[call-overload]
        return len(bytes(data))  # type: ignore[call-overload]


def by_zipfile(
    *, level: int = 6, force_zip64: bool = False, streamed: bool = False, method: int = DEFLATED
) -> bytes:
    """Return what the standard library writes for two members and a directory."""
    sink: io.RawIOBase | io.BytesIO = _Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(sink, "w", method, compresslevel=level) as archive:  # type: ignore[arg-type]
        for name in ("conversations.json", "chat.html"):
            with archive.open(name, "w", force_zip64=force_zip64) as member:
                member.write(TEXT)
        if not streamed:
            archive.mkdir("dalle-generations")
    return bytes(sink.data) if isinstance(sink, _Unseekable) else sink.getvalue()


def by_macos() -> bytes:
    """Return what macOS makes of a folder: descriptors, resource forks, names as bare UTF-8."""
    stamp = extra(0x5855, bytes(8))
    name = "Export été 😀/conversations.json".encode()
    fork = "__MACOSX/Export été 😀/._conversations.json".encode()
    return build(
        Part("Export été 😀/".encode(), b"", STORED, central=Record(attributes=0o40755 << 16)),
        described("signed32", name=name, local=Record(extra=stamp), central=Record(extra=stamp)),
        Part(b"__MACOSX/", b"", STORED, central=Record(attributes=0o40755 << 16)),
        described("signed32", name=fork, content=b"\0\5\x16\7" * 30),
    )


def infozip_name() -> bytes:
    """Return an archive whose name is ASCII in the header and Unicode in an extra field."""
    name = b"caf#U00e9.json"
    field_ = extra(0x7075, b"\1" + struct.pack("<I", zlib.crc32(name)) + "café.json".encode())
    return build(Part(name, central=Record(extra=field_), local=Record(extra=field_)))


_SIZES = (len(deflate(TEXT)), len(TEXT))

LEGITIMATE: dict[str, Callable[[], bytes]] = {
    "plain": lambda: build(Part()),
    "stored": lambda: build(Part(method=STORED), Part(b"empty", b"", STORED)),
    "deflated-empty": lambda: build(Part(b"empty", b"")),
    "python": by_zipfile,
    "python-stored": lambda: by_zipfile(method=STORED),
    "python-zip64": lambda: by_zipfile(force_zip64=True),
    "python-streamed": lambda: by_zipfile(streamed=True),
    "python-streamed-zip64": lambda: by_zipfile(streamed=True, force_zip64=True),
    "macos": by_macos,
    "infozip-unicode-name": infozip_name,
    "signed32": lambda: build(described("signed32"), Part(b"b")),
    "plain32": lambda: build(described("plain32"), Part(b"b")),
    "signed64": lambda: build(described("signed64"), Part(b"b")),
    "plain64": lambda: build(described("plain64"), Part(b"b")),
    "descriptor-and-local-sizes": lambda: build(
        described(
            "signed32",
            local=Record(
                crc32=zlib.crc32(TEXT), compressed_size=_SIZES[0], size=_SIZES[1]
            ),
        )
    ),
    "local-zip64-markers": lambda: build(
        Part(
            local=Record(
                compressed_size=MARK32, size=MARK32, extra=zip64_extra(_SIZES[1], _SIZES[0])
            )
        )
    ),
    "central-zip64-markers": lambda: build(
        Part(
            central=Record(
                compressed_size=MARK32, size=MARK32, offset=MARK32,
                extra=zip64_extra(_SIZES[1], _SIZES[0], 0),
            )
        )
    ),
    "central-zip64-offset-only": lambda: build(
        Part(central=Record(offset=MARK32, extra=zip64_extra(0)))
    ),
    "zip64-extra-not-needed": lambda: build(
        Part(
            local=Record(extra=zip64_extra(_SIZES[1], _SIZES[0])),
            central=Record(extra=zip64_extra(_SIZES[1], _SIZES[0], 0)),
        )
    ),
    "zip64-end": lambda: build(Part(), end=End(zip64=True)),
    "zip64-end-markers": lambda: build(
        Part(), end=End(zip64=True, count=MARK16, size=MARK32, offset=MARK32)
    ),
    "zip64-end-extensible": lambda: build(Part(), end=End(zip64=True, extensible=b"12345678")),
    "comments": lambda: build(
        Part(central=Record(comment=b"about a member")), end=End(comment=b"about the archive")
    ),
    "alignment-padding": lambda: build(Part(local=Record(extra=b"\0\0\0"))),
    "utf8-flag": lambda: build(Part("é.json".encode(), flags=UTF8)),
    "code-page-name": lambda: build(Part(b"\x82.json")),
    "backslashes": lambda: build(Part(b"dalle-generations\\file-1.webp")),
    "fifo-type": lambda: build(Part(central=Record(attributes=0o10600 << 16))),
    "two-files-one-prefix": lambda: build(Part(b"a"), Part(b"a.b"), Part(b"a-c/d"), Part(b"ab")),
    "directory-and-its-files": lambda: build(Part(b"a/", b"", STORED), Part(b"a/b"), Part(b"a/c")),
    "directory-not-in-file-order": lambda: reordered(),
}  # fmt: skip


def reordered() -> bytes:
    """Return an archive whose directory lists its members in reverse."""
    parts = [Part(b"a"), Part(b"b"), Part(b"c")]
    data = build(*parts)
    end = data.rindex(b"PK\x05\x06")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    entries = data[start:end].split(b"PK\x01\x02")[1:]
    return data[:start] + b"".join(b"PK\x01\x02" + entry for entry in entries[::-1]) + data[end:]
