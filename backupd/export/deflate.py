"""Find the deflate parameters that wrote a stream, and write it again from its content.

A ZIP comes back byte for byte only if its streams do. Nearly all writers use zlib, whose output
depends on the content and three parameters alone, so content plus `Encoder` replaces the stream.
Rules that must stay in this file: zlib is always fed in exact steps of `STEP` bytes, whatever the
chunks of the caller, so that what a proof saw is what a later rebuild does; and level 0 is never
tried, because its output depends on the buffers of the program that wrote it.

zlib releases the interpreter lock for pieces of this size, so proofs run well in threads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from backupd.export.archive_members import DEFLATED, Member, read_member, read_raw
from backupd.export.archive_rules import DEFAULT, KIB, MIB, ArchiveLimits, ArchiveRefused

STEP = 256 * KIB
HEAD = 200 * KIB
_HEAD_CONTENT = 8 * MIB
_TRIAL_STEP = 64 * KIB
_MAX_PROOFS = 4


@dataclass(frozen=True, slots=True, order=True)
class Encoder:
    """zlib's parameters for one raw deflate stream (window of 32 KiB)."""

    level: int
    mem_level: int
    strategy: int = zlib.Z_DEFAULT_STRATEGY


def _candidates() -> tuple[Encoder, ...]:
    """Order all parameters by how likely a ZIP writer is to use them."""
    first = [Encoder(6, 8), Encoder(9, 8), Encoder(1, 8), Encoder(9, 9), Encoder(6, 9)]
    others = [Encoder(level, mem) for mem in (8, 9) for level in (5, 7, 8, 4, 3, 2, 1)]
    strategies = [
        Encoder(6, mem, strategy)
        for strategy in (zlib.Z_FILTERED, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)
        for mem in (8, 9)
    ]
    small = [Encoder(level, mem) for level in (6, 9, 1) for mem in (7, 6, 5, 4, 3, 2, 1)]
    return tuple(dict.fromkeys((*first, *others, *strategies, *small)))


CANDIDATES = _candidates()


class _Deflater:
    """A deflate stream written in steps of exactly `STEP` bytes."""

    def __init__(self, encoder: Encoder) -> None:
        self._zlib = zlib.compressobj(
            encoder.level, zlib.DEFLATED, -zlib.MAX_WBITS, encoder.mem_level, encoder.strategy
        )
        self._pending = bytearray()

    def feed(self, content: bytes) -> bytes:
        """Take content and return the compressed bytes that are ready."""
        if not self._pending and len(content) == STEP:
            return self._zlib.compress(content)
        self._pending += content
        done = len(self._pending) - len(self._pending) % STEP
        if not done:
            return b""
        with memoryview(self._pending) as view:
            parts = [
                self._zlib.compress(view[start : start + STEP]) for start in range(0, done, STEP)
            ]
        del self._pending[:done]
        return b"".join(parts)

    def finish(self) -> bytes:
        """Return the rest of the stream."""
        return self._zlib.compress(self._pending) + self._zlib.flush()


def encode(chunks: Iterable[bytes], encoder: Encoder) -> Iterator[bytes]:
    """Yield the deflate stream of `chunks`; the same bytes for the same content, always.

    Memory is that of zlib, one step and one chunk of the caller.
    """
    deflater = _Deflater(encoder)
    for chunk in chunks:
        if ready := deflater.feed(chunk):
            yield ready
    yield deflater.finish()


class Proof:
    """Compares the stream an encoder makes of content with a known stream, while content passes.

    `raw` yields the known stream and is read only as far as output is there to compare. For use
    in a thread of its own, `raw` must come from a file object that no other thread uses.
    """

    def __init__(self, encoder: Encoder, raw: Iterable[bytes]) -> None:
        self._deflater = _Deflater(encoder)
        self._raw = iter(raw)
        self._expected = b""
        self._position = 0
        self._holds = True

    @property
    def holds(self) -> bool:
        """False as soon as one byte differed; then nothing more is compressed."""
        return self._holds

    def feed(self, content: bytes) -> bool:
        """Take the next content and return `holds`."""
        if self._holds and (made := self._deflater.feed(content)):
            self._holds = self._compare(made)
        return self._holds

    def finish(self) -> bool:
        """End the content; true if both streams were equal to their ends."""
        if self._holds:
            self._holds = self._compare(self._deflater.finish()) and self._at_end()
        return self._holds

    def _compare(self, made: bytes) -> bool:
        start = 0
        while start < len(made):
            if self._position == len(self._expected) and not self._advance():
                return False
            size = min(len(made) - start, len(self._expected) - self._position)
            expected = self._expected[self._position : self._position + size]
            if made[start : start + size] != expected:
                return False
            start += size
            self._position += size
        return True

    def _advance(self) -> bool:
        """Fetch the next piece of the known stream that is not empty."""
        for chunk in self._raw:
            if chunk:
                self._expected, self._position = chunk, 0
                return True
        return False

    def _at_end(self) -> bool:
        return self._position == len(self._expected) and not self._advance()


def identify(raw_head: Iterable[bytes], first: Encoder | None = None) -> Encoder | None:
    """Return the most likely encoder that agrees with the first 200 KiB of a stream, or None.

    Takes from `raw_head` only as much as it needs. `first` is tried before all others: members of
    one archive nearly always share their encoder. An answer is a guess until it is proved; None
    is certain for the parameters in `CANDIDATES`.
    """
    return next(agreeing(raw_head, first), None)


def agreeing(raw_head: Iterable[bytes], first: Encoder | None = None) -> Iterator[Encoder]:
    """Yield every encoder that agrees with the head of a stream, most likely first.

    Several can: incompressible data looks alike at many levels until a match turns up.
    """
    head = b"".join(_take(raw_head, HEAD))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(head, _HEAD_CONTENT)
    except zlib.error:
        return
    if not content and not inflater.eof:
        return
    order = CANDIDATES if first is None else tuple(dict.fromkeys((first, *CANDIDATES)))
    for encoder in order:
        if _agrees(encoder, content, head, ends=inflater.eof):
            yield encoder


def _take(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield chunks until `size` bytes are reached."""
    for chunk in chunks:
        yield chunk
        size -= len(chunk)
        if size <= 0:
            return


def _agrees(encoder: Encoder, content: bytes, head: bytes, *, ends: bool) -> bool:
    """Say whether compressing `content` begins with, or when it `ends` is, the stream `head`."""
    deflater = zlib.compressobj(
        encoder.level, zlib.DEFLATED, -zlib.MAX_WBITS, encoder.mem_level, encoder.strategy
    )
    position = 0
    for start in range(0, len(content), _TRIAL_STEP):
        made = deflater.compress(content[start : start + _TRIAL_STEP])
        if not head.startswith(made[: len(head) - position], position):
            return False
        position += len(made)
        if position >= len(head) and not ends:
            return True
    return not ends or head[position:] == deflater.flush()


def reproduces(
    file: BinaryIO, member: Member, encoder: Encoder, limits: ArchiveLimits = DEFAULT
) -> bool:
    """Prove in full whether `encoder` makes a deflated member's stream from its content.

    Streams in bounded memory and stops at the first difference. A damaged member is False.
    """
    if member.method != DEFLATED:
        return False
    proof = Proof(encoder, read_raw(file, member))
    try:
        for chunk in read_member(file, member, limits):
            if not proof.feed(chunk):
                return False
    except ArchiveRefused:
        return False
    return proof.finish()


def find_encoder(
    file: BinaryIO,
    member: Member,
    first: Encoder | None = None,
    limits: ArchiveLimits = DEFAULT,
) -> Encoder | None:
    """Return an encoder that is proved in full to reproduce a member's stream, or None.

    At most `_MAX_PROOFS` of the agreeing encoders are proved, the likeliest first.
    """
    if member.method != DEFLATED:
        return None
    for encoder in islice(agreeing(read_raw(file, member), first), _MAX_PROOFS):
        if reproduces(file, member, encoder, limits):
            return encoder
    return None
