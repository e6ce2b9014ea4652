"""The codec of frames: what stands between objects' bytes and the bytes in a pack.

A frame is the concatenation of its objects, compressed with zstd against a prefix (older bytes
that it resembles) or, where that gains nothing, as it is. The level is part of the format only in
so far as any zstd decoder reads every level; compressed bytes are never compared.
"""

from __future__ import annotations

import hashlib
import sys
from enum import IntEnum

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 9
HIGH_LEVEL = 17
CHECKSUM_SIZE = 16
_MIN_WINDOW, _MAX_WINDOW = 17, 27
_LONG_DISTANCE = 8 << 20
_WORTH = 0.98


class Codec(IntEnum):
    """How a frame's payload is coded."""

    PLAIN = 0
    ZSTD = 1


class FrameDamaged(Exception):
    """A frame's payload does not decode to what its entry says."""


class Prefix:
    """Older bytes, maybe none, that frames are compressed against. Thread-safe.

    zstd takes a copy of its own, so whoever decodes many frames against one prefix keeps this.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.dictionary = zstd.ZstdDict(data, is_raw=True) if len(data) >= 8 else None


def encode(data: bytes, prefix: bytes, level: int = LEVEL) -> tuple[Codec, bytes]:
    """Compress a frame against `prefix` (may be empty)."""
    option = zstd.CompressionParameter
    total = len(data) + len(prefix)
    window = min(max(total.bit_length(), _MIN_WINDOW), _MAX_WINDOW)
    options: dict[int, int] = {option.compression_level: level, option.window_log: window}
    if total > _LONG_DISTANCE:
        options[option.enable_long_distance_matching] = 1
    before = Prefix(prefix).dictionary
    raw = before.as_prefix if before else None
    payload = zstd.compress(data, options=options, zstd_dict=raw)
    if len(payload) < len(data) * _WORTH:
        return Codec.ZSTD, payload
    return Codec.PLAIN, data


def decode(codec: int, payload: bytes, prefix: Prefix, length: int) -> bytes:
    """Return the `length` bytes of a frame.

    Raises:
        FrameDamaged: unknown codec, broken stream, or another length.
    """
    if codec == Codec.PLAIN:
        data = payload
    elif codec == Codec.ZSTD:
        data = _inflate(payload, prefix, length)
    else:
        raise FrameDamaged(f"unknown codec {codec}")
    if len(data) != length:
        raise FrameDamaged(f"{len(data)} bytes instead of {length}")
    return data


def shrink(data: bytes) -> bytes:
    """Compress bytes that are no frame: a pack's directory."""
    return zstd.compress(data, level=LEVEL)


def grow(data: bytes, most: int) -> bytes:
    """Undo `shrink`.

    Raises:
        FrameDamaged: broken, or more than `most` bytes.
    """
    decoder = zstd.ZstdDecompressor()
    try:
        grown = decoder.decompress(data, max_length=most)
    except zstd.ZstdError as error:
        raise FrameDamaged(str(error)) from error
    if not decoder.eof:
        raise FrameDamaged("the stream does not end")
    return grown


def checksum(payload: bytes) -> bytes:
    """Return the checksum stored beside a payload."""
    return hashlib.blake2b(payload, digest_size=CHECKSUM_SIZE).digest()


def _inflate(payload: bytes, prefix: Prefix, length: int) -> bytes:
    raw = prefix.dictionary.as_prefix if prefix.dictionary else None
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW}
    try:
        decoder = zstd.ZstdDecompressor(zstd_dict=raw, options=options)
        data = decoder.decompress(payload, max_length=length + 1)
    except zstd.ZstdError as error:
        raise FrameDamaged(str(error)) from error
    if not decoder.eof:
        raise FrameDamaged("the stream does not end")
    return data
