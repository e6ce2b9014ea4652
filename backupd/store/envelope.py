"""What stands between a repository's bytes and its files: nothing, or encryption.

Everything that is written below the repository goes through one `Envelope`, and every name that is
made of content too; whoever frames bytes is handed it and does not know which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from backupd.store import crypto, naming
from backupd.store.crypto import Forged, Purpose

__all__ = ["PLAIN", "Cipher", "Envelope", "Forged", "Purpose"]


class Envelope(Protocol):
    """Names and seals what a repository holds. Thread-safe."""

    @property
    def encrypted(self) -> bool: ...

    def object_id(self, data: bytes) -> bytes:
        """Return the name of an object (I2)."""

    def file_name(self, sha256: bytes) -> str:
        """Return the name, in hex, of a file kept as received that has this SHA-256."""

    def seal(self, purpose: Purpose, context: bytes, data: bytes) -> bytes:
        """Return what to write for `data`, which stands for `context`."""

    def unseal(self, purpose: Purpose, context: bytes, sealed: bytes) -> bytes:
        """Return what was sealed, or raise `Forged`."""

    def seal_stream(
        self, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
    ) -> Iterator[bytes]:
        """Yield what to write for a stream."""

    def unseal_stream(
        self, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
    ) -> Iterator[bytes]:
        """Yield the stream that was sealed, or raise `Forged` where it is not."""


class _Plain:
    """No encryption: bytes stay as they are, names are their SHA-256."""

    encrypted = False

    def object_id(self, data: bytes) -> bytes:
        return naming.object_id(data)

    def file_name(self, sha256: bytes) -> str:
        return sha256.hex()

    def seal(self, purpose: Purpose, context: bytes, data: bytes) -> bytes:  # noqa: ARG002
        return data

    def unseal(self, purpose: Purpose, context: bytes, sealed: bytes) -> bytes:  # noqa: ARG002
        return sealed

    def seal_stream(
        self,
        purpose: Purpose,  # noqa: ARG002
        context: bytes,  # noqa: ARG002
        chunks: Iterable[bytes],
    ) -> Iterator[bytes]:
        return iter(chunks)

    unseal_stream = seal_stream


PLAIN: Envelope = _Plain()


class Cipher:
    """Encryption under one master key, which never leaves the process."""

    encrypted = True

    def __init__(self, master: bytes) -> None:
        """Derive the sub-keys."""
        self._master = master
        self._objects = crypto.derive(master, "object names")
        self._files = crypto.derive(master, "file names")
        self._keys = {p: crypto.derive(master, f"seal {p.name.lower()}") for p in Purpose}

    def __repr__(self) -> str:
        return "Cipher(…)"

    @property
    def master(self) -> bytes:
        """The master key, for those who wrap it."""
        return self._master

    def object_id(self, data: bytes) -> bytes:
        """Return the keyed name of an object (I2)."""
        return crypto.keyed_hash(self._objects, data)[: naming.ID_SIZE]

    def file_name(self, sha256: bytes) -> str:
        """Return a keyed name for a file kept as received."""
        return crypto.keyed_hash(self._files, sha256).hex()

    def seal(self, purpose: Purpose, context: bytes, data: bytes) -> bytes:
        """Encrypt `data`; equal data never give equal bytes."""
        return crypto.seal(self._keys[purpose], purpose, context, data)

    def unseal(self, purpose: Purpose, context: bytes, sealed: bytes) -> bytes:
        """Decrypt, or raise `Forged`."""
        return crypto.unseal(self._keys[purpose], purpose, context, sealed)

    def seal_stream(
        self, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
    ) -> Iterator[bytes]:
        """Encrypt a stream."""
        return crypto.seal_stream(self._keys[purpose], purpose, context, chunks)

    def unseal_stream(
        self, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
    ) -> Iterator[bytes]:
        """Decrypt a stream, or raise `Forged` where it is not genuine."""
        return crypto.unseal_stream(self._keys[purpose], purpose, context, chunks)
