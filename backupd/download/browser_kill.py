"""Kills whatever a process has started, wherever it moved to: process groups do not hold Chromium.

A child that has been given to another parent is found as long as that is the process itself, which
is why the process that drives Chromium adopts the orphans below it.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 5.0
"""Seconds; longer, only a process in the kernel's hands resists a SIGKILL."""


def kill_descendants(pid: int) -> None:
    """Kill all processes below `pid`, and those that appear while this goes on."""
    end = time.monotonic() + PATIENCE
    while (found := _descendants(pid)) and time.monotonic() < end:
        for one in found:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.01)


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                below = _descendants(child)
                found += below if _is_dead(child) else [child, *below]
    return found


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
