"""Trace damage: which snapshots need an object that cannot be read. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from backupd.store.naming import frame_name
from backupd.store.packs import Directory


class Needs:
    """Who needs whom: frames need what is in their prefix, snapshots need objects."""

    def __init__(
        self, directories: Iterable[Directory], snapshots: Mapping[str, frozenset[bytes]]
    ) -> None:
        self._snapshots = snapshots
        self._objects: dict[bytes, tuple[bytes, ...]] = {}
        self._users: dict[bytes, list[bytes]] = defaultdict(list)
        for directory in directories:
            for frame in directory.frames:
                ids = tuple(item.id for item in frame.objects)
                name = frame_name(ids)
                self._objects[name] = ids
                for part in frame.prefix:
                    self._users[part].append(name)

    def affected(self, damaged: Iterable[bytes]) -> tuple[str, ...]:
        """Return the snapshots that need one of these objects, however indirectly."""
        lost = set(damaged)
        waiting = list(lost)
        while waiting:
            for frame in self._users.get(waiting.pop(), ()):
                fresh = {frame, *self._objects[frame]} - lost
                lost |= fresh
                waiting.extend(fresh)
        return tuple(sorted(s for s, ids in self._snapshots.items() if not lost.isdisjoint(ids)))
