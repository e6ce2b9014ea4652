"""Find the points at which the writer of a deflate stream flushed.

A sync or full flush ends a block at a byte border and adds an empty stored block, so the stream
shows `MARKER` there, and everything before it inflates to the content before the flush. The same
four bytes inside compressed data are rare and do no harm: encoders are tried with what was found,
and one that does not give the stream back is dropped.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator
from operator import eq

from backupd.export.archive_rules import MIB
from backupd.export.encoders import Flush, Flushes

MARKER = b"\x00\x00\xff\xff"
MAX_POINTS = 1 << 20
"""Points beyond which a stream is not looked at further; 8 MiB of memory."""
MAX_LISTED = 1 << 16
"""Points that are worth a recipe when they have no period."""


class FlushScan:
    """Inflates a stream and notes where in its content flushes are.

    `size` is the content so far, `failed` that the stream is damaged or has too many points.
    """

    def __init__(self) -> None:
        self.size = 0
        self.failed = False
        self._points = array("Q")
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._tail = b""

    def feed(self, raw: bytes) -> None:
        """Take the next bytes of the stream."""
        start = 0
        for end in self._markers(raw):
            self._inflate(raw[start:end])
            start = end
            if len(self._points) == MAX_POINTS:
                self.failed = True
            elif not self._points or self._points[-1] < self.size:
                self._points.append(self.size)
        self._inflate(raw[start:])

    def flushes(self, kind: Flush) -> Flushes | None:
        """Return the points found, as a period where they have one; None if there are none."""
        if self.failed or not self._points:
            return None
        period = self._points[0]
        if period and self._are(range(period, self.size + 1, period)):
            return Flushes(kind, period, at_end=self.size % period == 0)
        if period and self._are(range(period, self.size, period)):
            return Flushes(kind, period)
        if (
            period
            and self._points[-1] == self.size
            and self._are(range(period, self.size, period), 1)
        ):
            return Flushes(kind, period, at_end=True)
        if len(self._points) > MAX_LISTED:
            return None
        return Flushes(kind, points=tuple(self._points))

    def listed(self, kind: Flush) -> Flushes | None:
        """Return the points found one by one, however many; None if there are none."""
        return Flushes(kind, points=tuple(self._points)) if self._points else None

    def _are(self, expected: range, more: int = 0) -> bool:
        """Say whether the points are the expected ones, and `more` after them."""
        count = len(expected)
        return len(self._points) == count + more and all(map(eq, self._points, expected))

    def _markers(self, raw: bytes) -> Iterator[int]:
        """Yield the ends of markers, which may have begun in the bytes before."""
        before = len(self._tail)
        joined = self._tail + raw
        at = joined.find(MARKER)
        while at >= 0:
            yield at + len(MARKER) - before
            at = joined.find(MARKER, at + len(MARKER))
        self._tail = joined[-(len(MARKER) - 1) :]

    def _inflate(self, raw: bytes) -> None:
        made = MIB
        try:
            while not self.failed and (raw or made == MIB):
                made = len(self._inflater.decompress(raw, MIB))
                self.size += made
                raw = self._inflater.unconsumed_tail
        except zlib.error:
            self.failed = True


def scanned(raw: Iterable[bytes]) -> FlushScan:
    """Return a scan that has seen all of `raw`."""
    scan = FlushScan()
    for chunk in raw:
        scan.feed(chunk)
    return scan
