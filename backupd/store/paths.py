"""Where everything in a repository lies. Pure.

backupd-repository.json    format, features, id; written last when a repository is made
lock                       the writers' flock
packs/xx/<sha256>.pack     objects; xx = first two digits of the name
snapshots/<sha256>         manifests; putting one here is the commit point
proofs/<snapshot>          says that the snapshot was rebuilt and hashed equal
pins/<snapshot>            says that no policy forgets the snapshot
remainders/<sha256>        what stays of forgotten snapshots
incoming/                  downloads and unfinished work; may be emptied when nothing runs
quarantine/<sha256>.zip    files that break a rule, as received; .json beside says why
keys/<sha256>              only if encrypted: the master key, wrapped
cache/                     derived: object index, catalog; may be deleted
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backupd.errors import RepositoryDamaged

STAGING = "add-"
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of the repository at `root`."""

    root: Path

    @property
    def header(self) -> Path:
        """The file that makes a directory a repository."""
        return self.root / "backupd-repository.json"

    @property
    def lock(self) -> Path:
        """The file that writers lock."""
        return self.root / "lock"

    @property
    def packs(self) -> Path:
        """Directory of packs."""
        return self.root / "packs"

    @property
    def snapshots(self) -> Path:
        """Directory of manifests."""
        return self.root / "snapshots"

    @property
    def proofs(self) -> Path:
        """Directory of proofs."""
        return self.root / "proofs"

    @property
    def pins(self) -> Path:
        """Directory of pins."""
        return self.root / "pins"

    @property
    def remainders(self) -> Path:
        """Directory of remainders."""
        return self.root / "remainders"

    @property
    def incoming(self) -> Path:
        """Directory of unfinished work."""
        return self.root / "incoming"

    @property
    def quarantine(self) -> Path:
        """Directory of refused files."""
        return self.root / "quarantine"

    @property
    def keys(self) -> Path:
        """Directory of key files; only an encrypted repository has one."""
        return self.root / "keys"

    @property
    def cache(self) -> Path:
        """Directory of derived files."""
        return self.root / "cache"

    @property
    def index(self) -> Path:
        """The object index."""
        return self.cache / "index.sqlite"

    def directories(self) -> tuple[Path, ...]:
        """Return every directory of a repository."""
        return (
            self.packs, self.snapshots, self.proofs, self.pins, self.remainders,
            self.incoming, self.quarantine, self.cache,
        )  # fmt: skip

    def pack(self, name: bytes) -> Path:
        """Return the path of the pack with this SHA-256."""
        text = name.hex()
        return self.packs / text[:2] / f"{text}.pack"

    def pack_names(self) -> Iterator[bytes]:
        """Yield the names of the packs that are there; foreign files are passed over."""
        for path in self.packs.glob("??/*.pack"):
            if _NAME.fullmatch(path.stem) and path.parent.name == path.stem[:2]:
                yield bytes.fromhex(path.stem)

    def remainder_ids(self) -> list[str]:
        """Return the ids of the remainders that are there."""
        return sorted(p.name for p in listing(self.remainders) if _NAME.fullmatch(p.name))

    def snapshot_ids(self) -> list[str]:
        """Return the ids of the manifests that are there.

        Raises:
            RepositoryDamaged: there is no such directory although there are packs.
        """
        if not self.snapshots.is_dir() and any(self.pack_names()):
            raise RepositoryDamaged(
                f'read "{self.snapshots}": it is missing, and with it what the packs are for',
                "bring it back from another copy of the repository; make no new one",
            )
        return sorted(p.name for p in listing(self.snapshots) if _NAME.fullmatch(p.name))

    def state(self) -> tuple[frozenset[bytes], tuple[str, ...], tuple[str, ...]]:
        """Return the names of all packs, manifests and remainders; what has a name never changes.

        Equal before and after a look means that nobody wrote or removed meanwhile (I3).
        """
        packs = frozenset(self.pack_names())
        return packs, tuple(self.snapshot_ids()), tuple(self.remainder_ids())


def listing(directory: Path) -> list[Path]:
    """Return what is in a directory, sorted; a missing one, as in copies, is empty."""
    return sorted(directory.iterdir()) if directory.is_dir() else []
