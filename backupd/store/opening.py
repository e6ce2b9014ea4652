"""What stands before a repository: made or refused, unlocked, and where its derived files lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backupd.errors import CredentialError, UsageError
from backupd.store import crypto, header, keys, recovery
from backupd.store.derived import Access, derived_place
from backupd.store.envelope import PLAIN, Cipher, Envelope
from backupd.store.fsio import FileSystem
from backupd.store.header import EncryptedHeader
from backupd.store.keys import Cost, Key, KeyRing, NewKeys, Unlocked
from backupd.store.paths import Paths


class OpenKeys:
    """The keys of an open encrypted repository; its user holds the writers' lock to change them."""

    def __init__(self, ring: KeyRing, unlocked: Unlocked) -> None:
        self.ring = ring
        self._unlocked = unlocked

    def all(self) -> list[Key]:
        """Return all keys that can be read, oldest first."""
        return self.ring.keys()

    def add_passphrase(self, passphrase: str, now: datetime, cost: Cost | None = None) -> str:
        """Let a further passphrase open the repository; return the new key's id.

        Raises:
            UsageError: it is too short.
        """
        return self.ring.add_passphrase(self._unlocked.cipher, passphrase, now, cost)

    def add_recovery(self, text: str, now: datetime) -> str:
        """Let a recovery key made by `recovery.new` open the repository; return the key's id."""
        return self.ring.add_recovery(self._unlocked.cipher, text, now)

    def remove(self, prefix: str) -> Key:
        """Remove a key; see `KeyRing.remove`."""
        return self.ring.remove(prefix, self._unlocked)

    def master_text(self) -> str:
        """Return the master key as text: whoever has it can read everything, for ever."""
        return recovery.written(self._unlocked.cipher.master)


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened repository; `derived` is None if derived files stay in the process."""

    envelope: Envelope
    derived: Path | None
    keys: OpenKeys | None


def check_place(path: Path) -> None:
    """Refuse a place where a repository cannot be made, before anybody is asked anything.

    Raises:
        RepositoryRefused: something is there already.
    """
    header.check_place(Paths(path))


def make(paths: Paths, files: FileSystem, new: NewKeys | None) -> None:
    """Make an empty repository, encrypted if there are new keys; the header is written last.

    Raises:
        RepositoryRefused: the place is not empty, not ours, or open to others.
        UsageError: the passphrase is too short.
    """
    if new is None:
        header.create(paths, files)
        return
    keys.check_passphrase(new.passphrase)
    cipher = Cipher(crypto.new_key())

    def begin(head: EncryptedHeader) -> None:
        keys.begin(paths, files, head, cipher, new)

    header.create(paths, files, keys.fingerprint(cipher), begin)


def enter(paths: Paths, files: FileSystem, access: Access) -> Opened:
    """Read the header, unlock, and find the place of derived files.

    Raises:
        RepositoryMissing, RepositoryRefused, RepositoryDamaged: as `header.read`.
        CredentialError: it is encrypted, and no right passphrase was given.
    """
    head = header.read(paths)
    if not isinstance(head, EncryptedHeader):
        _check_expectation(paths, access)
        return Opened(PLAIN, derived_place(paths, head.id, access, encrypted=False), None)
    ring = KeyRing(paths, files, head)
    unlocked = _unlock(paths, ring, access)
    place = derived_place(paths, head.id, access, encrypted=True)
    return Opened(unlocked.cipher, place, OpenKeys(ring, unlocked))


def list_keys(path: Path) -> list[Key]:
    """Return the keys of an encrypted repository; needs no passphrase.

    Raises:
        UsageError: the repository is not encrypted.
    """
    paths = Paths(path)
    head = header.read(paths)
    if not isinstance(head, EncryptedHeader):
        raise UsageError(
            f'list keys of "{path}": the repository is not encrypted',
            "it has none; an encrypted one is made with init --encrypt",
        )
    return KeyRing(paths, FileSystem(), head).keys()


def _unlock(paths: Paths, ring: KeyRing, access: Access) -> Unlocked:
    if access.recovery_key is not None:
        return ring.unlock_with_text(access.recovery_key())
    if access.passphrase is None:
        raise CredentialError(
            f'open repository "{paths.root}": it is encrypted, and no passphrase was given',
            "see [repository] credential in docs/configuration.md",
        )
    return ring.unlock(access.passphrase())


def _check_expectation(paths: Paths, access: Access) -> None:
    """Refuse a plain repository where an encrypted one is expected: it may have been exchanged."""
    if access.expect_encrypted or access.recovery_key is not None:
        raise UsageError(
            f'open repository "{paths.root}": it is not encrypted, but a key is configured for it',
            "remove `credential` from [repository], or find out who exchanged the repository",
        )
