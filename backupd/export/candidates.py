"""Which encoders to try on a stream, the likeliest first.

zlib's output depends on its parameters alone. zlib-ng and ISA-L write other bytes when they are fed
in other pieces (zlib-ng 2.3.3 at levels 1, 5 and 6, where only 5 and 6 heed memLevel; ISA-L at all
but 0), so the pieces that programs usually feed are tried too.

Two are never tried. Level 0 of zlib and zlib-ng depends on the buffers of the program that wrote
it. ISA-L's level 3 writes other bytes on processors with AVX2, with AVX-512 and with neither: a ZIP
that only processors of one kind can rebuild is better kept as it came. (Measured with isal 1.9.1;
its other levels, zlib-ng and libdeflate made the same of the sample on all three.)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import product

from backupd.export.archive_rules import KIB
from backupd.export.encoders import (
    ISAL,
    LIBDEFLATE,
    STEP,
    ZLIB_NG,
    Encoder,
    Flush,
    candidate,
    version,
)

_FEEDS = tuple(size * KIB for size in (8, 64, 16, 32, 80, 128, 256, 4))
MARKED = (Flush.SYNC, Flush.FULL)
"""Flushes that leave a marker in the stream."""
PARTIAL_PERIODS = tuple(size * KIB for size in (64, 32, 16, 8, 128, 4))


def _zlibs() -> tuple[Encoder, ...]:
    """Order zlib's parameters by how likely a ZIP writer is to use them."""
    first = [Encoder(6, 8), Encoder(9, 8), Encoder(1, 8), Encoder(9, 9), Encoder(6, 9)]
    others = [Encoder(level, mem) for mem in (8, 9) for level in (5, 7, 8, 4, 3, 2, 1)]
    strategies = [
        Encoder(6, mem, strategy)
        for strategy in (zlib.Z_FILTERED, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
        for mem in (8, 9)
    ]
    small = [Encoder(level, mem) for level in (6, 9, 1) for mem in (7, 6, 5, 4, 3, 2, 1)]
    windows = [Encoder(6, 8, window=window) for window in range(14, 8, -1)]
    return tuple(dict.fromkeys((*first, *others, *strategies, *small, *windows)))


ZLIBS = _zlibs()
USUAL = ZLIBS[:5]
"""The parameters that nearly all writers use."""


def streaming() -> Iterator[Encoder]:
    """Yield the encoders of installed libraries that make streams in bounded memory."""
    if version(ZLIB_NG) is not None:
        for level, feed in product((6, 1, 5), _FEEDS):
            yield candidate(ZLIB_NG, level, 8, feed)
        for level, mem_level in product((9, 7, 8, 4, 3, 2), (8, 9)):
            yield candidate(ZLIB_NG, level, mem_level, STEP)
        for level, feed in product((6, 5), _FEEDS):
            yield candidate(ZLIB_NG, level, 9, feed)
    if version(ISAL) is not None:
        yield candidate(ISAL, 0, 8, STEP)
        for mem_level, level, feed in product((8, 9), (2, 1), _FEEDS):
            yield candidate(ISAL, level, mem_level, feed)


def whole() -> Iterator[Encoder]:
    """Yield the encoders of installed libraries that want all content at once."""
    if version(LIBDEFLATE) is not None:
        for level in (6, 12, 9, 1, 7, 8, 5, 4, 3, 2, 10, 11):
            yield candidate(LIBDEFLATE, level, 0)
    if version(ZLIB_NG) is not None:
        for level, mem_level in product((6, 1, 5), (8, 9)):
            yield candidate(ZLIB_NG, level, mem_level)
    if version(ISAL) is not None:
        for level, mem_level in product((2, 1), (8, 9)):
            yield candidate(ISAL, level, mem_level)


def flushing() -> Iterator[Encoder]:
    """Yield the encoders to try on a stream that shows flushes; each piece is fed at once."""
    yield from ZLIBS[:19]  # all levels
    if version(ZLIB_NG) is not None:
        for level in (6, 9, 1, 5, 7, 8, 4, 3, 2):
            yield candidate(ZLIB_NG, level, 8, STEP)
    if version(ISAL) is not None:
        for level, mem_level in product((2, 1, 0), (8, 9)):
            yield candidate(ISAL, level, mem_level, STEP)
