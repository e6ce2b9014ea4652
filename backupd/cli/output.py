"""How values look on a terminal: tables, times, progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

    from backupd.intake.storing import Progress


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()
) -> str:
    """Lay rows out in aligned columns, two spaces apart; the columns of `numbers` to the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    sides = [str.rjust if header in numbers else str.ljust for header in headers]
    lines = [
        "  ".join(
            side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)
        ).rstrip()
        for line in (headers, *rows)
    ]
    return "\n".join(lines)


def share(part: int, whole: int) -> str:
    """Say which part of a whole a number is; a dash where there is no whole."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def when(moment: datetime | None) -> str:
    """Write a time for a person, in the machine's time zone."""
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


@contextmanager
def progress_bar(quiet: bool, files: int = 1) -> Iterator[Progress | None]:
    """Show progress on a terminal's stderr, a line for each stage; None where nobody sees it.

    With several files, how many of them were begun is shown too.
    """
    from rich.console import Console

    coloured = click.get_current_context().color is not False
    console = Console(stderr=True, no_color=not coloured)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        whole = bar.add_task("files", total=files, visible=files > 1)
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
            bar.update(tasks[stage], completed=done, total=total or None)
            if stage == "hash" and done == total:
                bar.advance(whole)

        yield show


def fail(text: str) -> None:
    """Write one line of bad news to stderr."""
    click.echo(click.style(text, fg="red"), err=True)
