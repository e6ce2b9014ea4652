"""How a repository is opened, and where its derived files (index, catalog) lie.

A plain repository keeps them in its `cache/`. Those of an encrypted one would tell what it holds:
they lie in memory, never on a disk, unless the person names a directory for them. In memory means a
directory of a memory file system that belongs to us, shared by daemon and command line; without
one, each process keeps its own.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from backupd.errors import RepositoryRefused
from backupd.store.paths import Paths

AUTO, INSIDE, MEMORY, RUNTIME = "auto", "repository", "memory", "runtime"
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Access:
    """How to open a repository; `passphrase` and `recovery_key` are asked only if it is encrypted.

    `cache` is "auto", "repository", "memory", "runtime" or an absolute path; `runtime` are the
    directories that may lie in memory, the best first. With a `recovery_key` no passphrase is
    asked. `expect_encrypted` refuses a repository that is not.
    """

    passphrase: Callable[[], str] | None = None
    recovery_key: Callable[[], str] | None = field(default=None, repr=False)
    cache: str = AUTO
    runtime: tuple[Path, ...] = ()
    expect_encrypted: bool = False


def derived_place(paths: Paths, identity: str, access: Access, *, encrypted: bool) -> Path | None:
    """Return the directory for derived files, made, 0700; None keeps them in the process.

    Raises:
        RepositoryRefused: the place that was chosen is inside an encrypted repository, belongs to
            somebody else, is open to others or cannot be made.
    """
    choice = access.cache
    if choice == AUTO:
        choice = RUNTIME if encrypted else INSIDE
    if choice == MEMORY:
        return None
    if choice == INSIDE:
        if encrypted:
            raise _refused("in an encrypted repository index and catalog cannot be kept")
        return paths.cache
    if choice == RUNTIME:
        return _first_usable(access.runtime, _name(paths, identity))
    chosen = Path(choice)
    if not chosen.is_absolute():
        raise _refused(f'"{choice}" is neither an absolute path nor a word for a place')
    if chosen.resolve().is_relative_to(paths.root.resolve()):
        raise _refused(f'"{choice}" lies inside the repository')
    try:
        return _private(_private(chosen) / _name(paths, identity))
    except OSError as error:
        raise _refused(f'"{choice}": {error.strerror or error}') from error


def lies_in_memory(path: Path) -> bool:
    """Return whether a directory is in a memory file system, as far as the kernel tells."""
    best, kind = -1, ""
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
            before, _, after = line.partition(" - ")
            mount = before.split(" ")[4].replace("\\040", " ")
            if len(mount) >= best and path.resolve().is_relative_to(mount):
                best, kind = len(mount), after.split(" ")[0]
    return kind in _IN_MEMORY


def _name(paths: Paths, identity: str) -> str:
    """Return a name of its own for each repository; a copy elsewhere has the same identity."""
    place = hashlib.sha256(os.fsencode(paths.root.resolve())).hexdigest()
    return f"{identity[:16]}-{place[:16]}"


def _first_usable(candidates: tuple[Path, ...], name: str) -> Path | None:
    for directory in candidates:
        with suppress(OSError):
            if lies_in_memory(directory if directory.exists() else directory.parent):
                return _private(_private(directory) / name)
    return None


def _private(directory: Path) -> Path:
    """Make a directory for us alone, or find that it is one.

    Raises:
        OSError: it cannot be made, or others own it or may look into it.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(0, "it is no directory")
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(0, "it belongs to others or is open to them")
    return directory


def _refused(cause: str) -> RepositoryRefused:
    return RepositoryRefused(
        f"place derived files: {cause}", 'choose "memory", "runtime" or a private directory'
    )
