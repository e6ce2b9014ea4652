"""Clear `incoming/`: what unfinished work left there. Whoever calls holds the writers' lock."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from backupd.store.adding import recover
from backupd.store.fsio import FileSystem
from backupd.store.paths import STAGING, Paths
from backupd.store.snapshots import Snapshots


def collect(paths: Paths, files: FileSystem, keep: Iterable[Path]) -> int:
    """Remove everything but `keep` and its resume data; return how many things."""
    wanted = {path.with_suffix("") for path in keep}
    going = [p for p in sorted(paths.incoming.iterdir()) if p.with_suffix("") not in wanted]
    for path in going:
        files.remove_tree(path)
    return len(going)


def take_back(paths: Paths, files: FileSystem, snapshots: Snapshots) -> None:
    """Take back what an addition that never ended left behind."""
    for path in sorted(paths.incoming.iterdir()):
        if path.name.startswith(STAGING):
            recover(paths, files, snapshots, path)
        elif path.name.startswith("tmp-"):
            files.remove_tree(path)
