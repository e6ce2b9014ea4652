"""The truth table: what generated series hold against what the catalog counted, for the summary."""

from __future__ import annotations

from backupd.demo.exports import Truth
from backupd.export.versions import Counts

KINDS = ("total", "new", "changed", "metadata_changed", "unchanged", "gone")
_exports: dict[str, int] = {}
_sums: dict[str, dict[str, tuple[int, int]]] = {}


def expected(truth: Truth) -> Counts:
    """Return the counts that an export should have."""
    return Counts(
        truth.total,
        len(truth.new),
        len(truth.changed),
        len(truth.metadata_changed),
        len(truth.unchanged),
        len(truth.gone),
    )


def record(series: str, truth: Truth, found: Counts | None) -> None:
    """Add one export of a series to the table."""
    _exports[series] = _exports.get(series, 0) + 1
    row = _sums.setdefault(series, dict.fromkeys(KINDS, (0, 0)))
    for kind in KINDS:
        wanted, counted = row[kind]
        there = getattr(found, kind) if found is not None else 0
        row[kind] = wanted + getattr(expected(truth), kind), counted + there


def table() -> list[str]:
    """Lay out the sums over the exports of each series, expected/found; [] if nothing ran."""
    if not _sums:
        return []
    width = max(map(len, _sums))
    lines = [f"{'series':{width}}  exports" + "".join(f"{kind:>18}" for kind in KINDS)]
    for series, row in _sums.items():
        cells = (f"{wanted}/{counted}" for wanted, counted in row.values())
        lines.append(
            f"{series:{width}}  {_exports[series]:7}" + "".join(f"{cell:>18}" for cell in cells)
        )
    return lines
