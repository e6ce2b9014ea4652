"""One daemon per state directory, by a lock that the kernel releases with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backupd.errors import RepositoryLocked


@contextmanager
def only_instance(state: Path) -> Iterator[None]:
    """Hold the state directory's daemon lock.

    Raises:
        RepositoryLocked: another daemon, or a `backupd poll`, holds it.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(state / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RepositoryLocked(
                f'use state directory "{state}": process {holder} already watches it',
                "stop the running daemon first, or let it do the work: it polls by itself",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def is_running(state: Path) -> bool:
    """Say whether a daemon, or a `backupd poll`, holds the state directory's lock."""
    try:
        handle = os.open(state / "daemon.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
