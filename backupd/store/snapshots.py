"""The snapshots of a repository: reading manifests, proofs and recipes. Reads only."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from backupd.errors import RepositoryDamaged, UsageError
from backupd.store.envelope import Envelope
from backupd.store.index import Index
from backupd.store.paths import Paths
from backupd.store.reader import ObjectReader
from backupd.store.recipe import Recipe
from backupd.store.snapshot import (
    Manifest,
    ManifestDamaged,
    Proof,
    Snapshot,
    read_manifest,
    read_proof,
    snapshot_of,
)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MAX_PROOF = 4096


class Snapshots:
    """All snapshots; manifests never change, so each is read once."""

    def __init__(
        self,
        paths: Paths,
        index: Index,
        envelope: Envelope,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.envelope = envelope
        self._paths = paths
        self._refresh = refresh
        self._index = index
        self._manifests: dict[str, tuple[Manifest, int]] = {}
        self._proofs: dict[str, Proof] = {}

    def all(self) -> list[Snapshot]:
        """Return the readable snapshots, oldest export first; damaged ones are left to `check`."""
        found = [self._quietly(name) for name in self._paths.snapshot_ids()]
        return sorted((s for s in found if s is not None), key=_age)

    def get(self, name: str) -> Snapshot | None:
        """Return the snapshot with this id, or None if there is none that can be read."""
        return self._quietly(name) if (self._paths.snapshots / name).is_file() else None

    def load(self, name: str) -> Snapshot:
        """Return the snapshot with this id.

        Raises:
            RepositoryDamaged: its manifest is not what was written.
        """
        try:
            manifest, size = self._manifest(name)
        except (OSError, ManifestDamaged) as error:
            raise RepositoryDamaged(f"read snapshot {name}: {error}", "run check") from error
        return snapshot_of(name, manifest, size, self._proof(name))

    def with_sha256(self, sha256: str) -> Snapshot | None:
        """Return the snapshot of the export with this hash, a proven one first."""
        same = [snapshot for snapshot in self.all() if snapshot.sha256 == sha256]
        return max(same, key=lambda s: s.proven_at is not None, default=None)

    def find(self, selector: str) -> Snapshot:
        """Return the snapshot meant by a full id, a unique prefix, `latest`, or a date.

        A date (YYYY-MM-DD) means the newest export made on that day or before it.

        Raises:
            UsageError: it means none, or several.
        """
        snapshots = self.all()
        if selector == "latest":
            found = snapshots[-1:]
        elif _DATE.fullmatch(selector):
            found = [s for s in snapshots if _age(s)[0] < _end_of(selector)][-1:]
        else:
            found = [s for s in snapshots if s.id.startswith(selector.lower())]
        if len(found) == 1 and selector:
            return found[0]
        cause = "it means several" if found else "there is none"
        hint = f"{'give more of its id; ' if found else ''}`backupd snapshots` lists them"
        raise UsageError(f'find snapshot "{selector}": {cause}', hint)

    def named_packs(self) -> set[str] | None:
        """Return every pack that a manifest names; None while a manifest cannot be read."""
        names: set[str] = set()
        for name in self._paths.snapshot_ids():
            try:
                names.update(self._manifest(name)[0].packs)
            except (OSError, ManifestDamaged):
                return None
        return names

    def reader(self) -> ObjectReader:
        """Return a new reader of objects, for one thread."""
        return ObjectReader(
            self._index.locate, self._index.frame_named, self.envelope, refresh=self._refresh
        )

    def recipe(self, snapshot: Snapshot) -> Recipe:
        """Return a snapshot's recipe.

        Raises:
            RepositoryDamaged: it cannot be read.
        """
        with self.reader() as reader:
            data = b"".join(reader.read(bytes.fromhex(name)) for name in snapshot.recipe)
        return Recipe(data)

    def is_forgotten(self, snapshot: Snapshot) -> bool:
        """Return whether a snapshot that was there has been removed since."""
        return not (self._paths.snapshots / snapshot.id).exists()

    def recipe_or_none(self, name: str) -> Recipe | None:
        """Return the recipe of a snapshot that may be gone or damaged."""
        try:
            return self.recipe(self.load(name))
        except RepositoryDamaged:
            return None

    def _quietly(self, name: str) -> Snapshot | None:
        try:
            return self.load(name)
        except RepositoryDamaged:
            return None

    def _manifest(self, name: str) -> tuple[Manifest, int]:
        path = self._paths.snapshots / name
        known = self._manifests.get(name)
        if known is not None and path.exists():
            return known
        data = path.read_bytes()
        self._manifests[name] = (read_manifest(name, data, self.envelope), len(data))
        return self._manifests[name]

    def _proof(self, name: str) -> Proof | None:
        if name not in self._proofs:
            data = _head(self._paths.proofs / name)
            proof = read_proof(name, data, self.envelope) if data is not None else None
            if proof is None:
                return None
            self._proofs[name] = proof
        return self._proofs[name]


def _head(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PROOF)
    except OSError:
        return None


def _age(snapshot: Snapshot) -> tuple[datetime, datetime, str]:
    exported = snapshot.exported_at or snapshot.received_at
    return exported, snapshot.received_at, snapshot.id


def _end_of(day: str) -> datetime:
    try:
        start = datetime.combine(datetime.fromisoformat(day).date(), time(), UTC)
    except ValueError as error:
        raise UsageError(
            f'find snapshot "{day}": there is no such day', "write it as 2026-03-01"
        ) from error
    return start + timedelta(days=1)
