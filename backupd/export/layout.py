"""What an export as a whole is: its era, its account, its time, whether it is complete.

Everything here is judged from names, sizes and two small JSON files, read through `read` with a
bound. Nothing raises on strange content: what cannot be told is None, what is unknown is named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import msgspec

from backupd.export.archive import Archive, ArchiveRefused, Member
from backupd.export.layout_kinds import (
    KNOWN_DIRECTORIES,
    KNOWN_SIDECARS,
    MANIFEST,
    USER,
    MemberKind,
    is_asset_directory,
    is_system_litter,
    kind_of,
    shard_number,
)
from backupd.export.layout_manifest import judge, parse_manifest

__all__ = ["ERAS", "Facts", "MemberKind", "exported_at", "facts", "kind_of", "shard_number"]

ERAS = ("2023", "2025", "2026", "portal", "unknown")
Read = Callable[[Member], Iterator[bytes]]

_MAX_SIDECAR = 64 << 20
_MAX_NAMED_PARTS = 20
_FILE_NAME = re.compile(r"([0-9a-f]{64})-(\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d)(?:[-. (].*)?")
_PORTAL_PART = re.compile(r"(?:Conversations|Files)_.*\.zip", re.IGNORECASE)
_SIDECARS_OF_2025 = frozenset(("group_chats.json", "shopping.json", "sora.json", "codex.json"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about an export before any conversation is read.

    `era` is one of `ERAS` ("2025" stands for 2024 to early 2026). `user_digest` is the SHA-256 hex
    of the `id` in user.json. `exported_at` is aware UTC. `complete` is None where nothing tells.
    `unknown_parts` are top-level names (at most 20, shortened) that this program does not know.
    `conversations` are the names of the conversations files, in shard order.
    """

    era: str
    account_prefix: str | None
    user_digest: str | None
    exported_at: datetime | None
    complete: bool | None
    incomplete_reasons: tuple[str, ...]
    unknown_parts: tuple[str, ...]
    conversations: tuple[str, ...]


class _User(msgspec.Struct):
    id: str = ""


def facts(file_name: str | None, archive: Archive, read: Read) -> Facts:
    """Gather the facts of a scanned export.

    `file_name` is what the export was called when it arrived, with or without directories. `read`
    yields a member's content; at most 64 MiB of a sidecar are taken, larger ones count as unread.
    """
    members = [member for member in archive.members if not is_system_litter(member.name)]
    root = _root(members)
    inside = {
        member.name[len(root) :]: member
        for member in members
        if member.name.startswith(root) and member.name != root
    }
    era = _era(inside)
    complete, reasons = _completeness(inside, read, era)
    base = PurePosixPath(file_name or "").name
    named = _FILE_NAME.fullmatch(base)
    return Facts(
        era=era,
        account_prefix=named.group(1) if named else None,
        user_digest=_user_digest(inside, read),
        exported_at=exported_at(base) or _newest(members),
        complete=complete,
        incomplete_reasons=reasons,
        unknown_parts=_unknown_parts(inside, era),
        conversations=_conversations(members),
    )


def exported_at(file_name: str) -> datetime | None:
    """Return the time stamp in an export's file name as aware UTC, if there is a valid one."""
    named = _FILE_NAME.fullmatch(file_name)
    if named is None:
        return None
    try:
        return datetime.strptime(named.group(2), "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _root(members: list[Member]) -> str:
    """Return the directory, with its slash, in which the export lies; people zip with a folder."""
    marks = [
        member.name
        for member in members
        if kind_of(member.name) is MemberKind.CONVERSATIONS
        or PurePosixPath(member.name).name in (USER, MANIFEST, "chat.html")
    ]
    if not marks:
        return ""
    shallowest = min(marks, key=lambda name: (name.count("/"), len(name)))
    return shallowest[: shallowest.rfind("/") + 1]


def _era(inside: dict[str, Member]) -> str:
    """Tell the era from the names alone; content decides nothing, so a re-zip stays the same."""
    kinds = {name: kind_of(name) for name in inside}
    shards = [name for name, kind in kinds.items() if kind is MemberKind.CONVERSATIONS]
    if not shards:
        portal = any(_PORTAL_PART.fullmatch(PurePosixPath(name).name) for name in inside)
        return "portal" if portal else "unknown"
    sharded = any(shard_number(name) is not None for name in shards)
    if sharded or MANIFEST in inside or any(name.endswith(".dat") for name in inside):
        return "2026"
    later = MemberKind.ASSET in kinds.values() or _SIDECARS_OF_2025 & inside.keys()
    return "2025" if later else "2023"


def _completeness(
    inside: dict[str, Member], read: Read, era: str
) -> tuple[bool | None, tuple[str, ...]]:
    if era == "portal":
        return None, ()
    member = inside.get(MANIFEST)
    manifest = None
    if member is not None:
        manifest = parse_manifest(_content(member, read) or b"")
        if manifest is None:
            return None, ("the manifest cannot be read",)
    return judge(manifest, {name: entry.size for name, entry in inside.items()})


def _user_digest(inside: dict[str, Member], read: Read) -> str | None:
    member = inside.get(USER)
    if member is None:
        return None
    try:
        user = msgspec.json.decode(_content(member, read) or b"", type=_User)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return hashlib.sha256(user.id.encode()).hexdigest() if user.id else None


def _content(member: Member, read: Read) -> bytes | None:
    """Read a sidecar whole, if it is not larger than the bound and not damaged."""
    if member.size > _MAX_SIDECAR:
        return None
    try:
        return b"".join(read(member))
    except ArchiveRefused:
        return None


def _newest(members: list[Member]) -> datetime | None:
    """Return the newest member's time stamp taken as UTC; 1980 means that none was recorded."""
    for member in sorted(members, key=lambda member: member.dos_time, reverse=True):
        if member.modified[0] == 1980:
            return None
        try:
            return datetime(*member.modified, tzinfo=UTC)
        except ValueError:
            continue
    return None


def _unknown_parts(inside: dict[str, Member], era: str) -> tuple[str, ...]:
    """Name the top-level files and directories that are not listed anywhere."""
    if era == "portal":
        return ()
    unknown: dict[str, None] = {}
    for name in inside:
        first, _, rest = name.partition("/")
        if rest or name.endswith("/"):
            known = first in KNOWN_DIRECTORIES or is_asset_directory((first,))
            first += "/"
        else:
            known = _is_known_file(first)
        if not known:
            unknown[first] = None
    return tuple(_shown(name) for name in sorted(unknown)[:_MAX_NAMED_PARTS])


def _is_known_file(name: str) -> bool:
    kind = kind_of(name)
    if kind is MemberKind.SIDECAR:
        return name in KNOWN_SIDECARS
    return kind in (MemberKind.CONVERSATIONS, MemberKind.CHAT_HTML, MemberKind.ASSET)


def _shown(name: str) -> str:
    """Make a name fit for a notice: printable and short."""
    printable = "".join(char if char.isprintable() else "?" for char in name)
    return printable if len(printable) <= 60 else printable[:59] + "…"


def _conversations(members: list[Member]) -> tuple[str, ...]:
    names = [m.name for m in members if kind_of(m.name) is MemberKind.CONVERSATIONS]
    return tuple(sorted(names, key=lambda name: (shard_number(name) or 0, name)))
