"""Give back the space of what nobody needs, in two phases; safe at any crash.

1. What is needed of packs that hold garbage is written into new packs, in a staging directory, then
   linked into `packs/`: durable. 2. Proof: an index made from nothing but the packs that will be
   there in the end, read again from the disk, gives every needed object; each one that lay in a
   pack that goes, or that leans on such a pack however indirectly, is decoded and hashed (I2). 3.
   The object index learns the new packs. 4. The old packs are removed, those first on which no
   other one leans.

The proof is of objects, not of exports: what an export is made of is its recipe, an object itself,
and the objects it names; each is read back as exactly the bytes of its name, so every export is.
It is complete, and spares deflating every export again.

A crash before 4 leaves new packs beside old ones: the same objects twice, which is harmless. A
crash in 4 leaves some old packs. In each case nothing that is needed lies only in what may go;
running `prune` again finds out anew what is needed where, and ends the work. Nothing is taken back
or removed by a recovery, so none has to guess.

A manifest, a remainder or a pack that cannot be read ends all this before anything is written:
nobody can tell what it needs or holds. Readers need no lock: one that finds its pack removed asks
the index again, see `reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backupd.errors import BackupdError, RepositoryDamaged
from backupd.store.fsio import FileSystem, temporary
from backupd.store.index import Index, Pack
from backupd.store.layout import Layout, Spot
from backupd.store.naming import Kind
from backupd.store.packing import Packing
from backupd.store.packs import PackDamaged, SealedPack, read_directory
from backupd.store.paths import Paths
from backupd.store.progress import Progress, silent
from backupd.store.prune_plan import TOLERANCE, NewFrame, PrunePlan, plans
from backupd.store.reader import ObjectReader
from backupd.store.remainders import Remainders
from backupd.store.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune did: packs removed and written, bytes of all packs before and after."""

    removed: int
    written: int
    bytes_before: int
    bytes_after: int
    proven: int


class Pruning:
    """Prunes one repository; `prune` is called with the writers' lock held."""

    def __init__(
        self,
        paths: Paths,
        files: FileSystem,
        index: Index,
        snapshots: Snapshots,
        progress: Progress | None = None,
    ) -> None:
        self._paths = paths
        self._files = files
        self._index = index
        self._snapshots = snapshots
        self._envelope = snapshots.envelope
        self._progress = progress or silent

    def plan(self, tolerance: float = TOLERANCE) -> PrunePlan:
        """Return what `prune` would try first; changes nothing.

        Raises:
            RepositoryDamaged: something that decides cannot be read, or something needed is lost.
        """
        layout, needed = self._look()
        return plans(layout, needed, tolerance)[0]

    def prune(self, tolerance: float = TOLERANCE) -> Pruned:
        """Do it.

        Raises:
            RepositoryDamaged: as `plan`, or what was written anew does not read back.
            StorageFull, WriteFailed: the disk refuses; at most new packs are left beside the old.
        """
        layout, needed = self._look()
        *tries, last = plans(layout, needed, tolerance)
        for made in tries:
            done = self._follow(layout, made, needed, most=last.bytes_after)
            if done is not None:
                return done
        return self._follow(layout, last, needed, most=None) or _nothing(last)

    def _follow(
        self, layout: Layout, made: PrunePlan, needed: set[bytes], most: int | None
    ) -> Pruned | None:
        """Do what a plan says; None, and nothing done, if that would take more than `most`."""
        if not made.removed:
            return None
        kept = [layout.packs[name] for name in made.keep]
        room = None if most is None else most - sum(pack.size for pack in kept)
        packs = self._write(layout, made.frames, room)
        if packs is None:
            return None
        final = kept + self._pack_up(packs)
        proven = self._prove(layout, made, final, needed)
        self._index.insert(final)  # before anything goes, so that readers find what moved
        self._remove(layout, made.removed)
        after = sum(pack.size for pack in final)
        return Pruned(len(made.removed), len(packs), made.bytes_before, after, proven)

    def _look(self) -> tuple[Layout, set[bytes]]:
        """Return where everything lies and what is needed of it, all read from the truth."""
        layout = Layout.of(self._read_packs())
        with _Index(layout.packs.values(), self._paths) as index:
            snapshots = Snapshots(self._paths, index, self._envelope)
            needed: set[bytes] = set()
            for name in self._paths.snapshot_ids():
                snapshot = self._snapshots.load(name)
                needed.update(map(bytes.fromhex, snapshot.recipe))
                needed.update(snapshots.recipe(snapshot).ids())
        for remainder in Remainders(self._paths, self._envelope).all():
            needed.update(remainder.record.objects())
        lost = [name for name in needed if name not in layout.home]
        if lost:
            raise RepositoryDamaged(
                f"prune: {len(lost)} objects that are needed are in no pack, as {lost[0].hex()}",
                "run check; nothing was removed",
            )
        return layout, needed

    def _read_packs(self) -> list[Pack]:
        found = []
        for name in sorted(self._paths.pack_names()):
            try:
                directory, size = read_directory(self._paths.pack(name), self._envelope)
            except (OSError, PackDamaged) as error:
                raise RepositoryDamaged(
                    f"prune: pack {name.hex()}: {error}",
                    "run check --read-data; nothing was removed",
                ) from error
            found.append(Pack(name, size, directory))
        return found

    def _write(
        self, layout: Layout, frames: Iterable[NewFrame], room: int | None
    ) -> list[SealedPack] | None:
        """Write the new frames into packs and link these into place, durable.

        None, and nothing in place, if they take more than `room`.
        """
        frames = list(frames)
        if not frames:
            return []
        staging = temporary(self._paths.incoming)
        self._files.make_directory(staging)
        try:
            with _Index(layout.packs.values(), self._paths) as index:
                packs = self._repack(layout, index, frames, staging)
            if room is not None and sum(pack.size for pack in packs) > room:
                return None
            for pack in packs:
                self._files.publish(pack.path, self._paths.pack(pack.digest), pack.digest)
        finally:
            with suppress(BackupdError):  # what stays is collected when writing starts next
                self._files.remove_tree(staging)
        return packs

    def _repack(
        self, layout: Layout, index: Index, frames: list[NewFrame], staging: Path
    ) -> list[SealedPack]:
        packing = Packing(self._files, staging, index, self._envelope)
        try:
            with ObjectReader(index.locate, index.frame_named, self._envelope) as reader:
                for number, frame in enumerate(frames, 1):
                    data = self._data(layout, frame, reader)
                    packing.submit(Kind(frame.kind), data, frame.prefix, frame.objects)
                    self._progress("rewrite", number, len(frames))
            return packing.finish()
        finally:
            packing.close()

    def _data(self, layout: Layout, frame: NewFrame, reader: ObjectReader) -> bytes:
        """Return the bytes of a new frame, each object proven by its name."""
        name = self._envelope.object_id
        data = [reader.read(item.id) for item in frame.objects]
        if any(name(piece) != item.id for piece, item in zip(data, frame.objects, strict=True)):
            raise _unproven(f"frame {layout.names[frame.old].hex()}")
        return b"".join(data)

    def _pack_up(self, packs: Iterable[SealedPack]) -> list[Pack]:
        """Return the new packs as they are on the disk now."""
        found = []
        for pack in packs:
            try:
                directory, size = read_directory(self._paths.pack(pack.digest), self._envelope)
            except (OSError, PackDamaged) as error:
                raise _unproven(f"pack {pack.digest.hex()}: {error}") from error
            found.append(Pack(pack.digest, size, directory))
        return found

    def _prove(self, old: Layout, made: PrunePlan, packs: list[Pack], needed: set[bytes]) -> int:
        """Read back what moved, from the final packs alone; return how many objects that were."""
        final = Layout.of(packs)
        if not needed <= final.home.keys():
            raise _unproven("an object that is needed would be lost")
        moved = _Moved(old, made, final)
        chosen = [name for name in needed if moved.touches(final.home[name])]
        with (
            _Index(packs, self._paths) as index,
            ObjectReader(index.locate, index.frame_named, self._envelope) as reader,
        ):
            for number, name in enumerate(index.sort(chosen), 1):
                reader.read(name)  # raises unless the bytes are those of the name
                self._progress("prove", number, len(chosen))
        return len(chosen)

    def _remove(self, layout: Layout, packs: tuple[bytes, ...]) -> None:
        for number, name in enumerate(_leaning_first(layout, packs), 1):
            self._files.remove(self._paths.pack(name))
            self._files.sync_directory(self._paths.pack(name).parent)
            self._progress("remove", number, len(packs))


class _Moved:
    """Tells which frames of the final layout hold or lean on what lay in packs that go."""

    def __init__(self, old: Layout, made: PrunePlan, final: Layout) -> None:
        self._final = final
        self._known: dict[Spot, bool] = {}
        going = set(made.removed)
        self._names = {
            name
            for spot, entry in old.frames.items()
            if spot.pack in going
            for name in (old.names[spot], *(item.id for item in entry.objects))
        }

    def touches(self, spot: Spot) -> bool:
        """Return whether a frame must be read again."""
        known = self._known.get(spot)
        if known is None:
            self._final.depth(spot)  # refuses a circle
            entry = self._final.frames[spot]
            known = (
                any(item.id in self._names for item in entry.objects)
                or any(name in self._names for name in entry.prefix)
                or any(self._leans(name) for name in entry.prefix)
            )
            self._known[spot] = known
        return known

    def _leans(self, name: bytes) -> bool:
        spot = self._final.spot(name)
        return spot is None or self.touches(spot)


class _Index:
    """An index in memory of exactly these packs, whatever the one on the disk says."""

    def __init__(self, packs: Iterable[Pack], paths: Paths) -> None:
        self._index = Index(None, paths.pack)
        self._index.insert(packs)

    def __enter__(self) -> Index:
        return self._index

    def __exit__(self, *_: object) -> None:
        self._index.close()


def _leaning_first(layout: Layout, packs: Iterable[bytes]) -> list[bytes]:
    """Return packs so that one comes before those it leans on; in a circle the newest is first."""
    left = list(reversed(list(packs)))
    leans = {name: _leans_on(layout, name) for name in left}
    ordered = []
    while left:
        free = [n for n in left if not any(n in leans[other] for other in left if other != n)]
        ordered.append(free[0] if free else left[0])
        left.remove(ordered[-1])
    return ordered


def _leans_on(layout: Layout, pack: bytes) -> set[bytes]:
    entries = layout.packs[pack].directory.frames
    spots = (layout.spot(name) for entry in entries for name in entry.prefix)
    return {spot.pack for spot in spots if spot is not None}


def _unproven(cause: str) -> RepositoryDamaged:
    return RepositoryDamaged(
        f"prune: what was written anew does not read back: {cause}",
        "nothing was removed; check the disk and run check --read-data",
    )


def _nothing(made: PrunePlan) -> Pruned:
    return Pruned(0, 0, made.bytes_before, made.bytes_before, 0)
