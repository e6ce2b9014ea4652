"""How values look on a terminal: tables, times, bad news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click


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


def fail(text: str) -> None:
    """Write one line of bad news to stderr."""
    click.echo(click.style(text, fg="red"), err=True)
