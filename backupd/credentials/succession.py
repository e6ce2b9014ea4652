"""Keep a secret that has replaced a credential, where the credential itself cannot be rewritten.

A systemd credential, or what a program prints, is not ours to change. The successor is sealed by a
key that is derived from the credential, so only who has the credential can open it, and a
credential that a person sets anew makes an old successor worthless by itself.

    key      HKDF-SHA256 of the credential, salt 16 random bytes, info "backupd/succession/1" NAME
    sealed   base64 of: salt 16 | AES-256-GCM with nonce 0 under that key, used for this text alone
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SALT = 16
_NONCE = bytes(12)
_INFO = b"backupd/succession/1\0"


def seal_successor(name: str, credential: str, successor: str) -> str:
    """Return text that only who has the credential of that name can open."""
    salt = secrets.token_bytes(_SALT)
    sealed = _cipher(name, credential, salt).encrypt(_NONCE, successor.encode(), None)
    return base64.b64encode(salt + sealed).decode("ascii")


def open_successor(name: str, credential: str, sealed: str) -> str | None:
    """Return the successor; None if another credential was set since, or the text is damaged."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        opened = _cipher(name, credential, raw[:_SALT]).decrypt(_NONCE, raw[_SALT:], None)
        return opened.decode()
    except (InvalidTag, binascii.Error, ValueError):
        return None


def _cipher(name: str, credential: str, salt: bytes) -> AESGCM:
    derived = HKDF(SHA256(), 32, salt, _INFO + name.encode()).derive(credential.encode())
    return AESGCM(derived)
