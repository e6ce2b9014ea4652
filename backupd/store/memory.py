"""Keep the process small: have the C library give large blocks back as soon as they are free.

Left alone, glibc keeps freed blocks of megabytes for later, in a pool for each thread; an import
took 300 MB where it needs 100. Each pool may keep 4 MiB free at its end: the kernel zeroes what it
hands out again, page by page, which cost a twentieth of storing an export. Another C library
ignores this.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 2 << 20
_FREE = 4 << 20
_ARENAS = 4


def trim() -> None:
    """Give back what is free now: for the end of work that needed much."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back() -> None:
    """Set it for this process; environment variables of glibc are respected."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_TRIM_THRESHOLD, _FREE)
        libc.mallopt(_ARENA_MAX, _ARENAS)
