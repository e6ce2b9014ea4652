"""Whether this machine's zlib packs as the one that exports are made with. Pure.

Exports are given back by deflating members anew, so a library that packs differently (zlib-ng in
place of zlib, as some distributions ship it) cannot rebuild any ZIP here. The samples are streams
whose bytes never change with the original zlib.
"""

from __future__ import annotations

import hashlib
import zlib

from backupd.export.deflate import STEP, Encoder, encode

REMEDY = "use a Python that is linked to the original zlib"
_SAMPLE = bytes(range(256)) * 64 + b"conversation " * 512
_SAMPLE += b"".join(b'{"id": "%d", "text": "%x"}, ' % (n, n * n) for n in range(20_000))
_KNOWN = {
    Encoder(6, 8): "668d1ce0b06a6868bd065d486c9dd794b52b789956fe5a26a540b410b40b404e",
    Encoder(9, 8): "8d26a036972dbfa61ab3c465dd48275f8c1efb9984fdbeb28f9f9de0d15843f3",
    Encoder(1, 8): "dd6efa65f783d9ea2ea1b26e606b4851f4ffbbcc7a3722b157d6f789524c1fb4",
}


def zlib_reproduces() -> bool:
    """Say whether known streams come out as they always did; takes a few milliseconds."""
    return all(_digest(encoder) == digest for encoder, digest in _KNOWN.items())


def _digest(encoder: Encoder) -> str:
    pieces = (_SAMPLE[start : start + STEP] for start in range(0, len(_SAMPLE), STEP))
    return hashlib.sha256(b"".join(encode(pieces, encoder))).hexdigest()


def zlib_version() -> str:
    """Return the version that the library gives itself."""
    return zlib.ZLIB_RUNTIME_VERSION
