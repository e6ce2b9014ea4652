"""The JSON of one conversation as typed values, and the lenient way for what does not fit.

Only fields that matter are named here; msgspec skips all others without building objects, which
is what makes a rebuild fast. A value of an unexpected type costs that one field, never the
conversation: `read_conversation` falls back, field by field, to the default of the field.

Not guaranteed: that a text equals the original in places that no Unicode text can hold. A lone
surrogate becomes U+FFFD; the original bytes stay in the repository.

Source: exports of 2023-04, 2023-09, 2025-11 and 2026-09.
"""

from __future__ import annotations

import re
import types
import typing
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

_T = TypeVar("_T", bound=Struct)
_NULL = Raw(b"null")


class WireRefused(ValueError):
    """The bytes are not the JSON of a conversation; the text says why, without quoting them."""


class Author(Struct, gc=False):
    """Who speaks."""

    role: str | None = None


class Attachment(Struct, gc=False):
    """A file that was added to a message."""

    id: str | None = None


class MessageMetadata(Struct, gc=False):
    """The few of more than a hundred keys that matter."""

    is_visually_hidden_from_conversation: bool | None = None
    model_slug: str | None = None
    attachments: list[Attachment] | None = None


class Message(Struct, gc=False):
    """What a node says; `content` is read by `export.content`."""

    id: str | None = None
    author: Author | None = None
    create_time: float | str | None = None
    content: Raw = _NULL
    metadata: MessageMetadata | None = None
    recipient: str | None = None


class Node(Struct, gc=False):
    """A node of the tree; `parent` is the key of another node, which may be missing."""

    message: Message | None = None
    parent: str | None = None


class WireConversation(Struct, gc=False):
    """A conversation of any era. A flag that the era does not write is UNSET."""

    mapping: dict[str, Node]
    conversation_id: str | None = None
    id: str | None = None
    title: str | UnsetType | None = UNSET
    create_time: float | str | None = None
    update_time: float | str | None = None
    current_node: str | None = None
    is_archived: bool | UnsetType | None = UNSET
    is_starred: bool | UnsetType | None = UNSET
    is_do_not_remember: bool | UnsetType | None = UNSET
    memory_scope: str | UnsetType | None = UNSET
    pinned_time: float | str | UnsetType | None = UNSET


_conversations = msgspec.json.Decoder(WireConversation)
_members = msgspec.json.Decoder(dict[str, Raw])


def read_conversation(data: bytes) -> WireConversation:
    """Read the JSON object of one conversation.

    Raises:
        WireRefused: not JSON, nested too deeply, or not a conversation (no `mapping`).
    """
    try:
        for repair in (_as_it_is, _repair_surrogates, _repair):
            try:
                return _read(repair(data))
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
    except RecursionError:
        raise WireRefused("nested too deeply") from None
    raise WireRefused("not valid JSON")


def _read(data: bytes) -> WireConversation:
    try:
        return _conversations.decode(data)
    except msgspec.ValidationError:
        return _read_leniently(data)


def _read_leniently(data: bytes) -> WireConversation:
    try:
        members = _members.decode(data)
        nodes = _members.decode(members["mapping"])
    except (KeyError, msgspec.ValidationError):
        raise WireRefused("not a conversation") from None
    mapping = {key: _lenient(raw, Node) or Node() for key, raw in nodes.items()}
    return WireConversation(mapping, **_fields(members, WireConversation, skip="mapping"))


def _lenient(raw: Raw, kind: type[_T]) -> _T | None:
    """Decode what fits of a struct; None if the value is no object at all."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        members = _members.decode(raw)
    except msgspec.ValidationError:
        return None
    return kind(**_fields(members, kind))


def _fields(members: dict[str, Raw], kind: type[Struct], skip: str = "") -> dict[str, Any]:
    """Return the values of those fields of `kind` that can be read."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        raw = members.get(field.name)
        if raw is None or field.name == skip:
            continue
        nested = _struct_in(field.type)
        try:
            found[field.name] = msgspec.json.decode(raw, type=field.type)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if nested is not None and (value := _lenient(raw, nested)) is not None:
                found[field.name] = value
    return found


def _struct_in(kind: object) -> type[Struct] | None:
    """Return the struct of a type like `Author | None`."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if isinstance(option, type) and issubclass(option, Struct):
            return option
    return None


_HIGH, _LOW = rb"[89abAB][0-9a-fA-F]{2}", rb"[c-fC-F][0-9a-fA-F]{2}"
# A lone half of a pair, not after a backslash that may be escaping this one. The pattern begins
# with a plain backslash, which lets the search run at memory speed.
_LONE = re.compile(
    rb"\\(?<!\\\\)u[dD](?:" + _HIGH + rb"(?!\\u[dD]" + _LOW + rb")"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])" + _LOW + rb")"
)
# A string (also one that never ends, so that hostile input costs one pass) or a bare constant.
# Possessive quantifiers: no backtracking.
_STRING_OR_CONSTANT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?+(?:NaN|Infinity)', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD]" + _HIGH + rb"(\\u[dD]" + _LOW + rb")?|(u[dD]" + _LOW + rb")|.)",
    re.DOTALL,
)


def _as_it_is(data: bytes) -> bytes:
    return data


def _repair_surrogates(data: bytes) -> bytes:
    """Replace lone surrogates, the one thing that real exports are known to hold; fast."""
    return _LONE.sub(rb"\\ufffd", data)


def _repair(data: bytes) -> bytes:
    """Replace all that Python's JSON writer produces and strict readers refuse; slow.

    Lone surrogates and invalid UTF-8 become U+FFFD, NaN and the infinities become null.
    """
    valid = data.decode("utf-8", "replace").encode("utf-8")
    return _STRING_OR_CONSTANT.sub(_repair_token, valid)


def _repair_token(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if not text.startswith(b'"'):
        return b"null"
    return _ESCAPE.sub(_repair_escape, text) if b"\\u" in text else text


def _repair_escape(escape: re.Match[bytes]) -> bytes:
    text = escape[0]
    high_alone = text[1:3] in (b"ud", b"uD") and len(text) == 6 and text[3:4] in b"89abAB"
    return b"\\ufffd" if high_alone or escape[2] else text
