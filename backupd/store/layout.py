"""Where everything lies in a set of packs, by the packs themselves: what `prune` reasons about.

Built from the packs' own directories, never from the index, which is derived. As everywhere, what
several packs hold counts where it was written last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from backupd.errors import RepositoryDamaged
from backupd.store.index import Pack
from backupd.store.naming import ID_SIZE, frame_name
from backupd.store.packs import FrameEntry, ObjectEntry

_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True)
class Spot:
    """One frame: the pack that holds it, and its number there."""

    pack: bytes
    number: int


@dataclass(slots=True)
class Layout:
    """Frames by place, by object and by name, and what they need."""

    packs: dict[bytes, Pack]
    frames: dict[Spot, FrameEntry] = field(default_factory=dict)
    home: dict[bytes, Spot] = field(default_factory=dict)
    keys: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    named: dict[bytes, Spot] = field(default_factory=dict)
    names: dict[Spot, bytes] = field(default_factory=dict)
    _depths: dict[Spot, int] = field(default_factory=dict)

    @classmethod
    def of(cls, packs: Iterable[Pack]) -> Layout:
        """Return the layout of these packs, those written last counting."""
        ordered = sorted(packs, key=lambda pack: (pack.directory.sequence, pack.name))
        layout = cls({pack.name: pack for pack in ordered})
        for pack in ordered:
            for number, entry in enumerate(pack.directory.frames):
                layout._place(Spot(pack.name, number), entry)
        return layout

    def _place(self, spot: Spot, entry: FrameEntry) -> None:
        self.frames[spot] = entry
        for item in entry.objects:
            self.home[item.id] = spot
            self.keys[item.id] = (entry.kind, item.key)
        name = frame_name(item.id for item in entry.objects)
        self.named[name] = spot
        self.names[spot] = name

    def objects_at_home(self, spot: Spot) -> tuple[ObjectEntry, ...]:
        """Return the objects of a frame that are read from it and from no other."""
        return tuple(item for item in self.frames[spot].objects if self.home[item.id] == spot)

    def spot(self, name: bytes) -> Spot | None:
        """Return the frame that gives an object (32 bytes), or the one so named (16 bytes)."""
        return self.home.get(name) if len(name) == ID_SIZE else self.named.get(name)

    def depth(self, spot: Spot) -> int:
        """Return how many frames, at most, must be decoded before this one.

        Raises:
            RepositoryDamaged: the frames need each other in a circle.
        """
        return self._depth(spot, 0)

    def _depth(self, spot: Spot, above: int) -> int:
        known = self._depths.get(spot)
        if known is not None:
            return known
        if above > _MAX_DEPTH:
            raise RepositoryDamaged(
                f"read pack {spot.pack.hex()}: the prefixes of a frame never end",
                "run check --read-data",
            )
        below = (self.spot(name) for name in self.frames[spot].prefix)
        depths = (self._depth(each, above + 1) for each in below if each is not None)
        self._depths[spot] = 1 + max(depths, default=-1)
        return self._depths[spot]
