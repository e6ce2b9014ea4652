"""Trace damage: which snapshots need an object that cannot be read. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameNeeds:
    """A frame's name, the names in its prefix, and the objects that are read from this frame."""

    name: bytes
    prefix: tuple[bytes, ...]
    objects: tuple[bytes, ...]


class Needs:
    """Who needs whom: frames need what is in their prefix, snapshots need objects."""

    def __init__(
        self, frames: Iterable[FrameNeeds], snapshots: Mapping[str, frozenset[bytes]]
    ) -> None:
        self._snapshots = snapshots
        self._users: dict[bytes, list[FrameNeeds]] = defaultdict(list)
        for frame in frames:
            for part in frame.prefix:
                self._users[part].append(frame)

    def affected(self, damaged: Iterable[bytes]) -> tuple[str, ...]:
        """Return the snapshots that need one of these objects or frames, however indirectly."""
        lost = set(damaged)
        waiting = list(lost)
        while waiting:
            for frame in self._users.get(waiting.pop(), ()):
                fresh = {frame.name, *frame.objects} - lost
                lost |= fresh
                waiting.extend(fresh)
        return tuple(sorted(s for s, ids in self._snapshots.items() if not lost.isdisjoint(ids)))
