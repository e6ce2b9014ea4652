"""Keys as text that a person can write down, read out and type: grouped, checked. Pure.

Crockford's alphabet: 0-9 and A-Z without I, L, O and U, five bits a character, most significant
first. The last four characters check the others (20 bits), so one wrong character is found always
and any other mistake all but always. Case, spaces and dashes do not matter; I and L are read as 1,
O as 0.

A **recovery key** is 20 random bytes: 32 + 4 characters, nine groups. It opens a key file. A
**master key** on paper is 32 bytes: 52 + 4 characters, fourteen groups. It opens the repository
without any key file.
"""

from __future__ import annotations

import hashlib
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECOVERY_SIZE = 20
MASTER_SIZE = 32
_CHECK = 4
_GROUP = 4
_READ_AS = str.maketrans("ILO", "110", " -\t\r\n")


class Mistyped(Exception):
    """The text is no key; it says what is wrong with it, never the text."""


def new() -> str:
    """Return a new recovery key."""
    return written(secrets.token_bytes(RECOVERY_SIZE))


def written(key: bytes) -> str:
    """Return a key as text, in groups of four."""
    text = _base32(key)
    text += _check(key)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def read(text: str) -> bytes:
    """Return the key that a person typed.

    Raises:
        Mistyped: a character that cannot be, a wrong length, or a check that fails.
    """
    plain = text.upper().translate(_READ_AS)
    if any(character not in ALPHABET for character in plain):
        raise Mistyped("a character that no key has")
    for size in (RECOVERY_SIZE, MASTER_SIZE):
        if len(plain) == _length(size) + _CHECK:
            return _decoded(plain, size)
    wanted = " or ".join(str(_length(size) + _CHECK) for size in (RECOVERY_SIZE, MASTER_SIZE))
    raise Mistyped(f"{len(plain)} characters instead of {wanted}")


def _decoded(plain: str, size: int) -> bytes:
    bits = 0
    for character in plain[:-_CHECK]:
        bits = bits << 5 | ALPHABET.index(character)
    spare = _length(size) * 5 - size * 8
    key = (bits >> spare).to_bytes(size, "big")
    if bits & ((1 << spare) - 1) or _check(key) != plain[-_CHECK:]:
        raise Mistyped("its check does not fit: a character is wrong, or groups are swapped")
    return key


def _base32(key: bytes) -> str:
    length = _length(len(key))
    bits = int.from_bytes(key, "big") << (length * 5 - len(key) * 8)
    return "".join(ALPHABET[bits >> (5 * place) & 31] for place in reversed(range(length)))


def _check(key: bytes) -> str:
    return _base32(hashlib.sha256(b"backupd key check" + key).digest())[:_CHECK]


def _length(size: int) -> int:
    return -(-size * 8 // 5)
