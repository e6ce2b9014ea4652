"""Decide what `prune` does with each pack. Pure.

What is needed: every object that a manifest's recipe or a remainder names, and the recipes. A pack
of which hardly anything is garbage stays as it is, with all that its frames are compressed against,
so that it stays readable to the last byte. Of all other packs only what is needed is written anew.

What stays merely because something is compressed against it is seldom a loss: without it, the other
would take more. So there are two plans: one lets kept packs lean on whatever they lean on, the
strict one writes packs anew that lean on garbage. The strict one is tried if it promises to be
smaller by more than the tolerance, and followed if what it wrote is smaller indeed.

A frame that is written anew keeps those of its objects that are needed. Its new prefix names only
what it depended on before, directly or through what is dropped, so that no circle can arise: for a
dropped older version the nearest version before it that stays, else the base it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backupd.store.layout import Layout, Spot
from backupd.store.naming import ID_SIZE, frame_name
from backupd.store.packs import ObjectEntry

TOLERANCE = 0.05
_NEARLY_WHOLE = 0.75


@dataclass(frozen=True, slots=True)
class NewFrame:
    """A frame to be written: what it is made of, and what it is compressed against."""

    old: Spot
    kind: int
    objects: tuple[ObjectEntry, ...]
    prefix: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What becomes of the packs. `bytes_after` is an estimate.

    `drop` packs hold nothing that is needed, `rewrite` packs something. `frames` are the new ones,
    each after those it depends on. Packs are ordered by when they were written.
    """

    keep: tuple[bytes, ...]
    rewrite: tuple[bytes, ...]
    drop: tuple[bytes, ...]
    frames: tuple[NewFrame, ...]
    bytes_before: int
    bytes_after: int

    @property
    def removed(self) -> tuple[bytes, ...]:
        """The packs that go, in whatever way."""
        return self.rewrite + self.drop


def plans(
    layout: Layout, needed: Iterable[bytes], tolerance: float = TOLERANCE
) -> tuple[PrunePlan, ...]:
    """Return the plan to follow; before it, if it is to be tried, the strict one.

    Every needed object is in the layout; `tolerance` is the share of garbage allowed.
    """
    roots = frozenset(needed)
    lax = _Planner(layout, set(roots), roots, tolerance, strict=False).plan()
    strict = _Planner(layout, set(roots), roots, tolerance, strict=True).plan()
    worth = lax.bytes_after - strict.bytes_after > tolerance * lax.bytes_after
    return (strict, lax) if worth else (lax,)


@dataclass(slots=True)
class _Planner:
    """One decision; `needed` grows by what kept packs lean on, `whole` are frames named by them."""

    layout: Layout
    needed: set[bytes]
    roots: frozenset[bytes]
    tolerance: float
    strict: bool
    whole: set[Spot] = field(default_factory=set)
    new_names: dict[Spot, bytes] = field(default_factory=dict)

    def plan(self) -> PrunePlan:
        """Return the plan."""
        sizes = {name: pack.size for name, pack in self.layout.packs.items()}
        keep: set[bytes] = set()
        while fresh := {name for name in sizes if name not in keep and self._may_stay(name)}:
            keep |= fresh
            self._lean(fresh)
        others = [name for name in sizes if name not in keep]
        frames = tuple(self._new_frames(others))
        live = {frame.old.pack for frame in frames}
        return PrunePlan(
            keep=tuple(name for name in sizes if name in keep),
            rewrite=tuple(name for name in others if name in live),
            drop=tuple(name for name in others if name not in live),
            frames=frames,
            bytes_before=sum(sizes.values()),
            bytes_after=sum(sizes[name] for name in keep) + self._estimate(frames),
        )

    def _may_stay(self, pack: bytes) -> bool:
        size = self.layout.packs[pack].size
        if self._dead(pack) > self.tolerance * size:
            return False
        return not self.strict or all(
            self._is_sound(name)
            for entry in self.layout.packs[pack].directory.frames
            for name in entry.prefix
        )

    def _is_sound(self, name: bytes) -> bool:
        """Return whether leaning on something keeps hardly any garbage."""
        spot = self.layout.spot(name)
        if len(name) == ID_SIZE or spot is None:
            return name in self.roots
        raw = sum(item.length for item in self._live(spot))
        return raw >= _NEARLY_WHOLE * self.layout.frames[spot].raw_length

    def _estimate(self, frames: Iterable[NewFrame]) -> int:
        """Return about how many bytes new frames take, judged by those that lean on no object."""
        plain: dict[int, list[int]] = {}
        for entry in self.layout.frames.values():
            if not any(len(name) == ID_SIZE for name in entry.prefix):
                totals = plain.setdefault(entry.kind, [0, 0])
                totals[0] += entry.length
                totals[1] += entry.raw_length
        return int(sum(self._size(frame, plain) for frame in frames))

    def _size(self, frame: NewFrame, plain: dict[int, list[int]]) -> float:
        entry = self.layout.frames[frame.old]
        raw = sum(item.length for item in frame.objects)
        leant = any(len(name) == ID_SIZE for name in entry.prefix)
        leans = any(len(name) == ID_SIZE for name in frame.prefix)
        stored, length = entry.length, entry.raw_length
        if leant and not leans:
            stored, length = plain.get(frame.kind, [stored, length])
        return stored * raw / length if length else 0.0

    def _dead(self, pack: bytes) -> float:
        """Return how many bytes of a pack nobody needs."""
        size = self.layout.packs[pack].size
        return size * (1.0 - self._live_share(pack))

    def _live_share(self, pack: bytes) -> float:
        entries = self.layout.packs[pack].directory.frames
        total = sum(entry.length for entry in entries)
        live = 0.0
        for number, entry in enumerate(entries):
            raw = sum(item.length for item in self._live(Spot(pack, number)))
            live += entry.length * (raw / entry.raw_length if entry.raw_length else 1.0)
        return live / total if total else 0.0

    def _live(self, spot: Spot) -> tuple[ObjectEntry, ...]:
        """Return the objects of a frame that stay in it."""
        if spot in self.whole:
            return self.layout.frames[spot].objects
        return tuple(i for i in self.layout.objects_at_home(spot) if i.id in self.needed)

    def _live_frames(self, packs: Iterable[bytes]) -> Iterator[Spot]:
        for name in packs:
            for number in range(len(self.layout.packs[name].directory.frames)):
                if self._live(Spot(name, number)):
                    yield Spot(name, number)

    def _lean(self, packs: Iterable[bytes]) -> None:
        """Need whatever the frames of kept packs are compressed against."""
        for pack in packs:
            for entry in self.layout.packs[pack].directory.frames:
                for name in entry.prefix:
                    spot = self.layout.spot(name)
                    if len(name) == ID_SIZE:
                        self.needed.add(name)
                    elif spot is not None:
                        self.whole.add(spot)

    def _new_frames(self, packs: Iterable[bytes]) -> Iterator[NewFrame]:
        spots = list(self._live_frames(packs))
        for spot in spots:
            self.new_names[spot] = frame_name(item.id for item in self._live(spot))
        removed = set(packs)
        heads = self._heads()
        for spot in sorted(spots, key=self.layout.depth):
            kind = self.layout.frames[spot].kind
            live = self._live(spot)
            objects = tuple(
                item if heads.get((kind, item.key)) == item.id else _keyless(item) for item in live
            )
            yield NewFrame(spot, kind, objects, self._prefix(spot, live, removed))

    def _heads(self) -> dict[tuple[int, bytes], bytes]:
        """Return the newest object of each key that stays.

        Others lose their key: written anew, they would be taken for newer than the newest, and
        the next export would be compressed against them.
        """
        return {
            (entry.kind, item.key): item.id
            for spot, entry in self.layout.frames.items()
            for item in self._live(spot)
            if item.key
        }

    def _prefix(
        self, spot: Spot, objects: tuple[ObjectEntry, ...], removed: set[bytes]
    ) -> tuple[bytes, ...]:
        keys = {item.key for item in objects if item.key}
        found: dict[bytes, None] = {}
        bases: dict[bytes, None] = {}
        waiting = list(reversed(self.layout.frames[spot].prefix))
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            where = self.layout.spot(name)
            if len(name) == ID_SIZE and name in self.needed:
                found[name] = None
            elif where is not None and len(name) == ID_SIZE:
                bases |= dict.fromkeys(self._base(where, removed))
                older = [n for n in self._older(where, keys) if n not in seen]
                waiting += reversed(older)
                seen.update(older)
            elif where is not None:
                bases |= dict.fromkeys(self._base(where, removed))
        return tuple(found) or tuple(bases)[:1]

    def _older(self, dropped: Spot, keys: set[bytes]) -> list[bytes]:
        """Return what a frame with a dropped object leant on, as far as it is of these keys."""
        kind = self.layout.frames[dropped].kind
        return [
            name
            for name in self.layout.frames[dropped].prefix
            if len(name) != ID_SIZE
            or (self.layout.keys.get(name, (0, b""))[0] == kind
                and self.layout.keys[name][1] in keys)
        ]  # fmt: skip

    def _base(self, spot: Spot, removed: set[bytes]) -> Iterator[bytes]:
        """Yield the name that a frame which needs no other will have, if it stays."""
        if self.layout.frames[spot].prefix:
            return
        if spot.pack not in removed:
            yield self.layout.names[spot]
        elif spot in self.new_names:
            yield self.new_names[spot]


def _keyless(item: ObjectEntry) -> ObjectEntry:
    return ObjectEntry(item.id, item.length, b"")
