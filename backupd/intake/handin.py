"""Files handed in by a person: the order in which many of them are stored. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from backupd.intake.matching import stamp_in


def in_date_order(files: Iterable[Path]) -> list[Path]:
    """Return the files by the export time in their names, else by modification time; each once."""
    unique = {file.resolve(): file for file in files}
    return sorted(unique.values(), key=lambda file: (_time(file), file.name))


def _time(file: Path) -> datetime:
    return stamp_in(file.name) or datetime.fromtimestamp(file.stat().st_mtime, UTC)
