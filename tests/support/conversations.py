"""Conversations by hand, for tests that need exactly this tree and nothing else."""

from __future__ import annotations

import json
from typing import Any

from backupd.export.conversations import Conversation, parse
from backupd.export.versions import Fingerprint, fingerprint

Json = dict[str, Any]


def turn(name: str, parent: str | None, text: str = "", role: str = "user", **message: Any) -> Json:
    """Return a node that holds a message; `message` overrides or adds to its fields."""
    written: Json = {
        "id": name,
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1_700_000_000.5,
        "content": {"content_type": "text", "parts": [text or f"words of {name}"]},
        "metadata": {},
        "recipient": "all",
    }
    return {"id": name, "message": written | message, "parent": parent}


def root(name: str = "root") -> Json:
    """Return the node without a message that a tree begins with."""
    return {"id": name, "message": None, "parent": None}


def talk(*nodes: Json, name: str = "c-1", **fields: Any) -> bytes:
    """Return a conversation as JSON; `fields` overrides or adds to its fields."""
    written: Json = {
        "title": "A title",
        "create_time": 1_700_000_000.25,
        "update_time": 1_700_000_100.0,
        "mapping": {node["id"]: node for node in nodes},
        "current_node": nodes[-1]["id"] if nodes else None,
        "conversation_id": name,
        "id": name,
    }
    return json.dumps(written | fields).encode()


def line(*names: str, role: str = "user") -> list[Json]:
    """Return a root and turns below each other."""
    nodes = [root()]
    for name in names:
        nodes.append(turn(name, nodes[-1]["id"], role=role))
    return nodes


def read(*nodes: Json, **fields: Any) -> Conversation:
    """Return the conversation that `talk` writes, parsed."""
    return parse(talk(*nodes, **fields))


def seen(*nodes: Json, **fields: Any) -> Fingerprint:
    """Return the fingerprint of the conversation that `talk` writes."""
    return fingerprint(read(*nodes, **fields))
