"""What a repository holds and what it takes, so that its size can be explained."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backupd.store.index import Index
from backupd.store.naming import Kind
from backupd.store.paths import Paths
from backupd.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class KindStats:
    """Objects of one kind: their number, their own bytes, and their bytes in packs."""

    kind: str
    objects: int
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals in bytes. `raw_bytes` is the sum of all stored ZIPs; `stored_bytes` is what packs,
    manifests, proofs, pins, remainders and header take; `cache_bytes` (derived files) comes on
    top. `conversations` counts different ids, `versions` different bytes of conversations."""

    raw_bytes: int
    stored_bytes: int
    cache_bytes: int
    quarantine_bytes: int
    snapshots: int
    conversations: int
    versions: int
    objects: int
    kinds: tuple[KindStats, ...]

    @property
    def ratio(self) -> float:
        """How many times smaller than the ZIPs the repository is; 0 when it is empty."""
        return self.raw_bytes / self.stored_bytes if self.raw_bytes else 0.0


def gather(
    paths: Paths, derived: Path | None, index: Index, snapshots: Iterable[Snapshot]
) -> Stats:
    """Return the figures of a repository."""
    snapshots = list(snapshots)
    usage = index.usage()
    kinds = tuple(
        KindStats(u.kind.name.lower(), u.objects, u.raw_bytes, u.stored_bytes) for u in usage
    )
    places = (paths.packs, paths.snapshots, paths.proofs, paths.pins, paths.remainders, paths.keys)
    stored = sum(map(_size, places))
    return Stats(
        raw_bytes=sum(snapshot.size for snapshot in snapshots),
        stored_bytes=stored + paths.header.stat().st_size,
        cache_bytes=_size(derived) if derived else 0,
        quarantine_bytes=_size(paths.quarantine),
        snapshots=len(snapshots),
        conversations=index.keys(Kind.CONVERSATION),
        versions=sum(u.objects for u in usage if u.kind is Kind.CONVERSATION),
        objects=sum(u.objects for u in usage),
        kinds=kinds,
    )


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):  # temporary files come and go
            total += path.stat().st_size if path.is_file() else 0
    return total
