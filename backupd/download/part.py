"""The partial file on disk: bytes, what they belong to, and how many of them are durable.

`PART` holds the bytes, `PART` with the suffix `.json` what the server said of them (never a URL).
The order keeps the second truthful at any crash: bytes are fsynced before the sidecar counts them,
and the sidecar is removed, durably, before the bytes are begun anew. Bytes beyond the count are cut
off when the file is opened again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from backupd.download.headers import etag
from backupd.download.outcome import DiskFull, Ended
from backupd.download.resume import Stored, Validators
from backupd.errors import DownloadFailed

CHECKPOINT = 16 * 1024 * 1024
"""So many bytes at most are fetched again after a crash."""
CHUNK = 1024 * 1024
_FORMAT = 1
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_LONGEST_SIDECAR = 4096


@dataclass(frozen=True, slots=True)
class _Sidecar:
    format: int
    size: int
    total: int | None
    etag: str | None
    last_modified: str | None


class PartFile:
    """One partial file, open and locked; every trouble with it ends in `DownloadFailed`.

    `reserve` bytes are to stay free on the disk; `write` is the system's positional write.
    """

    def __init__(
        self,
        path: Path,
        reserve: int,
        write: Callable[[int, bytes, int], int] = os.pwrite,
    ) -> None:
        self._path = path
        self._reserve = reserve
        self._write = write
        self._hash: hashlib._Hash | None = None
        self._validators = Validators()
        self._size = self._durable = 0
        self._sound = True
        with self._translated("open"):
            self._fd = _open(path)
        self._size = self._restore()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stored(self) -> Stored:
        """Return what is there."""
        return Stored(self._size, self._validators)

    def fileno(self) -> int:
        """Return the descriptor, for reading."""
        return self._fd

    def restart(self, validators: Validators) -> None:
        """Drop all bytes; what is written next belongs to `validators`."""
        with self._translated("restart"):
            self.forget()
            os.ftruncate(self._fd, 0)
        self._size = self._durable = 0
        self._validators = validators
        self._hash = hashlib.sha256()

    def forget(self) -> None:
        """Drop the sidecar, durably: the bytes stay, but are never continued."""
        self._sound = False
        with suppress(FileNotFoundError):
            sidecar(self._path).unlink()
            _sync_directory(self._path.parent)

    def append(self, data: bytes) -> None:
        """Write `data` at the end; now and then make it durable.

        Raises:
            Ended: the disk is full.
        """
        with self._translated("write"):
            done = 0
            while done < len(data):
                done += self._write(self._fd, data[done:], self._size + done)
        self._sound = True
        self._size += len(data)
        if self._hash is not None:
            self._hash.update(data)
        if self._size - self._durable >= CHECKPOINT:
            self.checkpoint()
            self.need_room(0)

    def tail(self, length: int) -> bytes:
        """Read the last `length` bytes."""
        with self._translated("read"):
            return os.pread(self._fd, length, self._size - length)

    def need_room(self, size: int) -> None:
        """End the attempt unless `size` more bytes fit and the reserve stays free."""
        missing = size + self._reserve - self._free()
        if missing > 0:
            raise Ended(DiskFull(missing))

    def checkpoint(self) -> None:
        """Make all bytes durable, then the sidecar that counts them."""
        with self._translated("sync"):
            try:
                os.fsync(self._fd)
            except OSError:
                # The kernel may have dropped the pages: these bytes cannot be trusted any more.
                self._sound = False
                raise
            _save(self._path, self._size, self._validators)
        self._durable = self._size

    def finish(self) -> None:
        """Declare the file whole and make it durable, so that it is recognised without a server."""
        self._validators = replace(self._validators, total=self._size)
        self.checkpoint()

    def digest(self, check: Callable[[], None]) -> str:
        """Return the SHA-256 in hex; reads a continued file once more, calling `check` often."""
        if self._hash is not None:
            return self._hash.hexdigest()
        whole = hashlib.sha256()
        with self._translated("read"):
            for offset in range(0, self._size, CHUNK):
                check()
                whole.update(os.pread(self._fd, CHUNK, offset))
        return whole.hexdigest()

    def close(self) -> None:
        """Keep what arrived for the next attempt, as far as the disk allows, and close."""
        try:
            with suppress(DownloadFailed, Ended, OSError):
                if self._size == 0:
                    self._path.unlink(missing_ok=True)
                elif self._sound and self._size != self._durable:
                    self.checkpoint()
        finally:
            os.close(self._fd)

    def _restore(self) -> int:
        """Read the sidecar, cut the file to what it counts, and return that."""
        try:
            known = _load(self._path)
            size = os.fstat(self._fd).st_size
            if known is None or known.size > size:
                known = _Sidecar(_FORMAT, 0, None, None, None)
            if size != known.size:
                with self._translated("truncate"):
                    os.ftruncate(self._fd, known.size)
        except BaseException:
            os.close(self._fd)
            raise
        self._validators = Validators(known.total, etag(known.etag), known.last_modified)
        self._durable = known.size
        return known.size

    def _free(self) -> int:
        with self._translated("measure"):
            room = os.fstatvfs(self._fd)
        return room.f_bavail * room.f_frsize

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno in _NO_ROOM:
                raise Ended(DiskFull(max(1, self._missing()))) from exc
            cause = os.strerror(exc.errno).lower() if exc.errno else "failed"
            if exc.errno == errno.EAGAIN:
                cause = "another download is writing it"
            raise DownloadFailed(
                f'{operation} download "{self._path.name}": {cause}',
                hint="look at the disk that holds the repository, then try again",
            ) from exc

    def _missing(self) -> int:
        total = self._validators.total
        room = os.statvfs(self._path.parent)
        rest = CHUNK if total is None else total - self._size
        return rest + self._reserve - room.f_bavail * room.f_frsize


def sidecar(part: Path) -> Path:
    """Return where the validators of `part` are kept."""
    return part.with_suffix(".json")


def discard(part: Path) -> None:
    """Remove a partial file and what belongs to it."""
    for path in (sidecar(part), _draft(part), part):
        path.unlink(missing_ok=True)


def _draft(part: Path) -> Path:
    return part.with_suffix(".json.new")


def _open(path: Path) -> int:
    """Open or create a regular file of our own, locked against a second download."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(path, flags, 0o600)
    try:
        _claim(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _claim(fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    os.fchmod(fd, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _load(part: Path) -> _Sidecar | None:
    """Read the sidecar; a missing, foreign or torn one counts as none."""
    try:
        fd = os.open(sidecar(part), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        known = msgspec.json.decode(os.read(fd, _LONGEST_SIDECAR), type=_Sidecar)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    finally:
        os.close(fd)
    return known if known.format == _FORMAT and known.size >= 0 else None


def _save(part: Path, size: int, validators: Validators) -> None:
    """Replace the sidecar atomically and durably."""
    text = msgspec.json.encode(
        _Sidecar(_FORMAT, size, validators.total, validators.etag, validators.last_modified)
    )
    draft = _draft(part)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(draft, flags, 0o600)
    try:
        os.write(fd, text)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.replace(sidecar(part))
    _sync_directory(part.parent)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
