"""One conversation of any era as a value: its turns as a tree, its title and its flags.

`parse` takes the bytes of one slice. It keeps what a person wrote or was told and drops what only
the exporter changed (durations, signed links, citation blobs, rounding of times). A turn is
`kept` if every era writes it: said by the person or the assistant, to each other, visible, and
not empty. System and tool turns, thoughts, tool calls and hidden context are there too, but not
kept: the exporter of 2026 leaves them out, so they never decide whether something changed.

Bounds: 64 MiB of JSON, two million objects. Source: exports of 2023-04, 2023-09, 2025-11 and
2026-09.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from msgspec import UNSET

from backupd.errors import BackupdError
from backupd.export.content import Content, bare_asset, read_content
from backupd.export.tree import NONE, nearest_ancestors
from backupd.export.wire import Message, Node, WireConversation, WireRefused, read_conversation

MAX_BYTES = 64 * 2**20
MAX_OBJECTS = 2_000_000
MAX_ID = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VOICES = ("user", "assistant")
# Kinds of content that are never part of the talk itself, whoever's name they carry.
_APART = frozenset({
    "thoughts", "reasoning_recap", "execution_output", "tether_quote", "tether_browsing_display",
    "user_editable_context", "model_editable_context", "system_error", "computer_output",
    "sonic_webpage",
})  # fmt: skip

Scalar = str | int | bool | None


class ConversationUnreadable(BackupdError):
    """A slice is not a conversation that can be read; its bytes are kept all the same."""

    next_step = "nothing to do: its bytes are stored, and come back with the export"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. `parent` is the id of the turn before it, None at the beginning.

    `digest` covers role, content type and canonical content. `assets` are bare ids. `recipient`
    is None where the era does not say (2026) or the message goes to everybody.
    """

    id: str
    role: str
    content_type: str
    parent: str | None
    kept: bool
    text: str
    digest: bytes
    created: datetime | None
    model: str | None
    recipient: str | None
    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with all its branches; the order of `turns` means nothing.

    `metadata` holds title and flags as (name, value), sorted by name, only those that the era
    writes: an absent flag is unknown, not false. `current` is the id of the last turn of the
    branch that was open, or None.
    """

    id: str
    title: str | None
    created: datetime | None
    updated: datetime | None
    current: str | None
    turns: tuple[Turn, ...]
    metadata: tuple[tuple[str, Scalar], ...]


def parse(data: bytes) -> Conversation:
    """Read the JSON object of one conversation.

    Raises:
        ConversationUnreadable: not a conversation, or beyond a bound. Nothing else is raised.
    """
    if len(data) > MAX_BYTES or (len(data) > MAX_OBJECTS and data.count(b"{") > MAX_OBJECTS):
        raise ConversationUnreadable("read conversation: larger than the bound")
    try:
        wire = read_conversation(data)
    except WireRefused as refused:
        raise ConversationUnreadable(f"read conversation: {refused}") from None
    identity = wire.conversation_id or wire.id
    if not identity or len(identity) > MAX_ID:
        raise ConversationUnreadable("read conversation: no usable id")
    names = _turn_names(wire.mapping)
    return Conversation(
        id=identity,
        title=wire.title or None,
        created=_moment(wire.create_time),
        updated=_moment(wire.update_time),
        current=_current(wire, names),
        turns=_turns(wire.mapping, names),
        metadata=_metadata(wire),
    )


def _turn_names(mapping: dict[str, Node]) -> dict[str, str]:
    """Return the turn id for each node that holds a message.

    A turn is named by its message, which is stable; by its node where that name is missing or
    taken twice, so that the order of nodes decides nothing.
    """
    names = {
        key: node.message.id or key for key, node in mapping.items() if node.message is not None
    }
    if len(set(names.values())) == len(names):
        return names
    uses = Counter(names.values())
    return {key: name if uses[name] == 1 else key for key, name in names.items()}


def _turns(mapping: dict[str, Node], names: dict[str, str]) -> tuple[Turn, ...]:
    keys = list(mapping)
    position = {key: index for index, key in enumerate(keys)}
    parents = [
        NONE if node.parent is None else position.get(node.parent, NONE)
        for node in mapping.values()
    ]
    above = nearest_ancestors(parents, [key in names for key in keys])
    found: list[Turn] = []
    for key, node, ancestor in zip(keys, mapping.values(), above, strict=True):
        if node.message is not None:
            parent = names[keys[ancestor]] if ancestor != NONE else None
            found.append(_turn(names[key], parent, node.message))
    return tuple(found)


def _turn(name: str, parent: str | None, message: Message) -> Turn:
    role = (message.author.role if message.author else None) or ""
    content = read_content(message.content)
    about = message.metadata
    attached = about.attachments if about is not None and about.attachments else ()
    files = tuple(bare_asset(item.id) for item in attached if item.id)
    recipient = None if message.recipient == "all" else message.recipient
    hidden = about is not None and about.is_visually_hidden_from_conversation is True
    return Turn(
        id=name,
        role=role,
        content_type=content.kind,
        parent=parent,
        kept=not hidden and recipient is None and _is_talk(role, content, files),
        text=content.text,
        digest=_digest(role, content),
        created=_moment(message.create_time),
        model=about.model_slug if about is not None else None,
        recipient=recipient,
        assets=(*content.assets, *files) if files else content.assets,
    )


def _is_talk(role: str, content: Content, files: tuple[str, ...]) -> bool:
    said_something = bool(content.canonical or files)
    return role in _VOICES and content.kind not in _APART and said_something


def _digest(role: str, content: Content) -> bytes:
    head = f"{role}\0{content.kind}\0".encode()
    return blake2b(head + content.canonical, digest_size=8).digest()


def _current(wire: WireConversation, names: dict[str, str]) -> str | None:
    """Return the turn at, or next above, the node that was open."""
    key = wire.current_node
    for _ in range(len(wire.mapping)):
        if key is None or key in names:
            break
        node = wire.mapping.get(key)
        key = node.parent if node is not None else None
    return names.get(key) if key is not None else None


def _metadata(wire: WireConversation) -> tuple[tuple[str, Scalar], ...]:
    """Return title and flags as far as the era writes them; null and false are the same."""
    found: list[tuple[str, Scalar]] = []
    for name in ("is_archived", "is_do_not_remember", "is_starred"):
        flag = getattr(wire, name)
        if flag is not UNSET:
            found.append((name, bool(flag)))
    if isinstance(wire.memory_scope, str):  # null says no more than an absent scope
        found.append(("memory_scope", wire.memory_scope))
    if wire.pinned_time is not UNSET:
        pinned = _moment(wire.pinned_time)
        found.append(("pinned_time", int(pinned.timestamp()) if pinned else None))
    if wire.title is not UNSET:
        found.append(("title", wire.title or None))
    return tuple(found)


def _moment(value: object) -> datetime | None:
    """Return a time as aware UTC: seconds since the epoch or ISO text; None if it is neither."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, float) and math.isfinite(value):
        try:
            return _EPOCH + timedelta(seconds=value)
        except OverflowError:
            return None
    return None
