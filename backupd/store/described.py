"""The bytes that describe an encoder in a recipe, where three numbers do not say all. Pure.

A MessagePack array: level, memLevel, strategy, window, feed, library, version, mark, kind of flush,
period, at end, and the distances from one flush to the next. No library is an empty name, no flush
kind 0. See `backupd.export.encoders` for what they mean.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import msgspec

from backupd.export.encoders import Encoder, Flush, Flushes, Library


class _Description(msgspec.Struct, array_like=True, frozen=True):
    """The array."""

    level: int
    mem_level: int
    strategy: int
    window: int
    feed: int
    library: str
    version: str
    mark: bytes
    flush: int
    period: int
    at_end: bool
    distances: tuple[int, ...]


def encode(encoder: Encoder) -> bytes:
    """Return an encoder's bytes."""
    flushes, library = encoder.flushes, encoder.library or Library("", "")
    return msgspec.msgpack.encode(
        _Description(
            encoder.level,
            encoder.mem_level,
            encoder.strategy,
            encoder.window,
            encoder.feed,
            library.name,
            library.version,
            library.mark,
            flushes.kind if flushes else 0,
            flushes.period if flushes else 0,
            flushes.at_end if flushes else False,
            tuple(b - a for a, b in pairwise((0, *flushes.points))) if flushes else (),
        )
    )


def decode(data: bytes) -> Encoder:
    """Return the encoder with these bytes.

    Raises:
        ValueError: they describe none.
    """
    try:
        found = msgspec.msgpack.decode(data, type=_Description)
    except msgspec.MsgspecError as error:
        raise ValueError("no description of an encoder") from error
    numbers = (found.level, found.mem_level, found.strategy, found.window, found.feed, found.period)
    if min(*numbers, *found.distances) < 0:
        raise ValueError("a negative number")
    flushes = None
    if found.flush:
        points = tuple(accumulate(found.distances))
        flushes = Flushes(Flush(found.flush), found.period, found.at_end, points)
    library = Library(found.library, found.version, found.mark) if found.library else None
    return Encoder(
        found.level, found.mem_level, found.strategy, found.window, found.feed, flushes, library
    )
