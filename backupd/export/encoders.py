"""What can write a deflate stream: this Python's zlib, and libraries that may stand beside it.

zlib-ng, ISA-L and libdeflate write other bytes than zlib. They come with the extra `encoders`, are
loaded when a stream asks for one, and everything but such a stream works without them. Their bytes
may change with their version and with the processor. So an encoder found for a stream carries a
*mark*: what it makes of a fixed sample, hashed. Where the mark comes out differently, the encoder
is not the same, whatever its version says.

Rules that must stay in this file: it alone names these libraries; an encoder that carries a mark
is never used before the mark was compared.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from itertools import count
from typing import Protocol

from backupd.errors import RebuildImpossible
from backupd.export.archive_rules import KIB

STEP = 256 * KIB
MARK_SIZE = 4
EXTRA = "backupd[encoders]"
REMEDY = f"install {EXTRA}, see docs/install.md"
ZLIB_NG, ISAL, LIBDEFLATE = "zlib-ng", "isal", "libdeflate"
LIBRARIES = (ZLIB_NG, ISAL, LIBDEFLATE)
PACKAGES = {ZLIB_NG: "zlib-ng", ISAL: "isal", LIBDEFLATE: "deflate"}
"""What each is called in the package index."""


class Flush(IntEnum):
    """How a writer flushed; the numbers are zlib's."""

    PARTIAL = 1
    SYNC = 2
    FULL = 3


@dataclass(frozen=True, slots=True)
class Flushes:
    """Where a writer flushed, in bytes of content from the start.

    Either after every `period` bytes, and with `at_end` after the last of them too, however few
    they are; or, with period 0, at `points`, which ascend.
    """

    kind: Flush
    period: int = 0
    at_end: bool = False
    points: tuple[int, ...] = ()

    def cuts(self) -> Iterator[int]:
        """Yield where content is flushed if more content follows, ascending; maybe for ever."""
        return count(self.period, self.period) if self.period else iter(self.points)


@dataclass(frozen=True, slots=True)
class Library:
    """An optional library: its name, the version of its package, the mark of one encoder of it.

    An empty mark is that of a candidate, which has not been found to fit anything yet.
    """

    name: str
    version: str
    mark: bytes = b""


@dataclass(frozen=True, slots=True)
class Encoder:
    """What wrote one raw deflate stream.

    `window` is the base-two logarithm of the window size. `feed` is how many bytes of content at
    a time the writer handed over, 0 for all at once; it changes nothing of what zlib writes.
    `library` is None for this Python's zlib. libdeflate knows a level only, and no flushes.
    """

    level: int
    mem_level: int
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    window: int = zlib.MAX_WBITS
    feed: int = STEP
    flushes: Flushes | None = None
    library: Library | None = None

    @property
    def is_plain(self) -> bool:
        """Whether level, memLevel and strategy say all there is to say."""
        return self == Encoder(self.level, self.mem_level, self.strategy)

    @property
    def text(self) -> str:
        """Say it in one line, for the manifest: library, version, level, memLevel, strategy…"""
        name = f"{self.library.name} {self.library.version}" if self.library else "zlib"
        parts = [name, f"{self.level} {self.mem_level} {self.strategy}"]
        if self.window != zlib.MAX_WBITS:
            parts.append(f"window {self.window}")
        if self.feed != STEP:
            parts.append(f"feed {self.feed}")
        if self.flushes is not None:
            often = self.flushes.period or f"{len(self.flushes.points)} points"
            parts.append(f"{self.flushes.kind.name.lower()} flush {often}")
        return " ".join(parts)


class Compressor(Protocol):
    """What zlib's compression objects do."""

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Take content, return what is ready."""

    def flush(self, mode: int = zlib.Z_FINISH, /) -> bytes:
        """Return what is left, and end the stream unless `mode` says otherwise."""


class _Libdeflate:
    """libdeflate behind the same face: one call makes the whole stream."""

    def __init__(self, level: int) -> None:
        self._level = level

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        """Return the whole stream of `data`."""
        import deflate

        return bytes(deflate.deflate_compress(bytes(data), self._level))

    def flush(self, _mode: int = zlib.Z_FINISH, /) -> bytes:
        """Return nothing; the stream is whole already."""
        return b""


def compressor(encoder: Encoder) -> Compressor:
    """Return an object that writes one stream.

    Raises:
        RebuildImpossible: this machine has no such encoder.
    """
    numbers = (
        encoder.level, zlib.DEFLATED, -encoder.window, encoder.mem_level, encoder.strategy,
    )  # fmt: skip
    try:
        if encoder.library is None:
            return zlib.compressobj(*numbers)
        require(encoder)
        return _MAKERS[encoder.library.name](numbers)
    except (ValueError, zlib.error, KeyError) as error:
        raise RebuildImpossible(
            f"rebuild: there is no encoder {encoder.text}", "use a newer backupd"
        ) from error


def require(encoder: Encoder) -> None:
    """Compare an encoder with the one of that name here; nothing is asked of zlib.

    Raises:
        RebuildImpossible: the library is not here, or writes other bytes; `hint` is the remedy.
    """
    library = encoder.library
    if library is None or not library.mark:
        return
    there = version(library.name)
    package = PACKAGES.get(library.name, library.name)
    if there is None:
        raise RebuildImpossible(
            f"rebuild: it needs {library.name} ({package} {library.version}), which is not here",
            f"{REMEDY}, or beside backupd just {package}=={library.version}",
        )
    if mark(encoder) != library.mark:
        raise RebuildImpossible(
            f"rebuild: {library.name} here ({package} {there}) writes other bytes than the one that"
            f" was used ({library.version})",
            f"install {package}=={library.version} beside backupd; if that does not help, use a"
            " machine with another processor",
        )


def is_usable(encoder: Encoder) -> bool:
    """Say whether this machine has the encoder."""
    try:
        require(encoder)
    except RebuildImpossible:
        return False
    return True


def candidate(library: str, level: int, mem_level: int = 8, feed: int = 0) -> Encoder:
    """Return an encoder of an installed library, without a mark yet."""
    found = Library(library, version(library) or "")
    return Encoder(level, mem_level, feed=feed, library=found)


def marked(encoder: Encoder) -> Encoder:
    """Return the encoder with the mark that it has here."""
    if encoder.library is None:
        return encoder
    return replace(encoder, library=replace(encoder.library, mark=mark(encoder)))


def mark(encoder: Encoder) -> bytes:
    """Return what tells this machine's encoder from another of the same name; takes 10 ms once."""
    if encoder.library is None:
        return b""
    bare = replace(encoder.library, mark=b"")
    return _mark(replace(encoder, flushes=None, library=bare))


def installed() -> tuple[str, ...]:
    """Return the libraries that are here, in the order of `LIBRARIES`."""
    return tuple(name for name in LIBRARIES if version(name) is not None)


def missing() -> tuple[str, ...]:
    """Return the libraries that are not here, in the order of `LIBRARIES`."""
    return tuple(name for name in LIBRARIES if version(name) is None)


def version(library: str) -> str | None:
    """Return the version of a library's package here, or None if it is not installed."""
    try:
        return _VERSIONS[library]()
    except (ImportError, KeyError):
        return None


def _zlib_ng_version() -> str:
    import zlib_ng

    return str(zlib_ng.__version__)


def _isal_version() -> str:
    import isal

    return str(isal.__version__)


def _libdeflate_version() -> str:
    import deflate

    return str(deflate.__version__)


Numbers = tuple[int, int, int, int, int]


def _zlib_ng(numbers: Numbers) -> Compressor:
    from zlib_ng import zlib_ng

    made: Compressor = zlib_ng.compressobj(*numbers)
    return made


def _isal(numbers: Numbers) -> Compressor:
    from isal import isal_zlib

    made: Compressor = isal_zlib.compressobj(*numbers)
    return made


def _libdeflate(numbers: Numbers) -> Compressor:
    return _Libdeflate(numbers[0])


_VERSIONS: dict[str, Callable[[], str]] = {
    ZLIB_NG: _zlib_ng_version,
    ISAL: _isal_version,
    LIBDEFLATE: _libdeflate_version,
}
_MAKERS: dict[str, Callable[[Numbers], Compressor]] = {
    ZLIB_NG: _zlib_ng,
    ISAL: _isal,
    LIBDEFLATE: _libdeflate,
}


@cache
def _mark(encoder: Encoder) -> bytes:
    sample = _sample()
    step = encoder.feed or len(sample)
    made = compressor(encoder)
    digest = hashlib.sha256()
    for start in range(0, len(sample), step):
        digest.update(made.compress(sample[start : start + step]))
    digest.update(made.flush())
    return digest.digest()[:MARK_SIZE]


@cache
def _sample() -> bytes:
    """Return 156 KiB that hold what matters: near and far repeats, numbers, noise, runs.

    Part of the format: marks in repositories were made of it.
    """
    words = b"the conversation of a person with a model that was asked what it thinks".split()
    state = 1
    parts = []
    for number in range(1500):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        text = b" ".join(words[state >> shift & 7] for shift in range(8, 28, 2))
        parts.append(b'{"id": "%08x", "n": %d, "text": "%s"}, ' % (state, number, text))
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(512))
    return b"".join(parts) + noise + bytes(16 * KIB) + noise[: 8 * KIB]
