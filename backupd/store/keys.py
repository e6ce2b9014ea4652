"""Key files: the master key of a repository, wrapped by a passphrase or by a recovery key.

    keys/<sha256>    one wrapped copy of the master key, sealed JSON, immutable, named by its hash

A passphrase is stretched by Argon2id, whose cost stands in the file; a recovery key is random and
needs no stretching. All that the file says is bound into the wrapping, and the header names a
fingerprint of the master key, so neither can be exchanged. Removing a file takes nothing back from
somebody who has a copy of it and its passphrase: only a new repository does.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from backupd.errors import CredentialError, RepositoryDamaged, UsageError
from backupd.store import crypto, recovery
from backupd.store.crypto import Forged, Purpose
from backupd.store.envelope import Cipher
from backupd.store.fsio import FileSystem
from backupd.store.header import EncryptedHeader
from backupd.store.paths import Paths
from backupd.store.sealed import SealBroken, canonical, seal, unseal

FORMAT = 1
SHORTEST_PASSPHRASE = 8
_SALT_SIZE = 16
_MAX_SIZE = 16 << 10
_NAME = re.compile(r"[0-9a-f]{64}")
_ONE_UP = msgspec.Meta(ge=1, le=64)


class Cost(msgspec.Struct, frozen=True):
    """What one guess of a passphrase costs: Argon2id's parameters, those of RFC 9106 section 4 for
    a machine with little memory. Reading refuses more than 4 GiB, 64 passes or 64 lanes."""

    memory_kib: Annotated[int, msgspec.Meta(ge=8, le=4 << 20)] = 64 << 10
    passes: Annotated[int, _ONE_UP] = 3
    lanes: Annotated[int, _ONE_UP] = 4


class KeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a key file says; `salt` and `wrapped` are hex, `argon2` is there for a passphrase."""

    format: int
    repository: str
    kind: Literal["passphrase", "recovery"]
    created_at: datetime
    salt: str
    argon2: Cost | None
    wrapped: str


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a repository; `kind` is "passphrase" or "recovery"."""

    id: str
    kind: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What an encrypted repository is made with; `recovery_key` as text, `now` aware UTC."""

    passphrase: str
    recovery_key: str
    now: datetime
    cost: Cost = Cost()  # noqa: RUF009 - immutable

    def __repr__(self) -> str:
        return "NewKeys(…)"


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An opened repository's cipher, and the key file that opened it (None: the master key)."""

    cipher: Cipher
    key: str | None


class KeyDamaged(Exception):
    """A key file is not what was written."""


class KeyRing:
    """The key files of one repository. Whoever writes holds the writers' lock."""

    def __init__(self, paths: Paths, files: FileSystem, header: EncryptedHeader) -> None:
        self._paths = paths
        self._files = files
        self._header = header

    def keys(self) -> list[Key]:
        """Return the keys whose files can be read, oldest first."""
        found = [Key(name, file.kind, file.created_at) for name, file in self._readable()]
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def damaged(self) -> list[Path]:
        """Return the files in `keys/` that are no key of this repository."""
        sound = {name for name, _ in self._readable()}
        return [path for path in self._files_there() if path.name not in sound]

    def unlock(self, passphrase: str) -> Unlocked:
        """Open the repository with a passphrase.

        Raises:
            CredentialError: no key file opens with it.
        """
        for name, file in self._readable():
            if file.argon2 is not None:
                wrapping = _stretched(passphrase, bytes.fromhex(file.salt), file.argon2)
                master = _unwrapped(file, wrapping)
                if master is not None:
                    return Unlocked(self._proved(master), name)
        raise self._refused("no key opens with this passphrase")

    def unlock_with_text(self, text: str) -> Unlocked:
        """Open the repository with a recovery key, or with its master key on paper.

        Raises:
            CredentialError: the text is mistyped, or a key of something else.
        """
        try:
            key = recovery.read(text)
        except recovery.Mistyped as error:
            raise CredentialError(
                f'open repository "{self._paths.root}": recovery key: {error}', "type it again"
            ) from error
        if len(key) == recovery.MASTER_SIZE:
            if _fingerprint(key) != self._header.key:
                raise self._refused("this is the master key of another repository")
            return Unlocked(Cipher(key), None)
        for name, file in self._readable():
            if file.argon2 is None:
                master = _unwrapped(file, _from_recovery(key, bytes.fromhex(file.salt)))
                if master is not None:
                    return Unlocked(self._proved(master), name)
        raise self._refused("no key opens with this recovery key")

    def add_passphrase(
        self, cipher: Cipher, passphrase: str, now: datetime, cost: Cost | None = None
    ) -> str:
        """Let a further passphrase open the repository; return the new key's id."""
        check_passphrase(passphrase)
        salt = _new_salt()
        cost = cost or Cost()
        wrapping = _stretched(passphrase, salt, cost)
        return self._write(cipher, "passphrase", wrapping, salt, cost, now)

    def add_recovery(self, cipher: Cipher, text: str, now: datetime) -> str:
        """Let a recovery key made by `recovery.new` open the repository; return the key's id."""
        salt = _new_salt()
        wrapping = _from_recovery(recovery.read(text), salt)
        return self._write(cipher, "recovery", wrapping, salt, None, now)

    def remove(self, prefix: str, unlocked: Unlocked) -> Key:
        """Remove the key whose id begins with `prefix`; return it.

        The key in use stays, so one that is known to open is always left.

        Raises:
            UsageError: the prefix means none or several, the key is in use, or the last passphrase.
        """
        keys = self.keys()
        found = [key for key in keys if prefix and key.id.startswith(prefix.lower())]
        if len(found) != 1:
            cause = "it means several" if found else "there is none"
            raise UsageError(f'remove key "{prefix}": {cause}', "list them with key list")
        (key,) = found
        if key.id == unlocked.key:
            cause = "it is the one that opened the repository just now"
            raise UsageError(
                f"remove key {key.id[:12]}: {cause}", "open it with another passphrase"
            )
        if key.kind == "passphrase" and sum(k.kind == "passphrase" for k in keys) == 1:
            cause = "it is the last passphrase"
            raise UsageError(f"remove key {key.id[:12]}: {cause}", "add another first")
        self._files.remove(self._paths.keys / key.id)
        self._files.sync_directory(self._paths.keys)
        return key

    def _write(
        self,
        cipher: Cipher,
        kind: Literal["passphrase", "recovery"],
        wrapping: bytes,
        salt: bytes,
        cost: Cost | None,
        now: datetime,
    ) -> str:
        file = KeyFile(
            format=FORMAT,
            repository=self._header.id,
            kind=kind,
            created_at=now.astimezone(UTC).replace(microsecond=0),
            salt=salt.hex(),
            argon2=cost,
            wrapped="",
        )
        wrapped = crypto.seal(wrapping, Purpose.KEY, canonical(file), cipher.master).hex()
        data = seal(msgspec.structs.replace(file, wrapped=wrapped))
        name = hashlib.sha256(data).hexdigest()
        self._files.write_file(self._paths.keys / name, [data], self._paths.incoming)
        return name

    def _readable(self) -> Iterator[tuple[str, KeyFile]]:
        for path in self._files_there():
            if _NAME.fullmatch(path.name):
                try:
                    yield path.name, _read(path, self._header.id)
                except KeyDamaged:
                    continue  # `check` names it; another key may open meanwhile

    def _files_there(self) -> list[Path]:
        return sorted(self._paths.keys.iterdir()) if self._paths.keys.is_dir() else []

    def _proved(self, master: bytes) -> Cipher:
        if not hmac.compare_digest(_fingerprint(master), self._header.key):
            raise RepositoryDamaged(
                f'open repository "{self._paths.root}": header: it names another master key',
                "copy the header from another copy of the repository",
            )
        return Cipher(master)

    def _refused(self, cause: str) -> CredentialError:
        damaged = len(self.damaged())
        more = f"; {damaged} key file(s) are damaged, see check" if damaged else ""
        return CredentialError(
            f'open repository "{self._paths.root}": {cause}{more}',
            "with the recovery key, `backupd key recover` sets a new passphrase",
        )


def begin(
    paths: Paths, files: FileSystem, header: EncryptedHeader, cipher: Cipher, new: NewKeys
) -> None:
    """Write the first two key files of a repository whose header is not written yet."""
    files.make_directory(paths.keys)
    ring = KeyRing(paths, files, header)
    ring.add_passphrase(cipher, new.passphrase, new.now, new.cost)
    ring.add_recovery(cipher, new.recovery_key, new.now)


def fingerprint(cipher: Cipher) -> str:
    """Return what the header says of a master key; it tells nothing about it."""
    return _fingerprint(cipher.master)


def check_passphrase(passphrase: str) -> None:
    """Refuse a passphrase that protects nothing.

    Raises:
        UsageError: it is too short.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise UsageError(
            f"use passphrase: it is shorter than {SHORTEST_PASSPHRASE} characters",
            "five or six random words are good",
        )


def _read(path: Path, repository: str) -> KeyFile:
    try:
        with path.open("rb") as source:
            data = source.read(_MAX_SIZE)
        file = unseal(data, KeyFile)
        bytes.fromhex(file.salt), bytes.fromhex(file.wrapped)
    except (OSError, SealBroken, ValueError) as error:
        raise KeyDamaged("it cannot be read") from error
    if hashlib.sha256(data).hexdigest() != path.name:
        raise KeyDamaged("its bytes do not match its name")
    if file.format != FORMAT or file.repository != repository:
        raise KeyDamaged("it belongs to another repository or program")
    if (file.kind == "passphrase") != (file.argon2 is not None):
        raise KeyDamaged("its kind and its parameters do not fit")
    return file


def _unwrapped(file: KeyFile, wrapping: bytes) -> bytes | None:
    context = canonical(msgspec.structs.replace(file, wrapped=""))
    try:
        master = crypto.unseal(wrapping, Purpose.KEY, context, bytes.fromhex(file.wrapped))
    except Forged:
        return None
    return master if len(master) == crypto.KEY_SIZE else None


def _stretched(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    """Return the key made from a passphrase; the same letters count, however they are composed."""
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    kdf = Argon2id(
        salt=salt,
        length=crypto.KEY_SIZE,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=max(cost.memory_kib, 8 * cost.lanes),
    )
    return kdf.derive(text)


def _from_recovery(key: bytes, salt: bytes) -> bytes:
    return crypto.keyed_hash(crypto.derive(key, "recovery"), salt)


def _fingerprint(master: bytes) -> str:
    return crypto.derive(master, "fingerprint")[:16].hex()


def _new_salt() -> bytes:
    return crypto.new_key()[:_SALT_SIZE]
