"""Remember which member of which snapshot explains a compressed stream, to skip work next time.

A member whose stream is known is neither inflated nor cut again: its events are copied from the
recipe of the snapshot that had it. A hint only: the proof that ends every addition covers it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from backupd.export.archive import Member, read_raw
from backupd.export.encoders import is_usable
from backupd.export.layout import kind_of
from backupd.store.following import Following, Pages
from backupd.store.hints import Hints
from backupd.store.naming import Kind
from backupd.store.recipe import Begin, End, Event, Recipe

_RECIPES = 3


class Memo:
    """Looks up streams among the hints; `recipe_of` gives a snapshot's recipe, or None."""

    def __init__(
        self,
        hints: Hints,
        recipe_of: Callable[[str], Recipe | None],
        object_id: Callable[[bytes], bytes],
        before: str | None,
    ) -> None:
        """`before` is the snapshot that this export is likely to resemble most."""
        self._hints = hints
        self._recipe_of = recipe_of
        self._object_id = object_id
        self._before = before
        self._loaded: OrderedDict[str, list[list[Event]]] = OrderedDict()

    def find(self, stream: bytes, name: str) -> list[Event] | None:
        """Return the events of a known stream, from its `Begin` to its `End`, or None.

        The member is called `name` here, whatever it was called there.
        """
        found = self._hints.recall(stream)
        if found is None:
            return None
        members = self._members(found[0].hex())
        if found[1] >= len(members) or not all(map(_is_usable, members[found[1]])):
            return None
        return [
            replace(event, name=name) if isinstance(event, Begin) and position == 0 else event
            for position, event in enumerate(members[found[1]])
        ]

    def following(self) -> Following:
        """Return what to expect of the conversations files."""
        recipe = self._recipe_of(self._before) if self._before else None
        newest = self._hints.newest(Kind.CONVERSATION)
        return Following(newest, self._object_id, recipe.ids() if recipe else ())

    def pages(self, conversation: Callable[[int], bytes | None]) -> Pages:
        """Return what to expect of `chat.html`."""
        return Pages(self._hints.pages(Kind.CONVERSATION), self._object_id, conversation)

    def _members(self, snapshot: str) -> list[list[Event]]:
        members = self._loaded.get(snapshot)
        if members is None:
            recipe = self._recipe_of(snapshot)
            members = [] if recipe is None else _outer_members(recipe)
            self._loaded[snapshot] = members
            if len(self._loaded) > _RECIPES:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(snapshot)
        return members


def _is_usable(event: Event) -> bool:
    """Say whether this machine has the encoder that an event names, if it names one."""
    encoder = event.encoder if isinstance(event, Begin) else None
    return encoder is None or is_usable(encoder)


def stream_name(file: BinaryIO, member: Member) -> bytes:
    """Return the hash of a member's stream together with all that says what it holds."""
    kind = kind_of(member.name).value
    digest = hashlib.sha256(f"{kind} {member.method} {member.crc32} {member.size} ".encode())
    for chunk in read_raw(file, member):
        digest.update(chunk)
    return digest.digest()


def _outer_members(recipe: Recipe) -> list[list[Event]]:
    """Return each outer member's events, the members inside it included."""
    members: list[list[Event]] = []
    depth = 0
    for event in recipe.events():
        if isinstance(event, Begin):
            if depth == 0:
                members.append([])
            depth += 1
        if depth:
            members[-1].append(event)
        if isinstance(event, End):
            depth -= 1
    return members
