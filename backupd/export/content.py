"""What a message says, reduced to what a person wrote or was told.

`read_content` turns the `content` of a message into text for people and search, the bare ids of
its assets, and canonical bytes that stay the same when only the exporter changed: asset pointers
lose their scheme and file names (`file-service://file-X`, `sediment://file_X`, `file-X.dat`),
expiry dates, sizes and generation details are left out. The canonical bytes are for comparing,
not for reading back.

Source: content types of 2023 to 2026; a type that is not known here keeps all its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

_PLAIN = (
    "name", "title", "url", "text", "content", "result", "summary",
    "user_profile", "user_instructions", "model_set_context",
)  # fmt: skip
KNOWN_TYPES = frozenset({
    "text", "multimodal_text", "code", "execution_output", "thoughts", "reasoning_recap",
    "tether_quote", "tether_browsing_display", "user_editable_context", "model_editable_context",
    "system_error", "computer_output", "sonic_webpage",
})  # fmt: skip
_KNOWN_PARTS = frozenset({
    None, "text", "audio_transcription", "audio_asset_pointer", "image_asset_pointer",
    "video_container_asset_pointer", "real_time_user_audio_video_asset_pointer",
})  # fmt: skip
_VOLATILE = frozenset({"expiry_datetime", "size_bytes", "metadata", "fovea", "width", "height"})
_ASSET = re.compile(r"(?<![A-Za-z0-9])file[-_]([A-Za-z0-9]+)[^#]*(#.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says; `text` is "" and `canonical` is b"" when it says nothing."""

    kind: str
    text: str
    canonical: bytes
    assets: tuple[str, ...] = ()


class _Part(Struct, gc=False):
    content_type: str | None = None
    asset_pointer: str | None = None
    text: str | None = None
    audio_asset_pointer: _Part | None = None
    video_container_asset_pointer: _Part | None = None
    frames_asset_pointers: list[_Part] | None = None


class _Thought(Struct, gc=False):
    summary: str | None = None
    content: str | None = None


class _Content(Struct, gc=False):
    content_type: str | None = None
    parts: list[str | _Part | None] | None = None
    text: str | None = None
    content: str | None = None
    result: str | None = None
    url: str | None = None
    title: str | None = None
    name: str | None = None
    summary: str | None = None
    user_profile: str | None = None
    user_instructions: str | None = None
    model_set_context: str | None = None
    thoughts: list[_Thought] | None = None
    screenshot: _Part | None = None


_contents = msgspec.json.Decoder(_Content)


def read_content(raw: Raw) -> Content:
    """Read the `content` of one message, any type, known or not."""
    try:
        wire = _contents.decode(raw)
    except UnicodeDecodeError:  # skipping a value does not check its text, reading it does
        return read_content(Raw(bytes(raw).decode("utf-8", "replace").encode()))
    except msgspec.DecodeError:
        return _unknown(raw)
    parts = wire.parts
    if wire.content_type == "text" and parts is not None and len(parts) == 1:
        text = parts[0]
        if isinstance(text, str):  # the common case, worth its own path
            return Content("text", text, b"t\0" + text.encode() + b"\n" if text else b"")
    if wire.content_type not in KNOWN_TYPES or not _parts_known(parts):
        return _unknown(raw)
    return _gather(wire.content_type or "", list(_pieces(wire)))


def bare_asset(pointer: str) -> str:
    """Return what an asset pointer or asset file name of any era has in common with the others.

    `file-service://file-AbC`, `sediment://file_AbC`, `file-AbC-photo.png` and `file_AbC.dat` all
    become `AbC`; a fragment (`#p_2.jpg`: one page of many) is kept.
    """
    name = pointer.rsplit("://", 1)[-1]
    found = _ASSET.search(name)
    if found is not None:
        return found[1] + (found[2] or "")
    return name.removesuffix(".dat")


def _parts_known(parts: list[str | _Part | None] | None) -> bool:
    return parts is None or all(
        not isinstance(part, _Part) or part.content_type in _KNOWN_PARTS for part in parts
    )


def _pieces(wire: _Content) -> Iterator[tuple[str, str]]:
    """Yield (tag, value): tag "a" for an asset, "t" for text, in a fixed order."""
    for field in _PLAIN:
        value = getattr(wire, field)
        if value:
            yield "t", value
    for thought in wire.thoughts or ():
        yield "t", thought.summary or ""
        yield "t", thought.content or ""
    for part in wire.parts or ():
        if isinstance(part, str):
            yield "t", part
        elif part is not None:
            yield from _part_pieces(part)
    if wire.screenshot is not None:
        yield from _part_pieces(wire.screenshot)


def _part_pieces(part: _Part) -> Iterator[tuple[str, str]]:
    if part.text:
        yield "t", part.text
    if part.asset_pointer:
        yield "a", bare_asset(part.asset_pointer)
    inner = (part.audio_asset_pointer, part.video_container_asset_pointer)
    for nested in (*inner, *(part.frames_asset_pointers or ())):
        if nested is not None:
            yield from _part_pieces(nested)


def _gather(kind: str, pieces: list[tuple[str, str]]) -> Content:
    pieces = [piece for piece in pieces if piece[1]]
    return Content(
        kind,
        "\n".join(value for tag, value in pieces if tag == "t"),
        "".join(f"{tag}\0{value}\n" for tag, value in pieces).encode(),
        tuple(value for tag, value in pieces if tag == "a"),
    )


def _unknown(raw: Raw) -> Content:
    """Keep every value of a type that has no shape here, in the order of its sorted keys."""
    try:
        value = msgspec.json.decode(raw)
        pieces = list(_leaves(value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Content("unreadable", "", b"r\0" + bytes(raw))
    kind = value.get("content_type") if isinstance(value, dict) else None
    return _gather(kind if isinstance(kind, str) else "", pieces)


def _leaves(value: object) -> Iterator[tuple[str, str]]:
    """Yield the values of a JSON value; too deep a value is a RecursionError."""
    if isinstance(value, dict):
        for key in sorted(value):
            if key not in _VOLATILE and key != "content_type":
                yield from _member_leaves(key, value[key])
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield "t", value
    elif value is not None:
        yield "v", repr(value)


def _member_leaves(key: str, value: object) -> Iterator[tuple[str, str]]:
    if key.endswith("asset_pointer") and isinstance(value, str):
        yield "a", bare_asset(value)
        return
    yield from _leaves(value)
