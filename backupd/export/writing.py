"""Write a deflate stream in exactly the pieces that its encoder asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backupd.errors import RebuildImpossible
from backupd.export.archive_rules import MIB
from backupd.export.encoders import Encoder, compressor

WHOLE = 8 * MIB
"""Largest content that is ever held at once, for an encoder that takes all of it in one call."""


class Deflater:
    """One deflate stream while it is written.

    A flush is written when content follows it or at the end, so the end need not be known before.

    Raises:
        RebuildImpossible: from the constructor, if this machine has no such encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._compressor = compressor(encoder)
        self._feed = encoder.feed
        self._flushes = encoder.flushes
        self._pending = bytearray()
        self._position = 0
        self._due = False
        self._cuts = encoder.flushes.cuts() if encoder.flushes else iter(())
        self._cut = -1
        self._reach()

    def feed(self, content: bytes) -> bytes:
        """Take content and return the compressed bytes that are ready.

        Raises:
            RebuildImpossible: more than `WHOLE` bytes for an encoder that wants all at once.
        """
        if self._feed == len(content) > 0 == len(self._pending) and self._flushes is None:
            return self._compressor.compress(content)
        self._pending += content
        made = []
        start = 0
        with memoryview(self._pending) as view:
            while (size := self._piece()) and size <= len(view) - start:
                made.append(self._give(view[start : start + size]))
                start += size
        del self._pending[:start]
        if not self._feed and len(self._pending) > WHOLE:
            raise RebuildImpossible("rebuild: a member is too large for its encoder")
        return b"".join(made)

    def finish(self) -> bytes:
        """Return the rest of the stream."""
        at_once = not self._feed and self._flushes is None  # also if there is nothing to take
        rest = self._give(self._pending) if self._pending or at_once else b""
        flushes = self._flushes
        if flushes and flushes.period:
            self._due = flushes.at_end and self._position > 0
        return rest + self._flush() + self._compressor.flush()

    def _piece(self) -> int:
        """Return the size of the next piece; 0 if that is all there will be."""
        left = self._cut - self._position if self._cut >= 0 else 0
        return min(self._feed, left) if self._feed and left else self._feed or left

    def _give(self, piece: bytes | bytearray | memoryview) -> bytes:
        made = self._flush() + self._compressor.compress(piece)
        self._position += len(piece)
        self._reach()
        return made

    def _reach(self) -> None:
        """Note a flush at the present position, and where the next one is."""
        if self._cut <= self._position:
            self._due = self._cut == self._position
            self._cut = next(self._cuts, -1)
            if self._cut == self._position:
                self._reach()

    def _flush(self) -> bytes:
        if not self._due or self._flushes is None:
            return b""
        self._due = False
        return self._compressor.flush(self._flushes.kind)


def encode(chunks: Iterable[bytes], encoder: Encoder) -> Iterator[bytes]:
    """Yield the deflate stream of `chunks`; the same bytes for the same content, always.

    Memory is that of the encoder, one of its pieces and one chunk of the caller.

    Raises:
        RebuildImpossible: this machine has no such encoder.
    """
    deflater = Deflater(encoder)
    for chunk in chunks:
        if ready := deflater.feed(chunk):
            yield ready
    yield deflater.finish()
