"""Watch the system calls of a program that change files, and strike at one of them, by strace.

This reaches what passes by the store's own seam: SQLite, the lock's note, shared memory files.
A point is the n-th call of a name in a process; it is struck when it is entered, so the call itself
does not happen. Calls are counted over all files, but only those on files below `root` are points.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CHANGING = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "sync_file_range",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink",
    "symlinkat", "mkdir", "mkdirat", "rmdir", "truncate", "ftruncate", "fallocate", "openat",
    "fchmod", "chmod", "fchmodat", "utimensat", "copy_file_range",
)  # fmt: skip
KILLED = -9
_CALL = re.compile(r"(\d+) +([a-z0-9_]+)\((.*)")
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Point:
    """The `number`-th call named `call`; `target` says on what, for people."""

    call: str
    number: int
    target: str

    def __str__(self) -> str:
        return f"{self.call} {self.number} on {self.target}"


def program(*arguments: str | Path) -> list[str]:
    """Return the command line that runs this Python with `arguments`."""
    return [sys.executable, *map(str, arguments)]


def run(command: list[str], *strace: str) -> subprocess.CompletedProcess[str]:
    """Run a command under strace to its end, or without it; nothing of this user's is read."""
    prefix = ["strace", "-f", "-qq", *strace] if strace else []
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/nonexistent",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [*prefix, *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=CHECKOUT,
        timeout=120,
        check=False,
    )


def points(command: list[str], root: Path, trace: Path) -> list[Point]:
    """Run a command and return every point below `root`, in order."""
    done = run(command, "-y", "-s", "0", "-o", str(trace), "-e", "trace=" + ",".join(CHANGING))
    assert done.returncode == 0, f"fails without faults: {done.stderr}"
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for line in trace.read_text().splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        process, call, rest = match.groups()
        seen[process, call] += 1
        if str(root) in rest and (call != "openat" or "O_CREAT" in rest):
            target = re.search(re.escape(str(root)) + r"/?([^>\"]*)", rest)
            found.append(Point(call, seen[process, call], target[1] if target else "?"))
    return found


def killed_at(command: list[str], point: Point) -> subprocess.CompletedProcess[str]:
    """Run a command that is killed when it enters a point."""
    return run(command, *_strike(point, f"signal=KILL:when={point.number}"), "-o", os.devnull)


def failed_at(
    command: list[str], point: Point, error: str, trace: Path, *, for_ever: bool
) -> subprocess.CompletedProcess[str]:
    """Run a command in which a point, or with `for_ever` all its like from there on, fail."""
    how = f"error={error}:when={point.number}{'+' if for_ever else ''}"
    done = run(command, *_strike(point, how), "-o", str(trace))
    assert "(INJECTED)" in trace.read_text(), f"{point} was not reached"
    return done


def _strike(point: Point, how: str) -> tuple[str, ...]:
    return ("-e", f"trace={point.call}", "-e", f"inject={point.call}:{how}")
