"""One daemon per state directory, by a lock that the kernel releases with the process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backupd.errors import BackupdError, RepositoryLocked

PATIENCE = 0.5
"""Seconds for which a held lock is tried again: `is_running` holds it for a moment."""


@contextmanager
def only_instance(state: Path) -> Iterator[None]:
    """Hold the state directory's daemon lock.

    Raises:
        RepositoryLocked: another daemon, or a `backupd poll`, holds it.
        BackupdError: the directory cannot be made or written.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(state / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackupdError(
            f'use state directory "{state}": {(error.strerror or "failed").lower()}',
            "let the user that runs backupd write there, or name another one in [state] path",
        ) from error
    try:
        if not _taken(handle):
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RepositoryLocked(
                f'use state directory "{state}": process {holder} already watches it',
                "stop the running daemon first, or let it do the work: it polls by itself",
            )
        with suppress(OSError):  # a full disk: the note is for people only
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Take the lock, if need be after a moment; say whether it is ours."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        else:
            return True


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
