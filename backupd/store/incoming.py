"""Clear `incoming/`: what unfinished work left there. Whoever calls holds the writers' lock."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from backupd.store.fsio import FileSystem, hash_file
from backupd.store.paths import STAGING, Paths
from backupd.store.snapshots import Snapshots


def collect(paths: Paths, files: FileSystem, keep: Iterable[Path]) -> int:
    """Remove everything but `keep` and its resume data; return how many things."""
    wanted = {path.with_suffix("") for path in keep}
    going = [p for p in sorted(paths.incoming.iterdir()) if p.with_suffix("") not in wanted]
    for path in going:
        files.remove_tree(path)
    return len(going)


def take_back_all(paths: Paths, files: FileSystem, snapshots: Snapshots) -> None:
    """Take back all that additions and other writing which never ended left behind."""
    _complete(paths, files)
    for path in sorted(paths.incoming.iterdir()):
        if path.name.startswith(STAGING):
            take_back(paths, files, snapshots, path)
        elif path.name.startswith("tmp-"):
            files.remove_tree(path)


def take_back(paths: Paths, files: FileSystem, snapshots: Snapshots, staging: Path) -> None:
    """Take back what an unfinished addition put into place, then remove its staging directory.

    Packs are removed only if the staging directory still holds the same file and no manifest
    names them, and not at all while a manifest is unreadable.
    """
    named = snapshots.named_packs()
    for pack in sorted(staging.glob("*.pack")):
        if named is None:
            break
        placed = _placed(paths, pack)
        if placed is not None and placed.stem not in named:
            files.remove(placed)
    files.remove_tree(staging)


def _placed(paths: Paths, staged: Path) -> Path | None:
    """Return the other name of a staged pack under `packs/`, if it has one."""
    status = staged.stat()
    if status.st_nlink < 2:
        return None
    path = paths.pack(hash_file(staged))
    return path if path.exists() and path.samefile(staged) else None


def _complete(paths: Paths, files: FileSystem) -> None:
    """Make the directories that a copy lacks because they were empty.

    A missing `snapshots/` beside packs is no such case: to make it would tell `prune` that no
    pack is needed, so listing it fails.
    """
    paths.snapshot_ids()
    for directory in paths.directories():
        files.make_directory(directory)
