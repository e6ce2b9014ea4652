"""The bytes of pictures and recordings, and the names an export gives them in each era.

Source: the names were read off exports of 2025 and 2026; in 2026 every asset is `<id>.dat` at the
root and a map gives the older name.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import lru_cache

from backupd.demo.exports.dice import Dice
from backupd.demo.exports.values import Account, Asset, AssetKind, Conversation

_PNG = b"\x89PNG\r\n\x1a\n"
_UPLOADS = ("screenshot.png", "Bild 1.png", "plan.png", "photo of the garden.png", "图片.png")


def make_asset(dice: Dice, kind: AssetKind, size: int) -> Asset:
    """Return a new asset of between a quarter and seven quarters of `size` bytes."""
    exact = max(200, int(size * (0.25 + 1.5 * dice.random())))
    seed = dice.bits(64)
    if kind == "upload":
        return Asset(f"file-{dice.alnum(22)}", kind, dice.pick(_UPLOADS), exact, seed)
    if kind == "dalle":
        return Asset(f"file-{dice.alnum(24)}", kind, f"{dice.uuid()}.webp", exact, seed)
    suffix = "wav" if kind == "audio" else "png"
    return Asset(f"file_{dice.hex(32)}", kind, f"{dice.uuid()}.{suffix}", exact, seed)


def asset_bytes(asset: Asset) -> bytes:
    """Return the asset's content: a real header of its type around noise, exactly `size` long."""
    noise = hashlib.shake_256(asset.seed.to_bytes(8, "big"))
    if asset.kind == "audio":
        body = noise.digest(asset.size - 44)
        return _wav_header(len(body)) + body
    if asset.kind == "dalle":
        body = noise.digest(asset.size - 20)
        head = struct.pack("<4sI4s4sI", b"RIFF", len(body) + 12, b"WEBP", b"VP8 ", len(body))
        return head + body
    body = noise.digest(asset.size - 57)
    header = struct.pack(">IIBBBBB", 512, 512, 8, 6, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


@lru_cache(maxsize=4096)
def asset_sha256(asset: Asset) -> str:
    """Return the SHA-256 of the asset's content as hexadecimal."""
    return hashlib.sha256(asset_bytes(asset)).hexdigest()


def mime_type(asset: Asset) -> str:
    """Return the type a library record gives for the asset."""
    return {"audio": "audio/wav", "dalle": "image/webp"}.get(asset.kind, "image/png")


def named_path(asset: Asset, conversation: Conversation, account: Account) -> str:
    """Return the asset's path in an export of 2024 or 2025."""
    if asset.kind == "upload":
        return f"{asset.id}-{asset.name}"
    if asset.kind == "dalle":
        return f"dalle-generations/{asset.id}-{asset.name}"
    if asset.kind == "audio":
        return f"{conversation.id}/audio/{asset.id}-{asset.name}"
    return f"{account.user_id}/{asset.id}-{asset.name}"


def pointer(asset: Asset) -> str:
    """Return the pointer to the asset as conversations of 2024 and 2025 write it."""
    scheme = "file-service" if asset.id.startswith("file-") else "sediment"
    return f"{scheme}://{asset.id}"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _wav_header(length: int) -> bytes:
    layout = "<4sI4s4sIHHIIHH4sI"
    rate = 24_000
    return struct.pack(
        layout, b"RIFF", length + 36, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16,
        b"data", length,
    )  # fmt: skip
