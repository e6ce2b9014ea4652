"""The repository's header, and the refusal to touch what is not ours or not understood.

An unknown format or feature, a repository of another user, or one that others may look into is
refused before anything in it is opened for writing.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from backupd.errors import RepositoryDamaged, RepositoryMissing, RepositoryRefused
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.paths import Paths
from backupd.store.sealed import SealBroken, is_sealed, seal, unseal

FORMAT = 1
ENCRYPTION = "encryption"
ENCODERS = "encoders"
"""Recipes may name encoders that are more than zlib with three parameters."""
FEATURES: frozenset[str] = frozenset({ENCRYPTION, ENCODERS})
_MAX_SIZE = 64 << 10


class Header(msgspec.Struct, frozen=True):
    """What `backupd-repository.json` says; unknown `features` forbid opening."""

    format: int
    id: str
    features: tuple[str, ...] = ()


class EncryptedHeader(Header, frozen=True):
    """The header of an encrypted repository; `key` is the fingerprint of its master key, in hex."""

    key: str = ""


def create(
    paths: Paths,
    files: FileSystem,
    key: str | None = None,
    begin: Callable[[EncryptedHeader], None] | None = None,
) -> Header:
    """Make an empty repository; the header is written last.

    With a `key` (fingerprint) it is encrypted, and `begin` writes the key files before the header.

    Raises:
        RepositoryRefused: something else is there already.
    """
    check_place(paths)
    root = paths.root
    root.parent.mkdir(parents=True, exist_ok=True)
    files.make_directory(root)
    _check_owner(root)
    for directory in paths.directories():
        files.make_directory(directory)
    if paths.keys.exists():
        files.remove_tree(paths.keys)  # what a broken-off attempt left opens nothing
    header = Header(FORMAT, secrets.token_hex(16))
    if key is not None and begin is not None:
        header = EncryptedHeader(header.format, header.id, (ENCRYPTION,), key)
        begin(header)
    files.write_file(paths.header, [seal(header)], paths.incoming)
    return header


def check_place(paths: Paths) -> None:
    """Refuse a place where a repository cannot be made.

    Raises:
        RepositoryRefused: something is there already.
    """
    root = paths.root
    if root.exists() and (not root.is_dir() or not _is_blank(paths)):
        if paths.header.is_file():
            cause = "there is one already"
            hint = "use it as it is, or choose another place with --repository"
        else:
            cause = "the place is not empty"
            hint = "choose a new or an empty directory; nothing was touched"
        raise RepositoryRefused(f'create repository "{root}": {cause}', hint)


def read(paths: Paths) -> Header:
    """Return the header of a repository that this program and this user may open.

    Raises:
        RepositoryMissing: no repository there.
        RepositoryRefused: another owner, open to others, or made by a newer program.
        RepositoryDamaged: the header is not what was written.
    """
    if not paths.header.is_file():
        raise RepositoryMissing(
            f'open repository "{paths.root}": there is none',
            "`backupd init` makes one; or name another place with --repository",
        )
    _check_owner(paths.root)
    data = _read(paths)
    try:
        known = msgspec.json.decode(data, type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RepositoryDamaged(f'open repository "{paths.root}": no header', _HEADER) from error
    doubt = "" if is_sealed(data) else ", or the header is damaged"
    if known.format != FORMAT:
        cause = f"format {known.format} is newer than this program ({FORMAT}){doubt}"
        raise _refused(paths.root, cause, _UPGRADE)
    unknown = sorted(set(known.features) - FEATURES)
    if unknown:
        raise _refused(paths.root, f"unknown features: {', '.join(unknown)}{doubt}", _UPGRADE)
    encrypted = ENCRYPTION in known.features
    if not encrypted and paths.keys.exists():
        cause = "its header says that it is not encrypted, but it has keys"
        raise _refused(paths.root, cause, "copy the header from another copy; nothing was touched")
    try:
        return unseal(data, EncryptedHeader if encrypted else Header)
    except SealBroken as error:
        cause = f'open repository "{paths.root}": header: {error}'
        raise RepositoryDamaged(cause, _HEADER) from error


def begin_using(paths: Paths, files: FileSystem, feature: str) -> None:
    """Name a feature in the header, durable before anything in the repository uses it.

    Whoever calls holds the writers' lock. A program that does not know the feature refuses the
    repository from now on.

    Raises:
        RepositoryDamaged, RepositoryRefused: as `read`.
    """
    known = read(paths)
    if feature in known.features:
        return
    features = tuple(sorted({*known.features, feature}))
    with NewFile(files, temporary(paths.incoming)) as file:
        file.write(seal(msgspec.structs.replace(known, features=features)))
        file.seal()
        files.replace(file.path, paths.header)


def _read(paths: Paths) -> bytes:
    try:
        with paths.header.open("rb") as file:
            return file.read(_MAX_SIZE)
    except OSError as error:
        cause = f'open repository "{paths.root}": header: {error.strerror}'
        raise RepositoryDamaged(cause, _HEADER) from error


class _Format(msgspec.Struct, frozen=True):
    """The part of a header that every format has."""

    format: int
    features: tuple[str, ...] = ()


_HEADER = "copy the header from another copy of the repository; packs and snapshots are not touched"
_UPGRADE = "upgrade backupd or choose another repository; nothing was touched"


def _is_blank(paths: Paths) -> bool:
    """Return whether the directory holds nothing but what a broken-off `create` leaves."""
    ours = {path.name for path in (*paths.directories(), paths.keys)}
    for child in paths.root.iterdir():
        if child.name not in ours or not child.is_dir():
            return False
        if child not in (paths.incoming, paths.keys) and any(child.iterdir()):
            return False
    return True


def _check_owner(root: Path) -> None:
    status = root.stat()
    if status.st_uid != os.geteuid():
        raise _refused(root, "it belongs to another user", "run as the user that owns it")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _refused(root, "other users may look into it", f'chmod 700 "{root}"')


def _refused(root: Path, cause: str, hint: str) -> RepositoryRefused:
    return RepositoryRefused(f'open repository "{root}": {cause}', hint)
