"""Names of objects and frames, and the kinds of object.

This is the only place that turns bytes into a name (I2): a keyed hash for encrypted repositories
changes nothing outside this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import IntEnum

ID_SIZE = 16
FRAME_NAME_SIZE = 12
KEY_SIZE = 8


class Kind(IntEnum):
    """What an object holds; a frame holds objects of one kind only."""

    CONVERSATION = 1
    HTML = 2
    MEMBER = 3
    ASSET = 4
    STREAM = 5
    WHOLE = 6
    RECIPE = 7


def object_id(data: bytes) -> bytes:
    """Return the name of an object: the first 16 bytes of the SHA-256 of its bytes (I2).

    Names that mean nothing to a compressor are a fifth of what a week adds, hence not all 32. Two
    objects with one name would lose nothing: the proof would fail, and the ZIP be kept whole.
    """
    return hashlib.sha256(data).digest()[:ID_SIZE]


def frame_name(ids: Iterable[bytes]) -> bytes:
    """Return the name of a frame: a hash of its objects' ids, whatever its compression."""
    return hashlib.sha256(b"".join(ids)).digest()[:FRAME_NAME_SIZE]


def key_of(*parts: str) -> bytes:
    """Return the short key under which versions of one thing find each other.

    Two things with the same key would only be compressed less well.
    """
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:KEY_SIZE]
