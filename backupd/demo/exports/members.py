"""The members of an export: which files each era has, in which order, and what is in them.

Source: exports of 2023-09, 2025-11 and 2026-09 (listings and bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from backupd.demo.exports import render
from backupd.demo.exports.assets import asset_bytes, asset_sha256, mime_type, named_path
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.encode import Json, compact, html_escaped, one_line, pretty
from backupd.demo.exports.values import Account, Asset, Conversation, Era

SHARD = 100
_PAGE_HEAD = """<html>
<head>
<title>Chat data</title>
<style>body { font-family: sans-serif; margin: 2em; } pre { white-space: pre-wrap; }</style>
</head>
<body>
<div id="root"></div>
<script>
var jsonData = """
_PAGE_TAIL = """
window.onload = function () {
  var root = document.getElementById("root");
  for (var i = 0; i < jsonData.length; i++) {
    var heading = document.createElement("h4");
    heading.innerHTML = jsonData[i].title;
    root.appendChild(heading);
  }
};
</script>
</body>
</html>"""


@dataclass(frozen=True, slots=True)
class State:
    """All that the bytes of one export follow from."""

    account: Account
    era: Era
    exported_at: datetime
    conversations: tuple[Conversation, ...]
    later_keys: bool = False
    by_update: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an export; `pieces` makes its bytes anew at each call."""

    name: str
    pieces: Callable[[], Iterable[bytes]]
    is_asset: bool = False


def members(state: State) -> Iterator[Member]:
    """Yield the members of an ordinary export in the order of their ZIP, without a manifest.

    The manifest of 2026 lists sizes, so whoever writes the members adds it at the end.
    """
    if state.era == "2023":
        return _members_2023(state)
    if state.era == "2025":
        return _members_2025(state)
    return _members_2026(state)


def array(texts: Iterable[str], separator: str = ", ") -> Iterator[bytes]:
    """Yield a JSON array of already encoded elements."""
    yield b"["
    first = True
    for text in texts:
        yield (text if first else separator + text).encode("ascii")
        first = False
    yield b"]"


def chat_html(texts: Iterable[str], asset_map: str, separator: str) -> Iterator[bytes]:
    """Yield the page of an export around its conversations, given as plain JSON."""
    yield _PAGE_HEAD.encode()
    yield from array(map(html_escaped, texts), separator)
    yield f";\nvar assetsJson = {html_escaped(asset_map)};{_PAGE_TAIL}".encode()


def _members_2023(state: State) -> Iterator[Member]:
    def texts() -> Iterator[str]:
        return map(one_line, _rendered(state, render.render_2023))

    yield _json("user.json", _user(state.account), one_line)
    yield Member("conversations.json", lambda: array(texts()))
    yield _json("message_feedback.json", _feedback(state), one_line)
    yield _json("model_comparisons.json", [], one_line)
    yield _json("shared_conversations.json", _shared(state), one_line)
    yield Member("chat.html", lambda: chat_html(texts(), "{}", ", "))


def _members_2025(state: State) -> Iterator[Member]:
    def texts() -> Iterator[str]:
        return map(one_line, _rendered(state, render.render_2025))

    names: dict[str, Json] = {
        asset.id: named_path(asset, conversation, state.account)
        for conversation, asset in _assets(state)
    }
    yield _json("user.json", {**_user(state.account), "birth_year": 1980}, one_line)
    yield Member("conversations.json", lambda: array(texts()))
    yield _json("message_feedback.json", _feedback(state), one_line)
    yield _json("shared_conversations.json", _shared(state), one_line)
    yield _json("group_chats.json", {"chats": []}, one_line)
    yield _json("shopping.json", [], one_line)
    yield _json("sora.json", {}, one_line)
    for _, asset in _assets(state):
        yield _asset(str(names[asset.id]), asset)
    yield Member("chat.html", lambda: chat_html(texts(), one_line(names), ", "))


def _members_2026(state: State) -> Iterator[Member]:
    def rendered() -> Iterator[dict[str, Json]]:
        return _rendered(state, render.render_2026)

    def shard(number: int) -> Member:
        def pieces() -> Iterator[bytes]:
            part = _ordered(state)[number * SHARD : (number + 1) * SHARD]
            renderer = _renderer(state, render.render_2026)
            return _pretty_array(pretty(renderer(item), "\n  ") for item in part)

        return Member(f"conversations-{number:03d}.json", pieces)

    names: dict[str, Json] = {
        f"{asset.id}.dat": _original_name(asset) for _, asset in _assets(state)
    }
    shards = -(-len(state.conversations) // SHARD)
    yield _json("ads.json", {"ad_hides": [], "ads_profile": {}}, pretty)
    yield Member("chat.html", lambda: chat_html(map(compact, rendered()), compact(names), ","))
    yield _json("conversation_asset_file_names.json", names, pretty)
    for number in range(shards):
        yield shard(number)
    for _, asset in sorted(_assets(state), key=lambda pair: pair[1].id):
        yield _asset(f"{asset.id}.dat", asset)
    yield _json("library_files.json", _library(state), pretty)
    yield _json("message_feedback.json", _feedback(state), pretty)
    yield _json("shared_conversations.json", _shared(state), pretty)
    requested = state.exported_at.isoformat()
    yield _json("sites/export_manifest.json", {"artifacts": [], "requested_at": requested}, pretty)
    yield _json("user.json", {**_user(state.account), "birth_year": 1980}, pretty)
    yield _json("user_settings.json", _settings(state), pretty)


def manifest(sizes: dict[str, int]) -> Member:
    """Return the manifest of an export of 2026 from the sizes of its other members."""
    logical: dict[str, Json] = {}
    shards = sorted(name for name in sizes if name.startswith("conversations-"))
    for name in sorted(sizes.keys() - set(shards)):
        if not name.endswith(".dat"):
            logical[name] = {"files": [name], "sharded": False}
    logical["conversations.json"] = {
        "files": list(shards),
        "sharded": True,
        "shard_count": len(shards),
    }
    files: list[Json] = [{"path": name, "size_bytes": sizes[name]} for name in sorted(sizes)]
    whole: Json = {
        "export_files": files,
        "logical_files": logical,
        "manifest_file": "export_manifest.json",
        "version": 1,
    }
    return _json("export_manifest.json", whole, pretty)


def _ordered(state: State) -> list[Conversation]:
    if state.era in ("2026", "privacy"):
        return sorted(state.conversations, key=lambda item: item.id)
    if state.by_update:
        return sorted(state.conversations, key=lambda item: (-item.updated, item.id))
    return sorted(state.conversations, key=lambda item: (-item.created, item.id))


def _renderer(state: State, plain: render.Renderer) -> render.Renderer:
    return render.with_later_keys(plain) if state.later_keys else plain


def _rendered(state: State, plain: render.Renderer) -> Iterator[dict[str, Json]]:
    return map(_renderer(state, plain), _ordered(state))


def _assets(state: State) -> list[tuple[Conversation, Asset]]:
    return [
        (conversation, turn.asset)
        for conversation in _ordered(state)
        for turn in conversation.turns
        if turn.asset is not None
    ]


def _asset(name: str, asset: Asset) -> Member:
    return Member(name, lambda: (asset_bytes(asset),), is_asset=True)


def _json(name: str, value: Json, encode: Callable[[Json], str]) -> Member:
    return Member(name, lambda: (encode(value).encode("ascii"),))


def _pretty_array(texts: Iterable[str]) -> Iterator[bytes]:
    lead = b"[\n  "
    for text in texts:
        yield lead + text.encode("ascii")
        lead = b",\n  "
    yield b"\n]"


def _original_name(asset: Asset) -> str:
    return f"dalle-generations/{asset.id}-{asset.name}" if asset.kind == "dalle" else asset.name


def _user(account: Account) -> dict[str, Json]:
    return {
        "id": account.user_id,
        "email": account.email,
        "chatgpt_plus_user": True,
        "phone_number": None,
    }


def _feedback(state: State) -> list[Json]:
    return [
        {
            "id": turn.token,
            "conversation_id": conversation.id,
            "user_id": state.account.user_id,
            "rating": "thumbs_up",
            "create_time": "2023-09-01T10:00:00",
            "workspace_id": None,
            "content": "{}",
            "storage_protocol": "v1",
        }
        for conversation in _ordered(state)
        for turn in conversation.turns[-1:]
        if turn.token.startswith("00")
    ]


def _shared(state: State) -> list[Json]:
    return [
        {
            "id": conversation.turns[0].token,
            "conversation_id": conversation.id,
            "title": conversation.title,
            "is_anonymous": True,
        }
        for conversation in _ordered(state)
        if conversation.turns[0].token.startswith("0")
    ]


def _library(state: State) -> list[Json]:
    """Return the library's records; half of their fields change in every export."""
    moving = Dice(f"library/{state.exported_at.isoformat()}")
    return [
        {
            "conversation_id": conversation.id,
            "etag": moving.hex(16),
            "file_id": asset.id,
            "last_used_at": state.exported_at.isoformat(),
            "mime_type": mime_type(asset),
            "object_version": moving.below(1000),
            "sha256": asset_sha256(asset),
            "size_bytes": asset.size,
            "updated_at": state.exported_at.isoformat(),
        }
        for conversation, asset in _assets(state)
    ]


def _settings(state: State) -> dict[str, Json]:
    return {
        "settings": {"announcements": {"seen_at": state.exported_at.isoformat()}},
        "habitat": {"object_version": state.exported_at.toordinal()},
        "user_id": state.account.user_id,
    }
