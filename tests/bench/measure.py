"""One series from its first export to its last, through the store and through restic and borg."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backupd.demo.exports import Era
from tests.bench import shapes
from tests.bench.shapes import Shape
from tests.bench.tools import Tools, say

Answer = dict[str, Any]


class Worker:
    """A process with one open repository."""

    def __init__(self, place: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.worker", str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *parts: object) -> Answer:
        """Have one thing done and return its figures."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([*map(_plain, parts)]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {parts[0]} failed")
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass(slots=True)
class Figures:
    """What was measured; byte figures are firm, times are of this run."""

    era: Era
    shape: Shape
    weeks: list[Answer] = field(default_factory=list)
    new_assets: list[int] = field(default_factory=list)
    others: dict[str, list[int]] = field(default_factory=dict)
    restic_zip: list[float] = field(default_factory=list)
    page: int = 0
    identical: Answer = field(default_factory=dict)
    unchanged: Answer = field(default_factory=dict)
    switch: Answer = field(default_factory=dict)
    switch_first: Answer = field(default_factory=dict)
    switch_assets: tuple[int, int] = (0, 0)
    restores: list[Answer] = field(default_factory=list)
    check: Answer = field(default_factory=dict)
    stats: Answer = field(default_factory=dict)

    @property
    def growth(self) -> list[int]:
        """Bytes that each week after the first added beyond its new assets."""
        pairs = zip(self.weeks, self.new_assets, strict=True)
        return [week["new_bytes"] - assets for week, assets in pairs][1:]


def measure(work: Path, shape: Shape, era: Era, *, compare: bool) -> Figures:
    """Run a series in `work`, which is left for the caller to remove."""
    figures = Figures(era, shape)
    worker = Worker(work / "repository")
    tools = Tools(work) if compare else None
    known: dict[tuple[int, int], int] = {}
    path = work / "export.zip"
    for number, export in enumerate(shapes.exports(shape, era)):
        export.write(path)
        if number == shape.exports:
            _switch(figures, worker, path, known, work)
            break
        found = shapes.assets(path)
        figures.new_assets.append(sum(size for key, size in found.items() if key not in known))
        known |= found
        figures.weeks.append(worker.ask("add", path))
        last = number >= shape.exports - 3
        if tools is not None:
            _compare(tools, figures, work, path, number, with_zip=last)
        say(f"export {number}: {figures.weeks[-1]['new_bytes'] / 1e3:.0f} KB")
        if number == shape.exports - 1:
            _again(figures, worker, path, work)
    figures.others = tools.sizes if tools else {}
    worker.close()
    _read(figures, work)
    return figures


def _compare(
    tools: Tools, figures: Figures, work: Path, path: Path, number: int, *, with_zip: bool
) -> None:
    folder = work / "folder"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    tools.folder(folder, number)
    shutil.rmtree(folder)
    if with_zip:
        figures.restic_zip.append(tools.zip(path).wall)


def _again(figures: Figures, worker: Worker, path: Path, work: Path) -> None:
    """Add the last export twice more: the same file, and the same content exported anew."""
    figures.page = shapes.page(path)
    figures.identical = worker.ask("add", path)
    figures.stats = worker.ask("stats")
    other = work / "again.zip"
    shapes.redate(path, other)
    figures.unchanged = worker.ask("add", other)
    other.unlink()


def _switch(
    figures: Figures, worker: Worker, path: Path, known: dict[tuple[int, int], int], work: Path
) -> None:
    """Add the first export of another era, here and in an empty repository."""
    found = shapes.assets(path)
    new = sum(size for key, size in found.items() if key not in known)
    figures.switch_assets = (new, sum(found.values()))
    figures.switch = worker.ask("add", path)
    empty = Worker(work / "empty")
    figures.switch_first = empty.ask("add", path)
    empty.close()


def _read(figures: Figures, work: Path) -> None:
    """Restore the first and the last export and check everything, each in a new process."""
    for number in (0, figures.shape.exports - 1):
        reader = Worker(work / "repository")
        figures.restores.append(reader.ask("restore", number))
        reader.close()
    if figures.shape.exports <= 12:
        reader = Worker(work / "repository")
        figures.check = reader.ask("check")
        reader.close()


def _plain(part: object) -> object:
    return str(part) if isinstance(part, Path) else part
