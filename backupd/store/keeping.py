"""How long things stay: pins, forgetting by policy, pruning; what stays of what was forgotten.

Opened through `Repository.keeping`. Plans change nothing and need no lock; acting takes the
writers' lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from backupd.errors import BackupdError, RepositoryDamaged
from backupd.store.forget import ForgetPlan, Forgetting
from backupd.store.fsio import FileSystem
from backupd.store.index import Index
from backupd.store.paths import Paths
from backupd.store.pins import Pins
from backupd.store.progress import Progress
from backupd.store.prune import Pruned, Pruning
from backupd.store.prune_plan import PrunePlan
from backupd.store.remainders import Remainder, Remainders
from backupd.store.retention import Policy
from backupd.store.salvage import salvage
from backupd.store.snapshot import Snapshot
from backupd.store.snapshots import Snapshots

_log = logging.getLogger("backupd.store")
_LOOKS = 5
T = TypeVar("T")
Lock = Callable[[str], AbstractContextManager[None]]


class Keeping:
    """Retention for one open repository."""

    def __init__(
        self,
        paths: Paths,
        files: FileSystem,
        index: Index,
        snapshots: Snapshots,
        lock: Lock,
        refresh: Callable[[], None],
    ) -> None:
        self._paths = paths
        self._files = files
        self._index = index
        self._snapshots = snapshots
        self._lock = lock
        self._refresh = refresh

    def pinned(self) -> frozenset[str]:
        """Return the SHA-256 of every pinned export."""
        return Pins(self._paths, self._snapshots.envelope).pinned()

    def pin(self, snapshot: Snapshot, now: datetime) -> bool:
        """Let no policy forget a snapshot; return whether it was not pinned before.

        Raises:
            RepositoryLocked: another process writes.
        """
        with self._lock("pin"):
            return Pins(self._paths, self._snapshots.envelope).add(self._files, snapshot, now)

    def unpin(self, snapshot: Snapshot) -> bool:
        """Let policies forget a snapshot again; return whether it was pinned.

        Raises:
            RepositoryLocked: another process writes.
        """
        with self._lock("unpin"):
            return Pins(self._paths, self._snapshots.envelope).remove(self._files, snapshot)

    def remainders(self) -> list[Remainder]:
        """Return what stays of forgotten snapshots, the oldest first.

        Raises:
            RepositoryDamaged: one is not what was written.
        """
        return Remainders(self._paths, self._snapshots.envelope).all()

    def restore_remainders(self, directory: Path) -> int:
        """Write what stays of forgotten snapshots below `directory`; return how many files.

        Raises:
            UsageError: the directory holds something.
            RepositoryDamaged: an object cannot be read.
        """
        self._refresh()
        with self._snapshots.reader() as reader:
            return salvage(self._files, self.remainders(), reader.read, directory)

    def plan_forget(self, policy: Policy, now: datetime, account: str | None = None) -> ForgetPlan:
        """Return what forgetting by a policy would do; `account` limits it to one.

        Raises:
            UsageError: the policy says nothing, or no account is called so.
            RepositoryDamaged: something that decides cannot be read.
        """
        return self._steadily(lambda: self._forgetting().plan(policy, now, account))

    def forget(self, plan: ForgetPlan) -> Remainder | None:
        """Do what a plan says; return the remainder that was written, if any.

        Raises:
            BackupdError: the repository is no longer what was planned for; nothing was done.
            RepositoryLocked: another process writes.
        """
        with self._lock("forget"):
            written = self._forgetting().forget(plan)
        _log.info("forgot %d snapshots", len(plan.forgotten))
        return written

    def plan_prune(self) -> PrunePlan:
        """Return what `prune` would do.

        Raises:
            RepositoryDamaged: something that decides cannot be read.
        """
        return self._steadily(self._pruning(None).plan)

    def prune(self, progress: Progress | None = None) -> Pruned:
        """Give back what nobody needs. `progress` is told (stage, done, total).

        Raises:
            RepositoryDamaged: something that decides cannot be read; nothing was removed.
            StorageFull, WriteFailed: the disk refuses; nothing that is needed was removed.
            RepositoryLocked: another process writes.
        """
        with self._lock("prune"):
            try:
                done = self._pruning(progress).prune()
            finally:
                self._refresh()
        _log.info(
            "pruned: %d packs removed, %d written, %d bytes are %d now",
            done.removed, done.written, done.bytes_before, done.bytes_after,
        )  # fmt: skip
        return done

    def _steadily(self, look: Callable[[], T]) -> T:
        """Look at what others may change: what is missing because of that is no damage.

        Raises:
            RepositoryDamaged: something cannot be read, and nobody changed anything meanwhile.
            BackupdError: it changes too often.
        """
        for _ in range(_LOOKS):
            before = self._paths.state()
            self._refresh()
            try:
                return look()
            except RepositoryDamaged:
                if self._paths.state() == before:
                    raise
        raise BackupdError(
            "plan: the repository has changed meanwhile, again and again",
            "try again when nobody writes",
        )

    def _forgetting(self) -> Forgetting:
        return Forgetting(self._paths, self._files, self._index, self._snapshots)

    def _pruning(self, progress: Progress | None) -> Pruning:
        return Pruning(self._paths, self._files, self._index, self._snapshots, progress)
