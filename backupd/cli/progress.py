"""How far long work is, shown on a terminal's stderr and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from backupd.intake.storing import Progress

_SHARES = {"hash": 0.05, "store": 0.45, "prove": 0.5}
"""What the stages of one file are of its time, roughly: what is left is told from this."""


_WORDS = {
    "hash": "hashing",
    "store": "storing",
    "prove": "proving",
    "keep": "to quarantine",
    "read": "reading",
    "restore": "restoring",
}
"""The stages as a person reads them; others are called what they are."""


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
    """Show a line for each stage; None where nobody sees it."""
    with _bars(quiet) as bars:
        if bars is None:
            yield None
            return
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_WORDS.get(stage, stage))
            bars.update(tasks[stage], completed=done, total=total or None)

        yield show


@contextmanager
def import_progress(quiet: bool, sizes: Mapping[Path, int]) -> Iterator[ImportProgress | None]:
    """Show how far an import of files of these sizes is; None where nobody sees it."""
    with _bars(quiet) as bars:
        yield None if bars is None else ImportProgress(bars, sizes)


class ImportProgress:
    """How far several files are, two at a time: one is stored while another is being proven."""

    def __init__(self, bars: Bars, sizes: Mapping[Path, int]) -> None:
        """Begin with nothing done."""
        self._bars = bars
        self._sizes = sizes
        self._done: dict[tuple[Path, str], float] = {}
        self._ended: set[Path] = set()
        self._whole = bars.add_task("", total=max(1, sum(sizes.values())))
        self._stages: dict[str, TaskID] = {}
        self._update()

    def show(self, file: Path, stage: str, done: int, total: int) -> None:
        """Take in how far a stage of a file is; called from several threads."""
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(self._row(stage, file))
        running = not total or done < total
        self._bars.update(
            self._stages[stage],
            description=self._row(stage, file),
            completed=done,
            total=total or None,
            visible=running,
        )
        if total and stage in _SHARES:
            self._done[file, stage] = _SHARES[stage] * done / total * self._sizes[file]
        self._update()

    def end(self, file: Path) -> None:
        """Take in that a file is done, whatever became of it."""
        self._ended.add(file)
        self._update()

    def _row(self, stage: str, file: Path) -> str:
        files = list(self._sizes)
        which = f" {files.index(file) + 1}/{len(files)}" if len(files) > 1 else ""
        return _WORDS.get(stage, stage) + which

    def _update(self) -> None:
        under_way = sum(
            done for (file, _), done in list(self._done.items()) if file not in self._ended
        )
        self._bars.update(
            self._whole,
            description=f"{len(self._ended)} of {len(self._sizes)} done",
            completed=under_way + sum(self._sizes[file] for file in self._ended),
        )


@contextmanager
def _bars(quiet: bool) -> Iterator[Bars | None]:
    from rich.console import Console

    coloured = click.get_current_context().color is not False
    console = Console(stderr=True, no_color=not coloured)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress as Bars

    with Bars(console=console, transient=True) as bars:
        yield bars
