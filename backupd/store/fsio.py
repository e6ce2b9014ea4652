"""The only module that writes, renames, links or removes anything in a repository.

Rules that stay here, in this order for every durable file: new name (`O_CREAT|O_EXCL|O_NOFOLLOW`,
0600) in a directory of the same file system; all bytes, looping over short writes; length checked;
fsync; read again and compared by hash; mode 0400; put under its final name without overwriting;
fsync of the directory. A failed fsync fails the job and is never repeated on the same descriptor:
the kernel marks the pages clean, so a second fsync would lie.

Every step passes through `FileSystem.operate` or `FileSystem.write_some`, the two places where a
test injects a fault or ends the process. SQLite's files under `cache/` are derived and written by
SQLite itself; the lock file's few bytes are written by `lock`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, TypeVar

from backupd.errors import BackupdError, RepositoryDamaged, StorageFull

T = TypeVar("T")

READ_SIZE = 1 << 20
_NEW = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LINK = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
_NOT_MINE = "run as the user that owns the directory, or let this user write there"
_HINTS = {
    errno.EACCES: _NOT_MINE,
    errno.EPERM: _NOT_MINE,
    errno.ENOENT: "make the directory first, or choose another place",
    errno.ENOTDIR: "choose a place below a directory",
    errno.EMFILE: "let the program open more files (ulimit -n, LimitNOFILE=)",
    errno.EROFS: "mount the file system so that it can be written to, or choose another place",
}


class WriteFailed(BackupdError):
    """The file system refused a write; nothing that was committed is harmed."""

    transient = True
    next_step = (
        "look at the disk: is it mounted read-only, or failing (dmesg, smartctl)? Nothing that was"
        " stored is harmed"
    )


class FileSystem:
    """Primitive steps on files, each at one place so that a test can let it fail."""

    def operate(self, name: str, path: Path, action: Callable[[], T]) -> T:
        """Do one step; `name` and `path` are for those who watch or inject faults."""
        with _translated(name, path):
            return action()

    def write_some(self, descriptor: int, data: memoryview, path: Path) -> int:
        """Write as much of `data` as one system call takes; return the count."""
        return self.operate("write", path, lambda: os.write(descriptor, data))

    def create(self, path: Path) -> int:
        """Make a new file, 0600, and return its descriptor."""
        return self.operate("create", path, lambda: os.open(path, _NEW, 0o600))

    def make_directory(self, path: Path) -> None:
        """Make a directory, 0700, durable in its parent; one that is there already is fine."""
        if path.is_dir():
            return
        self.operate("mkdir", path, lambda: path.mkdir(mode=0o700, exist_ok=True))
        self.sync_directory(path.parent)

    def sync(self, descriptor: int, path: Path) -> None:
        """Make a file's bytes durable."""
        self.operate("fsync", path, lambda: os.fsync(descriptor))

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""

        def action() -> None:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

        self.operate("fsync-directory", path, action)

    def set_mode(self, descriptor: int, path: Path, mode: int) -> None:
        """Set the access bits of an open file."""
        self.operate("chmod", path, lambda: os.fchmod(descriptor, mode))

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name, never overwriting; rename it where links do not exist."""

        def action() -> None:
            try:
                os.link(source, target, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINK or target.exists():
                    raise
                source.rename(target)

        self.operate("link", target, action)

    def remove(self, path: Path) -> None:
        """Remove one file; one that is gone already is fine."""
        self.operate("unlink", path, lambda: path.unlink(missing_ok=True))

    def remove_tree(self, path: Path) -> None:
        """Remove a file, or a directory with the plain files and directories in it."""
        if path.is_symlink() or not path.is_dir():
            self.remove(path)
            return
        for child in sorted(path.iterdir()):
            self.remove_tree(child)
        self.operate("rmdir", path, path.rmdir)

    def publish(self, source: Path, target: Path, digest: bytes) -> None:
        """Put a sealed file under its final name, durable; `source` may stay as a second name.

        A target that is there already must hold the same bytes.

        Raises:
            RepositoryDamaged: the target exists with other bytes.
        """
        self.make_directory(target.parent)
        if target.exists():
            if hash_file(target) != digest:
                raise RepositoryDamaged(
                    f'write "{target}": a file with this name and other bytes is there already',
                    "run check --read-data",
                )
        else:
            self.link(source, target)
        self.sync_directory(target.parent)

    def replace(self, source: Path, target: Path) -> None:
        """Put a sealed file in the place of a derived one, durable; never used on packs (I3)."""
        self.operate("rename", target, lambda: source.replace(target))
        self.sync_directory(target.parent)

    def write_file(self, target: Path, data: Iterable[bytes], scratch: Path) -> bytes:
        """Write a whole new file durably through a temporary one in `scratch`; return its SHA-256.

        `scratch` lies in the same file system as `target`.
        """
        with NewFile(self, temporary(scratch)) as file:
            for chunk in data:
                file.write(chunk)
            digest = file.seal()
            self.publish(file.path, target, digest)
        return digest


class NewFile:
    """A file being written: hashed while written, then sealed; removed when the block ends."""

    def __init__(self, files: FileSystem, path: Path) -> None:
        self.path = path
        self.size = 0
        self._files = files
        self._hash = hashlib.sha256()
        self._descriptor: int | None = files.create(path)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`, however few bytes the system takes at a time."""
        assert self._descriptor is not None  # noqa: S101 - a sealed file is never written
        rest = memoryview(data)
        self._hash.update(rest)
        self.size += len(rest)
        while rest:
            rest = rest[self._files.write_some(self._descriptor, rest, self.path) :]

    @property
    def made_at(self) -> datetime:
        """When the file was made, aware UTC, by the clock of its file system."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def seal(self, mode: int = 0o400) -> bytes:
        """Make the bytes durable, read them again, set the mode; return their SHA-256.

        Raises:
            WriteFailed: what was read is not what was written.
        """
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None  # noqa: S101 - sealed once
        try:
            if os.fstat(descriptor).st_size != self.size:
                raise WriteFailed(f'write "{self.path}": the file has another length than written')
            self._files.sync(descriptor, self.path)
            if _hash_again(descriptor) != self._hash.digest():
                raise WriteFailed(f'write "{self.path}": the file reads back other bytes')
            self._files.set_mode(descriptor, self.path, mode)
        finally:
            os.close(descriptor)
        return self._hash.digest()

    def close(self) -> None:
        """Close the file unsealed; its bytes are promised to nobody."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        try:
            self._files.remove(self.path)
        except BackupdError:
            if error is None:
                raise


def temporary(directory: Path) -> Path:
    """Return an unused name for a temporary file or directory."""
    return directory / f"tmp-{secrets.token_hex(8)}"


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces of at most 1 MiB; symbolic links are not followed."""
    with open_file(path) as file:
        yield from chunks_of(file)


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read; symbolic links are not followed."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield an open file's bytes from its beginning, in pieces of at most 1 MiB."""
    file.seek(0)
    while chunk := file.read(READ_SIZE):
        yield chunk


def hash_file(path: Path) -> bytes:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.digest()


def _hash_again(descriptor: int) -> bytes:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    digest = hashlib.sha256()
    offset = 0
    while chunk := os.pread(descriptor, READ_SIZE, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.digest()


@contextmanager
def _translated(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f'{name} "{path}": {os.strerror(error.errno)}') from error
        hint = _HINTS.get(error.errno or 0, "")
        raise WriteFailed(f'{name} "{path}": {error.strerror or error}', hint) from error
