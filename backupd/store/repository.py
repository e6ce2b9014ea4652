"""The repository: add an export, list snapshots, give exports back, check.

Layout and invariants: `paths` and `docs/format.md`. I1: a manifest names only durable objects. I2:
an object's name is the hash of its bytes. I3: files under `packs/` and `snapshots/` never change.
I4: a received file may go only after `add` returned. Read next: `adding` (commit order), `fsio`
(how a file is written), `writer` (what is compressed against what), `recipe`.

Reading needs no lock. Writing takes the writers' lock, for one call or for as long as `lock` or
`open(write=True)` holds it. A `Repository` may be used from several threads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from backupd.errors import BackupdError
from backupd.store import incoming, memory, opening, proving, restore
from backupd.store.adding import Added, Adding
from backupd.store.check import Check, CheckReport, Problem, Subset
from backupd.store.derived import Access
from backupd.store.fsio import FileSystem
from backupd.store.index import Index, Pack, read_packs
from backupd.store.keeping import Keeping
from backupd.store.keys import Key, NewKeys
from backupd.store.lock import Writing
from backupd.store.opening import Opened, OpenKeys
from backupd.store.paths import Paths
from backupd.store.progress import Progress
from backupd.store.quarantine import Quarantine
from backupd.store.reindex import Reindexed, reindex
from backupd.store.remainders import ForgottenSnapshot, Remainder, forgotten
from backupd.store.snapshot import Origin, Snapshot
from backupd.store.snapshots import Snapshots
from backupd.store.stats import KindStats, Stats, gather

__all__ = [
    "Access",
    "Added",
    "CheckReport",
    "Key",
    "KindStats",
    "NewKeys",
    "OpenKeys",
    "Origin",
    "Problem",
    "Reindexed",
    "Remainder",
    "Repository",
    "Snapshot",
    "Stats",
    "Subset",
]

_log = logging.getLogger("backupd.store")


class Repository:
    """One open repository; see `open` and `create`."""

    def __init__(self, paths: Paths, files: FileSystem, opened: Opened) -> None:
        memory.give_back()
        self._paths = paths
        self._opened = opened
        self._files = files
        self._mutex = threading.Lock()
        self._writing = Writing(paths.lock, self._begin_writing)
        index = opened.derived / paths.index.name if opened.derived else None
        self._index = Index(index, paths.pack, self._all_packs)
        self._snapshots = Snapshots(paths, self._index, opened.envelope, self._refresh)
        self._quarantine = Quarantine(paths, files, opened.envelope)

    @classmethod
    def create(
        cls, path: Path, *, keys: NewKeys | None = None, files: FileSystem | None = None
    ) -> Repository:
        """Make an empty repository at `path`, encrypted if `keys` are given, and open it.

        Raises:
            RepositoryRefused: the place is not empty, not ours, or open to others.
            UsageError: the passphrase is too short.
        """
        opening.make(Paths(path), files or FileSystem(), keys)
        access = Access((lambda: keys.passphrase) if keys else None)
        return cls.open(path, access=access, files=files)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        write: bool = False,
        verb: str = "backupd",
        access: Access = Access(),  # noqa: B008 - immutable
        files: FileSystem | None = None,
    ) -> Repository:
        """Open the repository at `path`; with `write`, hold the writers' lock until `close`.

        Raises:
            RepositoryMissing: there is none.
            RepositoryRefused: a newer format, another owner, or open to others; untouched.
            RepositoryLocked: `write`, and another process writes.
            CredentialError: it is encrypted, and `access` has no right passphrase.
        """
        paths, files = Paths(path), files or FileSystem()
        repository = cls(paths, files, opening.enter(paths, files, access))
        return repository._begun(verb if write else None)

    def reopen(self) -> Repository:
        """Open the same repository once more, to be closed on its own; nobody is asked for keys."""
        return Repository(self._paths, self._files, self._opened)._begun(None)

    def _begun(self, verb: str | None) -> Repository:
        try:
            self._refresh()
            if verb is not None:
                self._writing.hold(verb)
        except BaseException:
            self.close()
            raise
        return self

    @property
    def path(self) -> Path:
        """The repository's directory."""
        return self._paths.root

    @property
    def incoming(self) -> Path:
        """Where downloads are written; the same file system as the packs."""
        return self._paths.incoming

    @property
    def keys(self) -> OpenKeys | None:
        """The keys, to be changed under `lock`; None if the repository is not encrypted."""
        return self._opened.keys

    @property
    def derived(self) -> Path | None:
        """Where derived files lie, any of which may be deleted; None: in this process only."""
        return self._opened.derived

    @property
    def catalog(self) -> Path | None:
        """Where the catalog belongs; None: in this process only."""
        return self.derived / "catalog.sqlite" if self.derived else None

    def close(self) -> None:
        """Free the lock, if held, and close all files."""
        with self._writing.end():
            self._index.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def lock(self, verb: str = "backupd") -> AbstractContextManager[None]:
        """Hold the writers' lock for a block; blocks of one thread may nest.

        Another thread of this process waits; another process is refused.

        Raises:
            RepositoryLocked: another process writes.
        """
        return self._writing.held(verb)

    def add(
        self,
        source: Path,
        origin: Origin,
        progress: Progress | None = None,
        *,
        prove: bool = True,
    ) -> Added:
        """Store one export exactly, each piece once, and prove that it comes back.

        `progress` is told (stage, done, total) in bytes; stages are "hash", "store" and "prove".
        The source may go once the snapshot is proven (I4): now, or when `prove` has returned it.

        Raises:
            ArchiveRefused: the file breaks a rule; see `quarantine`.
            StorageFull, WriteFailed: the disk refuses; nothing that was stored is harmed.
            RepositoryDamaged: what was just written does not read back.
            RepositoryLocked: another process writes.
        """
        with self.lock("add"):
            adding = Adding(self._paths, self._files, self._index, self._snapshots, progress)
            try:
                added = adding.add(source, origin, prove=prove)
            except OSError as error:
                cause = f'add "{source}": {error.strerror or error}'
                raise BackupdError(
                    cause, "see that the file can be read, and add it again"
                ) from error
        _log.info(
            "stored %s: %d bytes as %d new bytes in %.1f s",
            added.snapshot.id[:12], added.snapshot.size, added.new_bytes, added.seconds,
        )  # fmt: skip
        return added

    def prove(self, snapshot: Snapshot, progress: Progress | None = None) -> Snapshot | None:
        """Rebuild a snapshot and note that it was right; None if it does not come back.

        Raises:
            RepositoryLocked: another process writes at the end.
        """
        self._refresh()
        if not proving.rebuilds(self._snapshots, snapshot, progress):
            return None
        with self.lock("prove"):
            proving.write_proof(self._paths, self._files, self._snapshots.envelope, snapshot)
        return self._snapshots.get(snapshot.id)

    def quarantine(
        self, source: Path, rule: str, detail: str, origin: Origin, progress: Progress | None = None
    ) -> Path:
        """Keep a refused file as received and note why; return where. The source stays too."""
        with self.lock("quarantine"):
            return self._quarantine.keep(source, rule, detail, origin, progress)

    def release(self, selector: str, target: Path) -> int:
        """Write a quarantined file, named by a beginning of its name, as received; return its size.

        Raises:
            UsageError: the selector means none or several, or the target exists.
            RepositoryDamaged: its bytes are not those received; nothing is left at `target`.
        """
        return self._quarantine.release(selector, target)

    def collect(self, keep: Iterable[Path] = ()) -> int:
        """Remove what unfinished work left in `incoming/`, but for `keep`; return how many.

        `keep` are the downloads that the ledger still wants; a file whose name differs from one
        of them by the last suffix only (its resume data) is kept too.
        """
        with self.lock("collect"):
            return incoming.collect(self._paths, self._files, keep)

    @property
    def keeping(self) -> Keeping:
        """What decides how long things stay: pins, forget, prune."""
        return Keeping(
            self._paths, self._files, self._index, self._snapshots, self.lock, self._refresh
        )

    def remainders(self) -> list[Remainder]:
        """Return what stays of forgotten snapshots, the oldest first."""
        return self.keeping.remainders()

    def forgotten(self) -> list[ForgottenSnapshot]:
        """Return what remainders know of snapshots that are no more."""
        there = set(self._paths.snapshot_ids())
        return [each for each in forgotten(self.remainders()) if each.id not in there]

    def snapshots(self) -> list[Snapshot]:
        """Return all readable snapshots, oldest export first."""
        return self._snapshots.all()

    def find(self, selector: str) -> Snapshot:
        """Return the snapshot meant by an id, a unique prefix, `latest`, or a date.

        Raises:
            UsageError: it means none, or several.
        """
        return self._snapshots.find(selector)

    def rebuild(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the export's bytes; the last step proves that they were right.

        Raises:
            RepositoryDamaged: they cannot be given back.
        """
        self._refresh()
        return restore.verified(self._snapshots, snapshot)

    def restore_zip(
        self, snapshot: Snapshot, target: Path, progress: Progress | None = None
    ) -> None:
        """Write the export's ZIP to `target`, verified before it gets its name.

        Raises:
            UsageError: the target exists.
            RepositoryDamaged: the bytes cannot be given back; nothing is left at `target`.
        """
        self._refresh()
        restore.restore_zip(self._files, self._snapshots, snapshot, target, progress)

    def restore_members(
        self, snapshot: Snapshot, directory: Path, progress: Progress | None = None
    ) -> int:
        """Write the export's members below `directory`, which is new or empty; return how many.

        Raises:
            UsageError: the directory holds something.
            RepositoryDamaged: a member cannot be given back.
        """
        self._refresh()
        return restore.restore_members(self._files, self._snapshots, snapshot, directory, progress)

    def conversation_ids(self, snapshot: Snapshot) -> Iterator[bytes]:
        """Yield the objects that are the export's conversations, in the export's order."""
        self._refresh()
        return self._snapshots.recipe(snapshot).conversations()

    def read_many(self, ids: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield (id, bytes) of objects in the order in which they are quickest to read.

        Raises:
            RepositoryDamaged: an object is damaged; unknown ids are left out.
        """
        self._refresh()
        with self._snapshots.reader() as reader:
            for name in self._index.sort(ids):
                yield name, reader.read(name)

    def check(
        self,
        *,
        read_data: bool = False,
        subset: Subset | None = None,
        drill: bool = False,
        progress: Progress | None = None,
    ) -> CheckReport:
        """Look for damage and change nothing.

        Always: structure of packs, manifests, recipes and references. With `read_data`: every
        byte, or the packs of one `subset`. With `drill`: each export is rebuilt and hashed.
        """
        ring = self.keys.ring if self.keys else None
        store = (self._paths, self._index, self._snapshots, self._quarantine)
        run = Check(*store, ring, self._refresh, progress)
        return run.run(read_data=read_data, subset=subset, drill=drill)

    def stats(self) -> Stats:
        """Return what the repository holds and what it takes, by kind."""
        self._refresh()
        return gather(self._paths, self.derived, self._index, self.snapshots())

    def rebuild_index(self, progress: Progress | None = None) -> Reindexed:
        """Make the object index anew from the packs, whatever is wrong with its file."""
        with self.lock("rebuild"), self._mutex:
            return reindex(self._paths, self._index, self._opened.envelope, progress)

    def _begin_writing(self) -> None:
        incoming.take_back_all(self._paths, self._files, self._snapshots)
        self._refresh()

    def _refresh(self) -> None:
        """Bring the index up to the packs that are there."""
        with self._mutex:
            known = self._index.packs()  # first: what is added meanwhile is then merely new
            present = set(self._paths.pack_names())
            anew = bool(known - present)
            found = self._read_packs(present if anew else present - known)
            if found or anew:
                self._index.insert(found, anew=anew)

    def _all_packs(self) -> list[Pack]:
        return self._read_packs(self._paths.pack_names())

    def _read_packs(self, names: Iterable[bytes]) -> list[Pack]:
        return read_packs(names, self._paths.pack, self._opened.envelope)
