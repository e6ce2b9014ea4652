"""What a recipe holds for a person: conversations, pieces that are none, and assets. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import msgspec

from backupd.export.content import bare_asset
from backupd.export.layout import MemberKind, kind_of
from backupd.store.recipe import Begin, Coding, Derived, End, Recipe, Ref

_NAMES = "conversation_asset_file_names.json"
_NO_ASSETS = (MemberKind.CONVERSATIONS, MemberKind.CHAT_HTML, MemberKind.SIDECAR)


@dataclass(frozen=True, slots=True)
class AssetMember:
    """A member that a conversation may show, under any of the bare ids in `known_as`."""

    name: str
    compressed: bool
    objects: tuple[bytes, ...]
    known_as: frozenset[str]


@dataclass(frozen=True, slots=True)
class Contents:
    """The slices of an export in its order, other objects of conversations files, its assets."""

    slices: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    assets: tuple[AssetMember, ...]


@dataclass(slots=True)
class _Member:
    """A member while its events go by."""

    begin: Begin
    objects: list[bytes] = field(default_factory=list)


def contents(recipe: Recipe, read: Callable[[bytes], bytes]) -> Contents:
    """Return what a recipe holds; `read` gives an object's bytes.

    Raises:
        RepositoryDamaged: the recipe, or the object that names the assets, cannot be read.
    """
    slices: dict[bytes, None] = {}
    pieces: dict[bytes, None] = {}
    closed: list[_Member] = []
    for member, event in _owned(recipe, closed):
        if event.conversation:
            slices[event.id] = None
        elif kind_of(member.begin.name) is MemberKind.CONVERSATIONS:
            pieces[event.id] = None
        else:
            member.objects.append(event.id)
    named = _original_names(closed, read)
    assets = tuple(_asset(member, named) for member in closed if _may_be_shown(member))
    return Contents(tuple(slices), tuple(pieces), assets)


def _owned(recipe: Recipe, closed: list[_Member]) -> Iterable[tuple[_Member, Ref]]:
    """Yield each reference with the innermost member around it; collect members that end."""
    open_members: list[_Member] = []
    for event in recipe.events():
        match event:
            case Begin():
                open_members.append(_Member(event))
            case End():
                closed.append(open_members.pop())
            case Ref() if open_members:
                yield open_members[-1], event
            case Derived(name) if open_members:
                open_members[-1].objects.append(name)


def _may_be_shown(member: _Member) -> bool:
    return bool(member.objects) and kind_of(member.begin.name) not in _NO_ASSETS


def _asset(member: _Member, named: dict[str, str]) -> AssetMember:
    name = member.begin.name
    original = named.get(PurePosixPath(name).name, "")
    parts = (*PurePosixPath(name).parts, *PurePosixPath(original).parts)
    known_as = frozenset(bare_asset(part).partition("#")[0] for part in parts)
    compressed = member.begin.coding is Coding.STREAM
    return AssetMember(name, compressed, tuple(member.objects), known_as)


def _original_names(members: Iterable[_Member], read: Callable[[bytes], bytes]) -> dict[str, str]:
    """Return the export's own map from `.dat` names to original names, {} where there is none."""
    found: dict[str, str] = {}
    for member in members:
        plain = member.begin.coding is not Coding.STREAM
        if plain and PurePosixPath(member.begin.name).name == _NAMES:
            data = b"".join(map(read, member.objects))
            try:
                found |= msgspec.json.decode(data, type=dict[str, str])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # assets are then known by their own names, as in every other era
    return found
