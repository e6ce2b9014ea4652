"""Make the object index anew from the packs, which hold all that it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backupd.store.envelope import Envelope
from backupd.store.index import Index, read_packs
from backupd.store.paths import Paths
from backupd.store.progress import Progress


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What the new index holds; `unreadable` are packs that could not be read, by their names."""

    packs: int
    objects: int
    unreadable: tuple[str, ...]


def reindex(
    paths: Paths, index: Index, envelope: Envelope, progress: Progress | None = None
) -> Reindexed:
    """Fill the index anew, whatever is wrong with it.

    `progress` is told ("index", packs read, packs). What the index remembers besides the packs are
    mere hints; they come back with the next exports. Whoever calls holds the writers' lock.
    """
    names = sorted(paths.pack_names())

    def told() -> Iterator[bytes]:
        for number, name in enumerate(names, 1):
            yield name
            if progress is not None:
                progress("index", number, len(names))

    found = read_packs(told(), paths.pack, envelope)
    index.renew(found)
    lost = set(names) - {pack.name for pack in found}
    objects = sum(usage.objects for usage in index.usage())
    return Reindexed(len(found), objects, tuple(sorted(name.hex() for name in lost)))
