"""Peak memory with exports far larger than usual, each step in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from backupd.demo.exports import write_big
from backupd.demo.exports.container import Shape, ZipWriter
from tests.bench.measure import Worker
from tests.bench.tools import say

_PICTURE = 64_000_000


def table(work: Path) -> str:
    """Make, store, prove, restore and check one export after the other."""
    if shutil.disk_usage(work).free < 14e9:
        return "not enough room: 14 GB are needed"
    lines = [f"{'export':<24} {'step':<10} {'peak MB':>8} {'wall s':>8} {'CPU s':>8}"]
    for name, make in (("1 GB conversations.json", _json), ("5 GB ZIP64", _pictures)):
        say(f"making {name}")
        path = work / "export.zip"
        make(path)
        lines += _steps(name, work / "repository", path)
        path.unlink()
        shutil.rmtree(work / "repository")
    return "\n".join(lines)


def _steps(name: str, place: Path, path: Path) -> Iterator[str]:
    steps = (("add", path, "proven"), ("restore", 0, "restored"), ("check", None, "checked"))
    for step, argument, figure in steps:
        worker = Worker(place)
        answer = worker.ask(*((step,) if argument is None else (step, argument)))
        worker.close()
        wall, cpu = answer[figure]
        exact = "" if answer["exact"] else "  NOT EXACT"
        yield f"{name:<24} {step:<10} {answer['peak_mb']:>8.0f} {wall:>8.1f} {cpu:>8.1f}{exact}"


def _json(path: Path) -> None:
    write_big(path, 1024, chat=True)


def _pictures(path: Path) -> None:
    """Write 80 stored assets that nothing compresses."""
    with path.open("wb") as file:
        shape = Shape(zip64=True)
        with ZipWriter(file, datetime(2025, 11, 2, tzinfo=UTC), shape) as writer:
            writer.add("conversations.json", (b"[]",))
            for number in range(80):
                pieces = (os.urandom(1_000_000) for _ in range(_PICTURE // 1_000_000))
                writer.add(f"file-{number:03d}.png", pieces, stored=True)
