"""Find the encoder that wrote a deflate stream, and write the stream again from its content.

A ZIP comes back byte for byte only if its streams do. Nearly all writers use zlib, whose output
depends on the content and a few parameters alone, so content plus `Encoder` replaces the stream;
for writers that flush, or use another library, `Encoder` holds what else their output depends on.
Rules that must stay in this file: an encoder is always fed in exact pieces, of `feed` bytes and
ending at flushes, whatever the chunks of the caller, so that what a proof saw is what a later
rebuild does.

The libraries release the interpreter lock for pieces of this size, so proofs run well in threads.
Read next: `encoders` (what there is), `identify` (how the right one is found).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import BinaryIO

from backupd.errors import RebuildImpossible
from backupd.export.archive_members import DEFLATED, Member, read_member, read_raw
from backupd.export.archive_rules import DEFAULT, ArchiveLimits, ArchiveRefused
from backupd.export.candidates import MARKED
from backupd.export.encoders import STEP, Encoder
from backupd.export.flushes import FlushScan, scanned
from backupd.export.identify import CANDIDATES, agreeing, identify
from backupd.export.writing import Deflater, encode

__all__ = [
    "CANDIDATES",
    "STEP",
    "Encoder",
    "Proof",
    "Search",
    "agreeing",
    "encode",
    "find_encoder",
    "identify",
    "reproduces",
]

_MAX_PROOFS = 4
_MISSES = 4


class Proof:
    """Compares the stream an encoder makes of content with a known stream, while content passes.

    `raw` yields the known stream and is read only as far as output is there to compare. For use
    in a thread of its own, `raw` must come from a file object that no other thread uses.
    """

    def __init__(self, encoder: Encoder, raw: Iterable[bytes]) -> None:
        self._deflater = Deflater(encoder)
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


def reproduces(
    file: BinaryIO, member: Member, encoder: Encoder, limits: ArchiveLimits = DEFAULT
) -> bool:
    """Prove in full whether `encoder` makes a deflated member's stream from its content.

    Streams in bounded memory and stops at the first difference. A damaged member is False, and so
    is an encoder that this machine does not have.
    """
    if member.method != DEFLATED:
        return False
    try:
        proof = Proof(encoder, read_raw(file, member))
        for chunk in read_member(file, member, limits):
            if not proof.feed(chunk):
                return False
        return proof.finish()
    except (ArchiveRefused, RebuildImpossible):
        return False


def find_encoder(
    file: BinaryIO,
    member: Member,
    first: Encoder | None = None,
    limits: ArchiveLimits = DEFAULT,
    *,
    thorough: bool = True,
) -> Encoder | None:
    """Return an encoder that is proved in full to reproduce a member's stream, or None.

    At most `_MAX_PROOFS` of the agreeing encoders are proved, the likeliest first; each also with
    the flushes that the stream shows only after its head. `thorough` as for `agreeing`.
    """
    if member.method != DEFLATED:
        return None
    found = agreeing(read_raw(file, member), first, member.size, thorough=thorough)
    scan: FlushScan | None = None
    for encoder in islice(found, _MAX_PROOFS):
        if reproduces(file, member, encoder, limits):
            return encoder
        scan = scan or scanned(read_raw(file, member))
        for variant in _flushing_late(encoder, scan):
            if reproduces(file, member, variant, limits):
                return variant
    return None


def _flushing_late(encoder: Encoder, scan: FlushScan) -> Iterator[Encoder]:
    """Yield an encoder that fits the head, with the flushes that come after it."""
    for kind in MARKED if encoder.flushes is None else ():
        flushes = scan.flushes(kind)
        if flushes is not None:
            yield replace(encoder, flushes=flushes)


class Search:
    """Finds the encoders of one archive's members, which nearly always share theirs.

    The last one found is tried first. After some members in a row of an unknown encoder only the
    usual ones are tried, so that an archive of thousands of them costs no more than a few seconds.
    """

    def __init__(self) -> None:
        self._first: Encoder | None = None
        self._misses = 0

    def guess(self, file: BinaryIO, member: Member) -> Encoder | None:
        """Return the likeliest encoder of a member, unproved, or None."""
        if member.method != DEFLATED:
            return None
        raw = read_raw(file, member)
        found = agreeing(raw, self._first, member.size, thorough=self._is_thorough())
        return self._noted(next(found, None))

    def prove(self, file: BinaryIO, member: Member) -> Encoder | None:
        """Return an encoder that is proved in full, or None."""
        if member.method != DEFLATED:
            return None
        found = find_encoder(file, member, self._first, thorough=self._is_thorough())
        return self._noted(found)

    def _is_thorough(self) -> bool:
        return self._misses < _MISSES

    def _noted(self, found: Encoder | None) -> Encoder | None:
        self._first = found or self._first
        self._misses = 0 if found else self._misses + 1
        return found
