"""Renewed cookies on disk, for the next attempt: one sealed file for each credential.

The file can be read only with the credential it was made from: its key is derived from the
credential's text, which is not in the state directory, and a random salt. So a copy of the state
directory gives nobody a session, and a credential that a person replaces makes the file of the old
one unreadable, which is what is wanted: it is then written anew. A file that is lost, cut, foreign
or old is the same as none: the cookies of the credential are used.

    backupd-jar-1 | salt 32 | AES-256-GCM ciphertext of a JSON array of cookies | tag 16

Each file has a key of its own by its salt, so the one fixed nonce is used once for each key. The
name of the credential is bound by the associated data.
Source: RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backupd.download.cookies import Crumb

LONGEST = 1 << 20
_MAGIC = b"backupd-jar-1"
_SALT = 32
_NONCE = bytes(12)


class JarFile:
    """The renewed cookies of one credential, in a directory that is made when it is needed."""

    def __init__(self, directory: Path, credential: str) -> None:
        self._path = directory / f"{credential}.jar"
        self._bound = _MAGIC + b"/" + credential.encode()

    def load(self, secret: str) -> tuple[Crumb, ...] | None:
        """Return what was kept for this credential text; None where nothing is usable."""
        try:
            with self._path.open("rb") as file:
                raw = file.read(LONGEST + 1)
            salt, sealed = raw[len(_MAGIC) :][:_SALT], raw[len(_MAGIC) + _SALT :]
            if not raw.startswith(_MAGIC) or len(salt) != _SALT or len(raw) > LONGEST:
                return None
            plain = AESGCM(self._key(secret, salt)).decrypt(_NONCE, sealed, self._bound)
            return tuple(msgspec.json.decode(plain, type=list[Crumb]))
        except (OSError, InvalidTag, msgspec.MsgspecError):
            return None

    def keep(self, secret: str, crumbs: tuple[Crumb, ...]) -> None:
        """Replace what is kept; durable and whole at any crash.

        Raises:
            OSError: it cannot be written; what was kept before still is.
        """
        salt = secrets.token_bytes(_SALT)
        sealed = AESGCM(self._key(secret, salt)).encrypt(
            _NONCE, msgspec.json.encode(crumbs), self._bound
        )
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.unlink(missing_ok=True)  # left by a crash
        _write(fresh, _MAGIC + salt + sealed)
        fresh.replace(self._path)
        _sync(self._path.parent)

    def _key(self, secret: str, salt: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt, self._bound).derive(secret.encode(errors="replace"))


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
