"""A received file is opened once; whoever needs a position of its own reads the same open file.

Opening it again by its name could give another file, put there meanwhile.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO


def again(file: BinaryIO) -> BinaryIO:
    """Return another reader of an open file, with a position of its own, to be closed apart."""
    return io.BufferedReader(_SameFile(file.fileno()))


class _SameFile(io.RawIOBase):
    """Reads at its own position, whatever the descriptor's is."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = os.dup(descriptor)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: os.fstat(self._descriptor).st_size if whence == os.SEEK_END else 0,
        }
        self._position = start[whence] + offset
        return self._position

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
