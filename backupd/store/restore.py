"""Give an export back: the ZIP, byte for byte, or its members as files.

A ZIP is written beside its target, hashed while written, and gets its name only when the hash is
that of the export; a damaged repository never leaves a file that looks like the export.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from backupd.errors import BackupdError, RebuildImpossible, RepositoryDamaged, UsageError
from backupd.export import selftest
from backupd.export.archive import read_member, scan
from backupd.export.encoders import require
from backupd.store.ahead import rebuild
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.progress import Progress
from backupd.store.rebuild import member_contents
from backupd.store.recipe import Begin, Recipe
from backupd.store.snapshot import Snapshot
from backupd.store.snapshots import Snapshots


def restore_zip(
    files: FileSystem,
    snapshots: Snapshots,
    snapshot: Snapshot,
    target: Path,
    progress: Progress | None = None,
) -> None:
    """Write the ZIP to `target`, which must not exist.

    Raises:
        UsageError: the target exists.
        RebuildImpossible: this machine lacks an encoder; `restore_members` works all the same.
        RepositoryDamaged: the bytes cannot be given back; nothing was left at `target`.
        StorageFull, WriteFailed: the target's disk cannot take it.
    """
    if target.exists() or target.is_symlink():
        raise UsageError(f'restore to "{target}": it exists already', "choose another name")
    with NewFile(files, temporary(target.parent)) as file:
        for chunk in verified(snapshots, snapshot, progress):
            file.write(chunk)
        digest = file.seal(0o600)
        files.publish(file.path, target, digest)


def verified(
    snapshots: Snapshots, snapshot: Snapshot, progress: Progress | None = None
) -> Iterator[bytes]:
    """Yield the export's bytes; raise at the end if they were not the export's.

    Raises:
        RepositoryDamaged: an object is damaged, or the whole has another SHA-256.
    """
    digest = _Digest(snapshot)
    with snapshots.reader() as reader, _unless_forgotten(snapshots, snapshot):
        recipe = snapshots.recipe(snapshot)
        _require_encoders(recipe, snapshot)
        for chunk in rebuild(recipe, reader.read):
            digest.update(chunk)
            if progress is not None:
                progress("restore", digest.size, snapshot.size)
            yield chunk
    digest.check()


def _require_encoders(recipe: Recipe, snapshot: Snapshot) -> None:
    """Look for the encoders that an export needs before any of it is written."""
    if all(text.startswith("zlib ") for text in snapshot.encoders):
        return
    begins = (event for event in recipe.events() if isinstance(event, Begin))
    try:
        for encoder in {begin.encoder for begin in begins if begin.encoder is not None}:
            require(encoder)
    except RebuildImpossible as error:
        raise _impossible(snapshot, error.cause, error.hint) from error


def _impossible(snapshot: Snapshot, cause: str, remedy: str) -> RebuildImpossible:
    return RebuildImpossible(
        f"restore {snapshot.id[:12]}: the ZIP cannot be rebuilt here: {cause}",
        f"restore to a directory, which gives every member; or {remedy}",
    )


@contextmanager
def _unless_forgotten(snapshots: Snapshots, snapshot: Snapshot) -> Iterator[None]:
    """Say of a snapshot that was forgotten meanwhile just that, instead of calling it damaged."""
    try:
        yield
    except RepositoryDamaged as error:
        if not snapshots.is_forgotten(snapshot):
            raise
        raise BackupdError(
            f"restore {snapshot.id[:12]}: the snapshot was forgotten meanwhile",
            "list what is stored with snapshots",
        ) from error


def restore_members(
    files: FileSystem,
    snapshots: Snapshots,
    snapshot: Snapshot,
    directory: Path,
    progress: Progress | None = None,
) -> int:
    """Write each member of the export to a file below `directory`; return how many.

    The directory is made; one that holds something is refused. Works even where this machine's
    zlib no longer makes the same ZIP.

    Raises:
        UsageError: the directory is not empty.
        RepositoryDamaged: a member cannot be given back.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f'restore to "{directory}": it is not an empty directory',
            "name a new directory, ending in /, or an empty one",
        )
    files.make_directory(directory)
    count = 0
    for name, content in _members(files, snapshots, snapshot, directory):
        path = _inside(directory, name)
        for parent in reversed(path.relative_to(directory).parents):
            files.make_directory(directory / parent)
        if name.endswith("/"):
            files.make_directory(path)
        else:
            files.write_file(path, content, path.parent)
        count += 1
        if progress is not None:
            progress("restore", count, snapshot.members)
    return count


def _members(
    files: FileSystem, snapshots: Snapshots, snapshot: Snapshot, directory: Path
) -> Iterator[tuple[str, Iterator[bytes]]]:
    if not snapshot.kept_whole:
        with snapshots.reader() as reader, _unless_forgotten(snapshots, snapshot):
            for begin, content in member_contents(snapshots.recipe(snapshot), reader.read):
                yield begin.name, content
        return
    with NewFile(files, temporary(directory)) as spool:
        for chunk in verified(snapshots, snapshot):
            spool.write(chunk)
        spool.close()
        with spool.path.open("rb") as file:
            for member in scan(file).members:
                yield member.name, read_member(file, member)


def _inside(directory: Path, name: str) -> Path:
    """Return the path of a member; names were checked at intake, and are again."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise RepositoryDamaged(
            f'restore member "{name!a}": the name leads out of the directory',
            "restore the ZIP instead: --output FILE.zip",
        )
    return directory.joinpath(*parts)


class _Digest:
    """Hash of what was rebuilt so far."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.size = 0
        self._snapshot = snapshot
        self._hash = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._hash.update(chunk)

    def check(self) -> None:
        if self._hash.hexdigest() == self._snapshot.sha256:
            return
        what = f"restore {self._snapshot.id[:12]}:"
        if self._snapshot.encoders and not selftest.zlib_reproduces():
            version = selftest.zlib_version()
            cause = f"zlib {version} packs differently from the one that made it"
            raise _impossible(self._snapshot, cause, selftest.REMEDY)
        raise RepositoryDamaged(
            f"{what} the rebuilt bytes are not the export's (zlib {selftest.zlib_version()})",
            "run check --read-data; the members can be restored to a directory",
        )
