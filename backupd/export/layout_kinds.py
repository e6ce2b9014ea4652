"""Tell from its name what a member of an export is, at any directory depth.

The names are data: OpenAI adds some about monthly, and whatever is not listed is kept byte-exact
and reported by name. Source: real exports of 2023-04 to 2026-09.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePosixPath


class MemberKind(StrEnum):
    """What a member is for."""

    CONVERSATIONS = "conversations"
    CHAT_HTML = "chat-html"
    SIDECAR = "sidecar"
    ASSET = "asset"
    ARCHIVE = "archive"
    OTHER = "other"


MANIFEST = "export_manifest.json"
USER = "user.json"

KNOWN_SIDECARS = frozenset(
    (
        "ads.json", "codex.json", "conversation_asset_file_names.json", "custom_instructions.json",
        "group_chats.json", "library_files.json", "memories.json", "message_feedback.json",
        "model_comparisons.json", "sectioned_conversations.json", "shared_conversations.json",
        "shopping.json", "sora.json", "tool_messages.json", "user_settings.json", MANIFEST, USER,
    )
)  # fmt: skip
KNOWN_DIRECTORIES = frozenset(("dalle-generations", "sites", "textdocs", "audio"))

_CONVERSATIONS = re.compile(r"conversations(?:-(\d{1,6}))?\.json")
_ASSET_NAME = re.compile(
    r"file[-_].+|.+\.(?:dat|png|jpe?g|gif|webp|heic|bmp|svg|wav|mp3|m4a|ogg|opus|mp4|mov|webm|pdf"
    r"|txt|csv|docx?|xlsx?|pptx?|py|md)",
    re.IGNORECASE,
)
_ASSET_DIRECTORY = re.compile(
    r"dalle-generations|audio|textdocs|user-[A-Za-z0-9]+|file[-_].+"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def kind_of(name: str) -> MemberKind:
    """Return what the member of that name is."""
    if name.endswith("/") or is_system_litter(name):
        return MemberKind.OTHER
    path = PurePosixPath(name)
    base = path.name
    if _CONVERSATIONS.fullmatch(base):
        return MemberKind.CONVERSATIONS
    if base == "chat.html":
        return MemberKind.CHAT_HTML
    if _ASSET_NAME.fullmatch(base) or is_asset_directory(path.parts[:-1]):
        return MemberKind.ASSET
    if base.lower().endswith(".zip"):
        return MemberKind.ARCHIVE
    return MemberKind.SIDECAR if base.endswith(".json") else MemberKind.OTHER


def shard_number(name: str) -> int | None:
    """Return the number in `conversations-NNN.json`, None for an unsharded or other file."""
    found = _CONVERSATIONS.fullmatch(PurePosixPath(name).name)
    return int(found.group(1)) if found and found.group(1) else None


def is_asset_directory(directories: tuple[str, ...]) -> bool:
    """Say whether one of these directory names is one that holds assets."""
    return any(_ASSET_DIRECTORY.fullmatch(part) for part in directories)


def is_system_litter(name: str) -> bool:
    """Say whether macOS or Windows put this file there when a person zipped the export again."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or (
        path.name.startswith("._") or path.name in (".DS_Store", "Thumbs.db", "desktop.ini")
    )
