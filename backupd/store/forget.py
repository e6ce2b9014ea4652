"""Forget snapshots by a policy: plan, show, then act.

1. the remainder, if anything must stay, is durable (see `remaining`). 2. For each snapshot, the
oldest first: its proof goes, then its manifest, which is the commit point; the directory is synced.
Nothing is given back to the disk: that is `prune`.

A crash after 1 leaves a remainder that names more than is needed; one in 2 leaves some of the
snapshots. Both are whole states: forgetting again ends the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backupd.errors import BackupdError, UsageError
from backupd.export.layout import MemberKind, kind_of
from backupd.store.fsio import FileSystem
from backupd.store.index import Index
from backupd.store.paths import Paths
from backupd.store.pins import Pins
from backupd.store.remainders import Record, Remainder, Remainders
from backupd.store.remaining import Remaining, account_of
from backupd.store.retention import Candidate, Decision, Policy, decide
from backupd.store.snapshot import Snapshot
from backupd.store.snapshots import Snapshots

_UNCUT = (MemberKind.CONVERSATIONS, MemberKind.ARCHIVE)


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What forgetting would do: a decision for each snapshot, and what stays of those that go.

    `state` names the snapshots, pins and remainders that it was made from. These never change, so
    the plan is right as long as they are the same.
    """

    state: tuple[str, ...]
    decisions: tuple[Decision, ...]
    remainder: Record

    @property
    def forgotten(self) -> tuple[str, ...]:
        """The ids of the snapshots that go, the oldest first of each account."""
        return tuple(each.snapshot.id for each in self.decisions if not each.keep)


class Forgetting:
    """Forgets snapshots of one repository; `forget` is called with the writers' lock held."""

    def __init__(self, paths: Paths, files: FileSystem, index: Index, snapshots: Snapshots) -> None:
        self._paths = paths
        self._files = files
        self._index = index
        self._snapshots = snapshots
        self._pins = Pins(paths, snapshots.envelope)
        self._remainders = Remainders(paths, snapshots.envelope)

    def plan(self, policy: Policy, now: datetime, account: str | None = None) -> ForgetPlan:
        """Return what `forget` would do; changes nothing.

        `account` limits it to one account, named by a beginning of its name.

        Raises:
            UsageError: the policy says nothing, or no account is called so.
            RepositoryDamaged: something that decides cannot be read.
        """
        if policy.says_nothing:
            raise UsageError(
                "forget: no rule says what to keep, so everything is kept",
                "give at least one of --keep-last, --keep-daily, --keep-weekly, --keep-monthly,"
                " --keep-yearly",
            )
        state = self._state()
        everything = self._snapshots.all()
        self._refuse_damage(everything)
        chosen = _of_account(everything, account)
        pinned = self._pins.pinned()
        decisions = decide((_candidate(each, pinned) for each in chosen), policy)
        going = {each.snapshot.id for each in decisions if not each.keep}
        remaining = Remaining(self._index, self._snapshots, self._remainders.all())
        return ForgetPlan(state, decisions, remaining.of(everything, going, now))

    def forget(self, plan: ForgetPlan) -> Remainder | None:
        """Do what the plan says; return the remainder that was written, if any.

        Raises:
            BackupdError: the repository is no longer what was planned for; nothing was done.
        """
        if self._state() != plan.state:
            raise BackupdError(
                "forget: the repository has changed since the plan was made", "run forget again"
            )
        if not plan.forgotten:
            return None
        record = plan.remainder
        written = None if record.keeps_nothing else self._remainders.add(self._files, record)
        for name in plan.forgotten:  # what must stay of them is durable
            self._files.remove(self._paths.proofs / name)
            self._files.sync_directory(self._paths.proofs)  # no proof outlives its manifest
            self._files.remove(self._paths.snapshots / name)
            self._files.sync_directory(self._paths.snapshots)
        return written

    def _state(self) -> tuple[str, ...]:
        pins = sorted(self._pins.pinned())
        return (*self._paths.snapshot_ids(), "", *pins, "", *self._paths.remainder_ids())

    def _refuse_damage(self, readable: Sequence[Snapshot]) -> None:
        """Nobody can tell what a snapshot needs whose manifest cannot be read: forget nothing."""
        for name in set(self._paths.snapshot_ids()) - {each.id for each in readable}:
            self._snapshots.load(name)


def _candidate(snapshot: Snapshot, pinned: frozenset[str]) -> Candidate:
    return Candidate(
        id=snapshot.id,
        account=account_of(snapshot),
        at=snapshot.exported_at or snapshot.received_at,
        received_at=snapshot.received_at,
        complete=snapshot.complete,
        pinned=snapshot.sha256 in pinned,
        opaque=_is_opaque(snapshot),
    )


def _is_opaque(snapshot: Snapshot) -> bool:
    """Return whether nobody can tell which conversations an export holds."""
    return (
        snapshot.kept_whole
        or snapshot.conversations == 0
        or any(kind_of(name) in _UNCUT for name in snapshot.kept_streams)
    )


def _of_account(snapshots: Sequence[Snapshot], account: str | None) -> list[Snapshot]:
    if account is None:
        return list(snapshots)
    known = {account_of(each) for each in snapshots}
    named = {
        account_of(each)
        for each in snapshots
        if any(name and name.startswith(account) for name in (each.account, each.account_prefix))
    }
    if len(named) != 1 or not account:
        cause = "it means several" if named else f"there is none among {len(known)}"
        raise UsageError(f'forget: account "{account}": {cause}', "list them with snapshots")
    return [each for each in snapshots if account_of(each) in named]
