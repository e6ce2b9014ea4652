"""Canaries: secrets that stand for nothing else, and where they are looked for after a run.

A canary is looked for as it is, percent-encoded, in hex, and within base64. `Watch` looks at the
command lines and environments of a process and all that it starts, from its first moment on.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus


def shapes(secret: str) -> set[bytes]:
    """Return what a secret looks like in the encodings that it may have gone through."""
    raw = secret.encode()
    found = {raw, quote(secret, safe="").encode(), quote_plus(secret).encode()}
    found |= {raw.hex().encode(), raw.hex().upper().encode()}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw)
        start, end = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        found |= {encoded[start:end], base64.urlsafe_b64encode(bytes(offset) + raw)[start:end]}
    return found


def holds(data: bytes, secret: str) -> bool:
    """Say whether bytes hold a secret in one of its shapes."""
    return any(shape in data for shape in shapes(secret))


def files_below(*roots: Path, without: Iterable[Path] = ()) -> dict[str, bytes]:
    """Read every file below some directories, their names among the contents."""
    left_out = tuple(without)
    return {
        str(path): str(path).encode() + b"\n" + path.read_bytes()
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(one == path or one in path.parents for one in left_out)
    }


def hits(canaries: Mapping[str, str], texts: Mapping[str, bytes]) -> list[str]:
    """Name each canary that is found, and in what."""
    return [
        f"{name} in {place}"
        for name, secret in canaries.items()
        for place, data in texts.items()
        if holds(data, secret)
    ]


class Watch:
    """What `/proc` showed of a process and its descendants; `mark` is made at the first child."""

    def __init__(self, pid: int, mark: Path) -> None:
        self._mark = mark
        self.argv: set[bytes] = set()
        self.environ: set[bytes] = set()
        self.processes: set[int] = set()
        self._pid = pid
        self._ended = threading.Event()

    def look(self) -> None:
        """Look until the end is asked for."""
        while not self._ended.wait(0.01):
            for pid in _family(self._pid):
                self.processes.add(pid)
                for name, seen in (("cmdline", self.argv), ("environ", self.environ)):
                    data = _read(pid, name)
                    if data:
                        seen.add(data)
            if len(self.processes) > 1:
                self._mark.touch()

    def end(self) -> None:
        """Ask for the end."""
        self._ended.set()


@contextmanager
def watched(pid: int, mark: Path) -> Iterator[Watch]:
    """Look at a process and what it starts, for a block."""
    watch = Watch(pid, mark)
    thread = threading.Thread(target=watch.look)
    thread.start()
    try:
        yield watch
    finally:
        watch.end()
        thread.join()


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in _tasks(pid):
        for child in _read(pid, f"task/{task}/children").split():
            yield from _family(int(child))


def _tasks(pid: int) -> list[str]:
    try:
        return [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []  # it has ended


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # it has ended
