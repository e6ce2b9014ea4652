"""The writers' lock: an exclusive `flock` on one file of the repository.

The kernel frees it when its holder ends, however it ends, so it cannot go stale. The text in the
file is for people only. Readers need no lock: packs and snapshots never change (I3).
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backupd.errors import BackupdError, RepositoryLocked

HINT = "let this user write to the repository; snapshots and restore only need to read it"
"""What to do where the lock cannot be taken at all."""
_NOTE = 200  # always this long, so that it is overwritten without truncating the file first


class Lock:
    """One held lock; `release` or the end of the process frees it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Free the lock; freeing it twice is harmless."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def acquire(path: Path, verb: str) -> Lock:
    """Take the lock at once, or say who holds it.

    Raises:
        RepositoryLocked: another process (or another `Repository` of this one) holds it.
    """
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, _NOTE).decode("utf-8", "replace").strip() or "another process"
        os.close(descriptor)
        raise RepositoryLocked(
            f'lock repository "{path.parent}": held by {holder}', "try again when it has ended"
        ) from error
    except OSError:
        os.close(descriptor)
        raise
    note = f"{verb}, process {os.getpid()} on {socket.gethostname()}"
    os.pwrite(descriptor, note.encode()[:_NOTE].ljust(_NOTE) + b"\n", 0)
    return Lock(descriptor)


class Writing:
    """The right to write of one open repository: its lock, taken by the outermost of nested holds.

    Another thread of this process waits for it; another process is refused. `begin` is called
    whenever the lock was taken anew, before anything is written; if it fails, the lock is freed.
    """

    def __init__(self, path: Path, begin: Callable[[], None]) -> None:
        self._path = path
        self._begin = begin
        self._threads = threading.RLock()
        self._lock: Lock | None = None
        self._holds = 0

    @contextmanager
    def held(self, verb: str) -> Iterator[None]:
        """Hold it for a block; blocks of one thread may nest.

        Raises:
            RepositoryLocked: another process writes.
            BackupdError: the lock cannot be taken here at all.
        """
        with self._threads:
            self.hold(verb)
            try:
                yield
            finally:
                self._holds -= 1
                if self._holds == 0:
                    self._free()

    def hold(self, verb: str) -> None:
        """Hold it until `end`. Raises as `held`."""
        if self._holds == 0:
            try:
                self._lock = acquire(self._path, verb)
            except OSError as error:
                cause = f'lock repository "{self._path.parent}": {error.strerror}'
                raise BackupdError(cause, HINT) from error
            try:
                self._begin()
            except BaseException:
                self._free()
                raise
        self._holds += 1

    @contextmanager
    def end(self) -> Iterator[None]:
        """Wait for other threads' holds, free the lock, and keep it from being taken in a block."""
        with self._threads:
            self._free()
            yield

    def _free(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
