"""A repository in memory, as far as the catalog asks: snapshots and the slices they name."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backupd.demo.exports import GeneratedExport
from backupd.export.slices import Slice, split_json
from backupd.store.remainders import ForgottenSnapshot

DAY_ONE = datetime(2025, 10, 5, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """What the catalog wants to know of a snapshot."""

    id: str
    account: str | None
    account_prefix: str | None
    exported_at: datetime | None
    received_at: datetime
    complete: bool | None


class MemorySource:
    """Takes the repository's place; counts what is read."""

    def __init__(self) -> None:
        self.members: dict[str, list[bytes]] = {}
        self.objects: dict[bytes, bytes] = {}
        self.read = 0
        self._snapshots: dict[str, MemorySnapshot] = {}

    def add(
        self,
        slices: Iterable[bytes],
        *,
        week: int = 0,
        complete: bool | None = True,
        account: str | None = "someone",
    ) -> str:
        """Store an export made `week` weeks after the first; return the snapshot's id."""
        ids: list[bytes] = []
        for data in slices:
            ids.append(hashlib.sha256(data).digest())
            self.objects[ids[-1]] = data
        moment = DAY_ONE + timedelta(weeks=week)
        return self._put(moment, complete, account, ids)

    def add_export(self, export: GeneratedExport) -> str:
        """Store a generated export; return the snapshot's id."""
        ids: list[bytes] = []
        for data in slices_of(export):
            ids.append(hashlib.sha256(data).digest())
            self.objects[ids[-1]] = data
        return self._put(export.exported_at, None, export.account.prefix, ids)

    def remove(self, snapshot: str) -> None:
        """Take a snapshot out."""
        del self._snapshots[snapshot]

    def snapshots(self) -> list[MemorySnapshot]:
        """Return all snapshots, the newest first, to show that order means nothing."""
        return list(self._snapshots.values())[::-1]

    def forgotten(self) -> list[ForgottenSnapshot]:
        """Return what stays of forgotten snapshots: here, nothing."""
        return []

    def conversation_ids(self, snapshot: MemorySnapshot) -> Iterator[bytes]:
        """Yield the ids of a snapshot's slices."""
        yield from self.members[snapshot.id]

    def read_many(self, ids: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the slices asked for, in another order; those that are not there are left out."""
        for name in sorted(ids):
            if name in self.objects:
                self.read += 1
                yield name, self.objects[name]

    def _put(
        self, moment: datetime, complete: bool | None, account: str | None, ids: list[bytes]
    ) -> str:
        name = hashlib.sha256(f"{moment}{account}".encode() + b"".join(ids)).hexdigest()[:16]
        self.members[name] = ids
        self._snapshots[name] = MemorySnapshot(name, account, None, moment, moment, complete)
        return name


def slices_of(export: GeneratedExport) -> Iterator[bytes]:
    """Yield the conversations of a generated export as the exact bytes in its files."""
    with io.BytesIO() as whole:
        export.write_to(whole)
        yield from _slices_in(whole)


def _slices_in(whole: io.BytesIO) -> Iterator[bytes]:
    with zipfile.ZipFile(whole) as archive:
        for info in archive.infolist():
            base = info.filename.rsplit("/", 1)[-1]
            if base.endswith(".zip"):
                yield from _slices_in(io.BytesIO(archive.read(info)))
            elif base.startswith("conversations") and base.endswith(".json"):
                for piece in split_json([archive.read(info)]):
                    if isinstance(piece, Slice):
                        yield piece.data
