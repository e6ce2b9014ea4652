"""Counts the cases of fault campaigns, so that the suite can print them as one table.

A campaign tries kinds of fault at positions; a case is one kind at one position and has failed
until its block ended without an exception. `tests/conftest.py` prints the table after the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_HEAD = ("campaign", "kinds", "positions", "cases", "passed", "failed", "seed")


class Campaign:
    """The cases of one campaign; campaigns of the same name are the same one."""

    def __init__(self, name: str, *, seed: int | None = None, note: str = "") -> None:
        self.name = name
        self.seed = seed
        self.note = note
        self.results: dict[tuple[str, str], bool] = {}

    @contextmanager
    def case(self, kind: object, position: object) -> Iterator[None]:
        """Count one case; it has passed if the block ends."""
        key = (str(kind), str(position))
        self.results[key] = False
        yield
        self.results[key] = True

    def row(self) -> tuple[str, ...]:
        """Return the line of the table, as text."""
        passed = sum(self.results.values())
        kinds = {kind for kind, _ in self.results}
        positions = {position for _, position in self.results}
        counts = (len(kinds), len(positions), len(self.results))
        failed = len(self.results) - passed
        seed = "-" if self.seed is None else str(self.seed)
        return (self.name, *map(str, counts), str(passed), str(failed), seed)


_campaigns: dict[str, Campaign] = {}


def campaign(name: str, *, seed: int | None = None) -> Campaign:
    """Return the campaign of this name, made when it is first asked for."""
    return _campaigns.setdefault(name, Campaign(name, seed=seed))


def table() -> list[str]:
    """Return the table of all campaigns that ran, in the order of their first cases; or nothing."""
    ran = [known for known in _campaigns.values() if known.results]
    if not ran:
        return []
    rows = [_HEAD, *(known.row() for known in ran)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return lines + [f"{known.name}: {known.note}" for known in ran if known.note]
