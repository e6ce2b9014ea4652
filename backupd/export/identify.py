"""Find the encoders that agree with the beginning of a deflate stream.

Costs: a candidate is given up at the first byte that differs, mostly after the first block; what
it takes to find that nothing agrees is in `docs/measurements.md`. Memory is a few MiB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from backupd.export import candidates
from backupd.export.archive_rules import KIB, MIB
from backupd.export.encoders import STEP, Encoder, Flush, Flushes, is_usable, marked
from backupd.export.flushes import MARKER, FlushScan
from backupd.export.writing import WHOLE, Deflater

HEAD = 200 * KIB
CANDIDATES = candidates.ZLIBS
_HEAD_CONTENT = 8 * MIB
_TRIAL_STEP = 64 * KIB
_TRIAL_WHOLE = 384 * KIB
"""More than the longest block that libdeflate makes (300,000 bytes), so that one is compared."""
_LEAST_COMMON = 4 * KIB


@dataclass(frozen=True, slots=True)
class _Head:
    """The beginning of a stream and its content; `ends` if that is all."""

    raw: bytes
    content: bytes
    ends: bool


def identify(raw_head: Iterable[bytes], first: Encoder | None = None) -> Encoder | None:
    """Return the most likely encoder that agrees with the first 200 KiB of a stream, or None.

    Takes from `raw_head` only as much as it needs: all of it only if the stream shows flushes.
    `first` is tried before all others: members of one archive nearly always share their encoder.
    An answer is a guess until it is proved; None is certain for the parameters in `CANDIDATES`.
    """
    return next(agreeing(raw_head, first), None)


def agreeing(
    raw_head: Iterable[bytes],
    first: Encoder | None = None,
    size: int | None = None,
    *,
    thorough: bool = True,
) -> Iterator[Encoder]:
    """Yield every encoder that agrees with the head of a stream, most likely first.

    Several can: incompressible data looks alike at many levels until a match turns up. `size` is
    that of the content, if known. Unless `thorough`, only `first` and the usual ones are tried.
    """
    raw = iter(raw_head)
    head = _head(raw)
    if head is None:
        return
    if first is not None:
        first = replace(first, flushes=None) if is_usable(first) else None
    if MARKER in head.raw:
        yield from _flushing(head, raw, first, thorough=thorough)
    small = head.ends or (size is not None and size <= WHOLE)
    for encoder in _ordered(first, CANDIDATES if thorough else candidates.USUAL):
        if _agrees(encoder, head) if encoder.feed else small and _common(encoder, head):
            yield encoder
    if thorough:
        yield from _others(head, small=small)


def _head(raw: Iterator[bytes]) -> _Head | None:
    data = b"".join(_take(raw, HEAD))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(data, _HEAD_CONTENT)
    except zlib.error:
        return None
    return _Head(data, content, inflater.eof) if content or inflater.eof else None


def _take(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield chunks until `size` bytes are reached."""
    for chunk in chunks:
        yield chunk
        size -= len(chunk)
        if size <= 0:
            return


def _ordered(first: Encoder | None, others: Iterable[Encoder]) -> Iterator[Encoder]:
    if first is not None:
        yield first
    yield from (encoder for encoder in others if encoder != first)


def _flushing(
    head: _Head, raw: Iterator[bytes], first: Encoder | None, *, thorough: bool
) -> Iterator[Encoder]:
    """Yield encoders that agree when they flush where the head shows it; then read the rest."""
    scan = FlushScan()
    scan.feed(head.raw)
    seen = scan.listed(Flush.SYNC)
    if seen is None:
        return
    bases = candidates.flushing() if thorough else candidates.USUAL
    for base, kind in product(_ordered(first, bases), candidates.MARKED):
        if not _agrees(replace(base, flushes=replace(seen, kind=kind)), head):
            continue
        for chunk in raw:
            scan.feed(chunk)
        flushes = scan.flushes(kind)
        if flushes is not None:
            yield marked(replace(base, flushes=flushes))


def _others(head: _Head, *, small: bool) -> Iterator[Encoder]:
    """Yield agreeing encoders that are not zlib, or zlib with flushes that leave no marker."""
    for encoder in candidates.streaming():
        if _agrees(encoder, head):
            yield marked(encoder)
    if small:
        fitting = [(_common(encoder, head), encoder) for encoder in candidates.whole()]
        for common, encoder in sorted(fitting, key=lambda pair: -pair[0]):
            if common:
                yield marked(encoder)
    for encoder, period in product(candidates.USUAL[:3], candidates.PARTIAL_PERIODS):
        at_end = replace(encoder, flushes=Flushes(Flush.PARTIAL, period, at_end=True))
        before = replace(encoder, flushes=Flushes(Flush.PARTIAL, period))
        agreed = _agrees(at_end, head)
        if agreed:
            yield at_end
        if _agrees(before, head) if head.ends else agreed:
            yield before


def _agrees(encoder: Encoder, head: _Head) -> bool:
    """Say whether compressing the head's content begins with, or at an end is, the stream."""
    if encoder.library is None and encoder.feed == STEP:
        encoder = replace(encoder, feed=_TRIAL_STEP)  # the same bytes, seen sooner
    deflater = Deflater(encoder)
    position = 0
    for start in range(0, len(head.content), _TRIAL_STEP):
        made = deflater.feed(head.content[start : start + _TRIAL_STEP])
        if not head.raw.startswith(made[: len(head.raw) - position], position):
            return False
        position += len(made)
        if position >= len(head.raw) and not head.ends:
            return True
    if head.ends:
        return head.raw[position:] == deflater.finish()
    return position >= _LEAST_COMMON  # ISA-L may hold back more than there is of the content


def _common(encoder: Encoder, head: _Head) -> int:
    """Return how many bytes agree when all content is taken at once, 0 if too few do.

    Content that is cut off makes another last block, so a part is all that can agree.
    """
    content = head.content[:_TRIAL_WHOLE]
    made = _at_once(encoder, content)
    if len(content) == len(head.content) and head.ends:
        return len(made) if made == head.raw else 0
    common = _common_prefix(made, head.raw)
    if common < min(_LEAST_COMMON, len(made) // 4):
        return 0
    if head.ends and _at_once(encoder, head.content) != head.raw:
        return 0
    return common


def _at_once(encoder: Encoder, content: bytes) -> bytes:
    deflater = Deflater(encoder)
    return deflater.feed(content) + deflater.finish()


def _common_prefix(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
