"""Files handed in by a person: where they come from, and in which order they are stored.

Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from backupd.export.layout import exported_at
from backupd.store.repository import Origin


def in_date_order(files: Iterable[Path]) -> list[Path]:
    """Return the files by the export time in their names, else by modification time; each once."""
    unique = {file.resolve(): file for file in files}
    return sorted(unique.values(), key=lambda file: (_time(file), file.name))


def origin_of(file: Path, source: str, now: datetime) -> Origin:
    """Say where a file comes from; bytes of its name that are not UTF-8 are written as escapes."""
    name = file.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Origin(file_name=name, received_at=now, source=source, delivery=None, mailbox=None)


def _time(file: Path) -> datetime:
    return exported_at(file.name) or datetime.fromtimestamp(file.stat().st_mtime, UTC)
