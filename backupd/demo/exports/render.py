"""The JSON value of a conversation, as each era's exporter writes it.

Source: exports of 2023-09, 2025-11 and 2026-09. In 2026 the exporter dropped fields, the
`children` of nodes, and all system, tool and hidden turns; their followers hang below the next
kept ancestor.
"""

from __future__ import annotations

from collections.abc import Callable

from backupd.demo.exports.assets import pointer
from backupd.demo.exports.content import content, metadata, reduced_metadata, signed_url
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.encode import Json
from backupd.demo.exports.values import Asset, Conversation, Turn

Renderer = Callable[[Conversation], dict[str, Json]]
# What one week of the series adds to every conversation.
LATER_KEYS: dict[str, Json] = {"sugar_item_id": None, "sugar_item_visible": False}


def render_2023(conversation: Conversation) -> dict[str, Json]:
    """Return a conversation as of 2023-09."""
    return {
        "title": conversation.title,
        "create_time": conversation.created,
        "update_time": conversation.updated,
        "mapping": _full_mapping(conversation, _message_2023),
        "moderation_results": [],
        "current_node": conversation.current,
        "plugin_ids": None,
        "conversation_id": conversation.id,
        "conversation_template_id": None,
        "id": conversation.id,
    }


def render_2025(conversation: Conversation) -> dict[str, Json]:
    """Return a conversation as of 2025-11."""
    return {
        "title": conversation.title,
        "create_time": conversation.created,
        "update_time": conversation.updated,
        "mapping": _full_mapping(conversation, _message_2025),
        "moderation_results": [],
        "current_node": conversation.current,
        "plugin_ids": None,
        "conversation_id": conversation.id,
        "conversation_template_id": None,
        "gizmo_id": None,
        "gizmo_type": None,
        "is_archived": conversation.archived,
        "is_starred": True if conversation.starred else None,
        "safe_urls": [
            signed_url(turn, conversation.noise)
            for turn in conversation.turns
            if turn.kind == "cited"
        ],
        "blocked_urls": [],
        "default_model_slug": conversation.model,
        "conversation_origin": None,
        "voice": None,
        "async_status": None,
        "disabled_tool_ids": [],
        "is_do_not_remember": None,
        "memory_scope": "global_enabled",
        "id": conversation.id,
    }


def render_2026(conversation: Conversation) -> dict[str, Json]:
    """Return a conversation as of 2026-09: fewer fields, visible turns only."""
    return {
        "conversation_id": conversation.id,
        "conversation_template_id": None,
        "create_time": conversation.created,
        "current_node": conversation.current,
        "default_model_slug": conversation.model,
        "id": conversation.id,
        "is_archived": conversation.archived,
        "is_do_not_remember": None,
        "is_read_only": None,
        "is_starred": True if conversation.starred else None,
        "is_study_mode": False,
        "mapping": _reduced_mapping(conversation),
        "memory_scope": "global_enabled",
        "pinned_time": None,
        "plugin_ids": None,
        "title": conversation.title,
        "update_time": conversation.updated,
        "voice": None,
    }


def with_later_keys(render: Renderer) -> Renderer:
    """Return a renderer that writes two more keys into every conversation."""
    return lambda conversation: {**render(conversation), **LATER_KEYS}


def visible(turn: Turn) -> bool:
    """Tell whether the exporter of 2026 still writes the turn."""
    return turn.role in ("user", "assistant") and turn.kind != "context"


def _full_mapping(
    conversation: Conversation, message: Callable[[Turn, Conversation], dict[str, Json]]
) -> dict[str, Json]:
    children: dict[str, list[Json]] = {conversation.root: []}
    for turn in conversation.turns:
        children[turn.id] = []
        children[turn.parent].append(turn.id)
    nodes: list[tuple[str, Json]] = [
        (
            conversation.root,
            {
                "id": conversation.root,
                "message": None,
                "parent": None,
                "children": children[conversation.root],
            },
        )
    ]
    for turn in conversation.turns:
        node: Json = {
            "id": turn.id,
            "message": message(turn, conversation),
            "parent": turn.parent,
            "children": children[turn.id],
        }
        nodes.append((turn.id, node))
    if conversation.noise:
        nodes = Dice(f"{conversation.id}/{conversation.noise}").sample(nodes, len(nodes))
    return dict(nodes)


def _reduced_mapping(conversation: Conversation) -> dict[str, Json]:
    nodes: dict[str, Json] = {
        conversation.root: {"id": conversation.root, "message": None, "parent": None}
    }
    kept_above = {conversation.root: conversation.root}
    for turn in conversation.turns:  # parents come before their children
        above = kept_above[turn.parent]
        kept_above[turn.id] = turn.id if visible(turn) else above
        if visible(turn):
            nodes[turn.id] = {
                "id": turn.id,
                "message": _message_2026(turn, conversation),
                "parent": above,
            }
    return nodes


def _message_2023(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    written: dict[str, Json] = {"timestamp_": "absolute", "message_type": None}
    if turn.role == "assistant":
        stop: Json = {"type": "stop", "stop": "<|im_end|>"}
        written = {"finish_details": stop, "model_slug": conversation.model, **written}
    return {
        "id": turn.id,
        "author": {"role": turn.role, "name": None, "metadata": {}},
        "create_time": turn.created,
        "update_time": None,
        "content": content(turn, pointer),
        "status": _status(turn),
        "end_turn": True if turn.role == "assistant" else None,
        "weight": 1.0 if turn.body else 0.0,
        "metadata": written,
        "recipient": "all",
    }


def _message_2025(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    return {
        "id": turn.id,
        "author": {"role": turn.role, "name": _author(turn), "metadata": {}},
        "create_time": turn.created,
        "update_time": None,
        "content": content(turn, pointer),
        "status": _status(turn),
        "end_turn": True if turn.role == "assistant" and turn.kind != "code" else None,
        "weight": 1.0 if turn.body else 0.0,
        "metadata": metadata(turn, conversation),
        "recipient": "python" if turn.kind == "code" else "all",
        "channel": "final" if turn.role == "assistant" else None,
    }


def _message_2026(turn: Turn, conversation: Conversation) -> dict[str, Json]:
    return {
        "author": {"name": _author(turn), "role": turn.role},
        "content": content(turn, _pointer_2026),
        "create_time": turn.created,
        "id": turn.id,
        "metadata": reduced_metadata(turn, conversation),
    }


def _pointer_2026(asset: Asset) -> str:
    return f"sediment://{asset.id}"


def _status(turn: Turn) -> str:
    return "in_progress" if turn.kind == "aborted" else "finished_successfully"


def _author(turn: Turn) -> str | None:
    return {"output": "python", "quote": "web", "image": "dalle.text2im"}.get(
        turn.kind if turn.role == "tool" else ""
    )
