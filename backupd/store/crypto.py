"""Keys and ciphers of an encrypted repository: derivation, sealing, streams. Pure.

    master key, 32 random bytes
      └ HKDF-SHA256, one label for each purpose → 32-byte sub-keys
          └ HKDF-SHA256, salt of 32 random bytes for every single message → the message's own key

Rules that stay here. Everything is AES-256-GCM. A message's key is used for that message alone, so
its nonces may simply count: 0 for a message in one piece, the number of the segment and a flag for
the last one in a stream (the STREAM construction, so a stream can be neither cut nor reordered).
The associated data bind format, purpose and the id that the message stands for; a message moved
elsewhere does not open. There is nothing to choose: another cipher would be another format.

    sealed bytes    salt 32 | ciphertext | tag 16
    sealed stream   salt 32 | segments: ciphertext of 1 MiB, the last one shorter | tag 16 each

Source: RFC 5869 (HKDF), NIST SP 800-38D (GCM), Hoang et al. 2015 (STREAM), RFC 7693 (BLAKE2).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

FORMAT = 1
KEY_SIZE = 32
SALT_SIZE = 32
TAG_SIZE = 16
OVERHEAD = SALT_SIZE + TAG_SIZE
SEGMENT_BYTES = 1 << 20
_NONCE_SIZE = 12
_LABEL = b"backupd/1/"


class Purpose(IntEnum):
    """What a message is; each has its own sub-key. The numbers are part of the format."""

    FRAME = 1
    DIRECTORY = 2
    MANIFEST = 3
    PROOF = 4
    QUARANTINE = 5
    REFUSAL = 6
    KEY = 7
    PIN = 8
    REMAINDER = 9


class Forged(Exception):
    """The bytes are not what was sealed with this key, for this purpose and this id."""


def new_key() -> bytes:
    """Return a new random key."""
    return secrets.token_bytes(KEY_SIZE)


def derive(master: bytes, label: str) -> bytes:
    """Return the sub-key for a label."""
    return HKDFExpand(SHA256(), KEY_SIZE, _LABEL + label.encode()).derive(master)


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """Return the keyed BLAKE2b-256 of some bytes: a name that says nothing without the key."""
    return hashlib.blake2b(data, key=key, digest_size=32).digest()


def seal(key: bytes, purpose: Purpose, context: bytes, data: bytes) -> bytes:
    """Encrypt a message under a key of its own; `context` is what it stands for."""
    salt = secrets.token_bytes(SALT_SIZE)
    cipher = AESGCM(_message_key(key, salt))
    return salt + cipher.encrypt(bytes(_NONCE_SIZE), data, _associated(purpose, context))


def unseal(key: bytes, purpose: Purpose, context: bytes, sealed: bytes) -> bytes:
    """Return the message.

    Raises:
        Forged: a byte, the purpose, the context or the key is another.
    """
    if len(sealed) < OVERHEAD:
        raise Forged("too short to be sealed")
    cipher = AESGCM(_message_key(key, sealed[:SALT_SIZE]))
    view = memoryview(sealed)[SALT_SIZE:]
    try:
        return cipher.decrypt(bytes(_NONCE_SIZE), view, _associated(purpose, context))
    except InvalidTag as error:
        raise Forged("its bytes are not what was sealed under this name") from error


def seal_stream(
    key: bytes, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield the sealed form of a stream of any length, in bounded memory."""
    salt = secrets.token_bytes(SALT_SIZE)
    cipher = AESGCM(_message_key(key, salt))
    associated = _associated(purpose, context)
    yield salt
    for number, (segment, last) in enumerate(_segments(chunks, SEGMENT_BYTES)):
        yield cipher.encrypt(_nonce(number, last=last), segment, associated)


def unseal_stream(
    key: bytes, purpose: Purpose, context: bytes, chunks: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield the stream's bytes; each segment is proved before it is handed out.

    Raises:
        Forged: as `unseal`, or the stream was cut, grown or reordered; bytes that were handed out
            before are genuine, but need not be the whole.
    """
    source = iter(chunks)
    head = bytearray()
    while len(head) < SALT_SIZE:
        chunk = next(source, b"")
        if not chunk:
            raise Forged("too short to be sealed")
        head += chunk
    cipher = AESGCM(_message_key(key, bytes(head[:SALT_SIZE])))
    associated = _associated(purpose, context)
    rest = _chained(bytes(head[SALT_SIZE:]), source)
    for number, (segment, last) in enumerate(_segments(rest, SEGMENT_BYTES + TAG_SIZE)):
        try:
            yield cipher.decrypt(_nonce(number, last=last), segment, associated)
        except InvalidTag as error:
            raise Forged("its bytes are not what was sealed under this name") from error


def _message_key(key: bytes, salt: bytes) -> bytes:
    return HKDF(SHA256(), KEY_SIZE, salt, _LABEL + b"message").derive(key)


def _associated(purpose: Purpose, context: bytes) -> bytes:
    return b"backupd" + bytes((FORMAT, purpose)) + context


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_NONCE_SIZE - 1, "big") + bytes((last,))


def _segments(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield (segment, is it the last); all but the last have exactly `size` bytes."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        while len(data) > size:
            yield bytes(data[:size]), False
            del data[:size]
    yield bytes(data), True


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
