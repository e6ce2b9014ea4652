"""Judge whether an export is complete: its manifest, its sizes, its shard numbers.

Since 2026 an export names every file with its size in `export_manifest.json`, which is a free check
that nothing was left out. Older ones hold all conversations in one file and no manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from backupd.export.layout_kinds import MemberKind, kind_of, shard_number

_NAMED = 5


class _File(msgspec.Struct):
    path: str
    size_bytes: int


class _Logical(msgspec.Struct):
    files: list[str] = []
    shard_count: int | None = None


class _Manifest(msgspec.Struct):
    export_files: list[_File]
    logical_files: dict[str, _Logical] = {}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest promises: (path, size) of each file, (name, count, listed) of each group."""

    files: tuple[tuple[str, int], ...]
    shards: tuple[tuple[str, int, int], ...]


def parse_manifest(data: bytes) -> Manifest | None:
    """Read an export manifest; None if this is not one of the known form."""
    try:
        raw = msgspec.json.decode(data, type=_Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return Manifest(
        tuple((file.path, file.size_bytes) for file in raw.export_files),
        tuple(
            (name, group.shard_count, len(group.files))
            for name, group in raw.logical_files.items()
            if group.shard_count is not None
        ),
    )


def judge(
    manifest: Manifest | None, sizes: Mapping[str, int]
) -> tuple[bool | None, tuple[str, ...]]:
    """Say whether an export is complete, and if not, why.

    `sizes` are the members' sizes by their path beside the manifest. None means that nothing in
    the export tells: shards without a manifest may lack the last one. Reasons name only files
    whose names OpenAI chose; others are counted.
    """
    conversations = [name for name in sizes if kind_of(name) is MemberKind.CONVERSATIONS]
    reasons = [*_shard_gaps(conversations), *_broken_promises(manifest, sizes)]
    if not conversations:
        reasons.insert(0, "there is no conversations file")
    if reasons:
        return False, tuple(reasons)
    sharded = any(shard_number(name) is not None for name in conversations)
    return (None if manifest is None and sharded else True), ()


def _shard_gaps(names: list[str]) -> list[str]:
    """Name the shards that are missing below the highest one that is there."""
    numbers = {number for name in names if (number := shard_number(name)) is not None}
    if not numbers:
        return []
    highest = max(numbers)
    missing = highest + 1 - len(numbers)
    if not missing:
        return []
    first = next(number for number in range(highest + 1) if number not in numbers)
    return [f"{missing} of {highest + 1} shards are missing, the first is number {first}"]


def _broken_promises(manifest: Manifest | None, sizes: Mapping[str, int]) -> list[str]:
    if manifest is None:
        return []
    missing = [path for path, _ in manifest.files if path not in sizes]
    differing = [path for path, size in manifest.files if sizes.get(path, size) != size]
    reasons = [
        f"{name} has {listed} of {count} shards"
        for name, count, listed in manifest.shards
        if count != listed
    ]
    if missing:
        reasons.append(f"missing: {_names(missing)}")
    if differing:
        reasons.append(f"not of the size in the manifest: {_names(differing)}")
    return reasons


def _names(paths: list[str]) -> str:
    """Name a few files of the exporter's own and count the rest."""
    own = (MemberKind.CONVERSATIONS, MemberKind.CHAT_HTML, MemberKind.SIDECAR)
    named = [path for path in paths if kind_of(path) in own and len(path) <= 80][:_NAMED]
    others = len(paths) - len(named)
    return ", ".join([*named, f"{others} other files"] if others else named)
