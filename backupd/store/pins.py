"""Pins: snapshots that no policy forgets. One small file each, made and removed, never changed.

A pin also names the export's SHA-256, so that it still holds where damage made the program store
the same export anew under another snapshot id. In an encrypted repository a pin is sealed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from backupd.errors import RepositoryDamaged
from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.fsio import FileSystem
from backupd.store.paths import Paths
from backupd.store.sealed import SealBroken, seal, unseal
from backupd.store.snapshot import Snapshot

FORMAT = 1


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a pin's file says."""

    format: int
    snapshot: str
    sha256: str
    pinned_at: datetime


class Pins:
    """The pins of one repository; whoever changes them holds the writers' lock."""

    def __init__(self, paths: Paths, envelope: Envelope) -> None:
        self._paths = paths
        self._envelope = envelope

    def pinned(self) -> frozenset[str]:
        """Return the SHA-256 of every pinned export.

        Raises:
            RepositoryDamaged: a pin is not what was written; nobody can tell what it kept.
        """
        return frozenset(self._read(path).sha256 for path in self._all())

    def add(self, files: FileSystem, snapshot: Snapshot, now: datetime) -> bool:
        """Pin a snapshot; return whether it was not pinned before."""
        if snapshot.sha256 in self.pinned():
            return False
        pin = Pin(format=FORMAT, snapshot=snapshot.id, sha256=snapshot.sha256, pinned_at=now)
        target = self._paths.pins / snapshot.id
        files.make_directory(self._paths.pins)
        data = self._envelope.seal(Purpose.PIN, snapshot.id.encode(), seal(pin))
        files.write_file(target, [data], self._paths.incoming)
        return True

    def remove(self, files: FileSystem, snapshot: Snapshot) -> bool:
        """Take a snapshot's pins away; return whether there were any."""
        mine = [path for path in self._all() if self._read(path).sha256 == snapshot.sha256]
        for path in mine:
            files.remove(path)
        if mine:
            files.sync_directory(self._paths.pins)
        return bool(mine)

    def damaged(self) -> Iterator[tuple[Path, str]]:
        """Yield each pin that is not what was written, and why."""
        for path in self._all():
            try:
                self._read(path)
            except RepositoryDamaged as error:
                yield path, error.message

    def _all(self) -> Iterator[Path]:
        if self._paths.pins.is_dir():
            yield from sorted(self._paths.pins.iterdir())

    def _read(self, path: Path) -> Pin:
        try:
            name = os.fsencode(path.name)
            pin = unseal(self._envelope.unseal(Purpose.PIN, name, path.read_bytes()), Pin)
        except (OSError, Forged, SealBroken) as error:
            raise _damaged(path, str(error)) from error
        if pin.snapshot != path.name:
            raise _damaged(path, "it is the pin of another snapshot")
        return pin


def _damaged(path: Path, cause: str) -> RepositoryDamaged:
    return RepositoryDamaged(
        f'read pin "{path.name}": {cause}', "remove the file and pin the snapshot again"
    )
