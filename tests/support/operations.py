"""What is done to a repository while faults strike: a table of operations and of kinds.

A new kind of repository is one line in `KINDS`, a new operation one line in `OPERATIONS`; every
campaign then tries it. As a program it does one operation, for those who watch system calls:
`python -m tests.support.operations KIND OPERATION REPOSITORY SOURCES`.

Contents are spoken of as tuples of week numbers, see `week`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from backupd.errors import BackupdError, CredentialError
from backupd.store.derived import MEMORY
from backupd.store.fsio import FileSystem
from backupd.store.repository import Access, NewKeys, Repository, Snapshot
from backupd.store.retention import Policy
from tests.support import FULL
from tests.support.sealing import access as access_by_passphrase
from tests.support.sealing import by_recovery_key, new_keys
from tests.support.storing import KILLED, Fault, FaultyFs, files_below, origin, week

WEEKS = (1, 2, 3)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
Weeks = tuple[int, ...]


@dataclass(frozen=True)
class RepositoryKind:
    """How repositories of one kind are made and opened; those with `keys` are encrypted.

    The normal suite tries one in `share` of what it tries of a plain repository.
    """

    name: str
    keys: NewKeys | None = None
    share: int = 1

    def create(self, path: Path, files: FileSystem | None) -> Repository:
        """Make a repository."""
        return Repository.create(path, keys=self.keys, files=files)

    def open(
        self, path: Path, write: bool, files: FileSystem | None, cache: Path | None = None
    ) -> Repository:
        """Open a repository; derived files of an encrypted one lie in memory, or in `cache`."""
        access = self.access(cache)
        return Repository.open(path, write=write, files=files, access=access)

    def open_by_any_key(self, path: Path, cache: Path | None = None) -> Repository:
        """Open a repository of which one key file may be damaged."""
        try:
            return self.open(path, False, None, cache)
        except CredentialError:
            return Repository.open(path, access=by_recovery_key())

    def access(self, cache: Path | None = None) -> Access:
        """Say how it is opened."""
        if self.keys is None:
            return Access()
        return access_by_passphrase(self.keys.passphrase, str(cache or MEMORY))

    def ended(self, code: int | None) -> bool:
        """Return whether this is how a process ends that is killed at an operation.

        Packs of an encrypted repository have other names each time, so a directory more or less is
        made; then there may be no such operation any more, and the process ends well.
        """
        return code == KILLED or (self.keys is not None and code == 0)

    def of(self, most: int) -> int:
        """Return how many of `most` cases the normal suite tries: all under BACKUPD_FULL=1."""
        return most if FULL else max(2, most // self.share)


PLAIN = RepositoryKind("plain")
ENCRYPTED = RepositoryKind("encrypted", new_keys(), share=4)
KINDS = (PLAIN, ENCRYPTED)
_ENCRYPTED_TOO = ("add", "quarantine", "prune")


@dataclass(frozen=True)
class Operation:
    """One thing that is done; `before` is stored first, then `spoil` changes the closed repository.

    Broken off anywhere, it leaves one of `may_hold`; done, it leaves `after`. `changes` is false
    where not a byte of the repository but the derived ones may change.
    """

    name: str
    act: Callable[[Repository, Path], object]
    before: Weeks
    after: Weeks
    may_hold: frozenset[Weeks]
    spoil: Callable[[Path], None]
    changes: bool

    @property
    def leaves_litter(self) -> bool:
        """Say whether packs may be there that no manifest names."""
        return self.name in ("heal", "forget", "prune")

    @property
    def leaves_damage(self) -> bool:
        """Say whether damage stays: it is healed by storing anew, not by removing."""
        return self.name == "heal"


Case = tuple[RepositoryKind, Operation]


def as_stored(place: Path) -> None:
    """Change nothing."""


def _operation(
    name: str,
    act: Callable[[Repository, Path], object],
    before: Weeks,
    after: Weeks,
    *also: Weeks,
    spoil: Callable[[Path], None] = as_stored,
    changes: bool = True,
) -> Operation:
    may_hold = frozenset((before, after, *also))
    return Operation(name, act, before, after, may_hold, spoil, changes)


def adding(number: int) -> Callable[[Repository, Path], object]:
    """Return what adds a week."""
    return lambda repository, sources: repository.add(
        source_of(sources, number), origin(f"week-{number}.zip", number)
    )


def add_then_prove(repository: Repository, sources: Path) -> None:
    """Add week 2 and prove it later, as the daemon does."""
    source = source_of(sources, 2)
    added = repository.add(source, origin(source.name, 2), prove=False)
    if added.snapshot.proven_at is None:
        assert repository.prove(added.snapshot) is not None


def refuse(repository: Repository, sources: Path) -> Path:
    """Quarantine a file."""
    return repository.quarantine(source_of(sources, 3), "no-zip", "says the test", origin())


def restore(repository: Repository, sources: Path) -> None:
    """Restore the newest export beside the repository; what is there must be whole or absent."""
    target = repository.path.parent / f"{repository.path.name}-restored.zip"
    if target.exists():
        assert target.read_bytes() == week(number_of(repository.find("latest")))
        target.unlink()
    repository.restore_zip(repository.find("latest"), target)


def check(repository: Repository, sources: Path) -> None:
    """Read every byte and rebuild every export."""
    assert repository.check(read_data=True, drill=True).problems == ()


def unproved(place: Path) -> None:
    """Take the proofs away: as after a crash between commit and proof."""
    for proof in (place / "proofs").iterdir():
        proof.unlink()


def without_cache(place: Path) -> None:
    """Take the derived files away."""
    shutil.rmtree(place / "cache")
    (place / "cache").mkdir(mode=0o700)


def damaged(place: Path) -> None:
    """Flip a bit in the first frame of the newest pack, that of week 2."""
    pack = max((place / "packs").rglob("*.pack"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(pack.read_bytes())
    data[40] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)


def forget(repository: Repository, sources: Path) -> None:
    """Keep the newest snapshot only."""
    keeping = repository.keeping
    keeping.forget(keeping.plan_forget(Policy(last=1), NOW))


def forget_and_prune(repository: Repository, sources: Path) -> None:
    """Keep the newest snapshot only, and give the space of the others back."""
    forget(repository, sources)
    repository.keeping.prune()


OPERATIONS = (
    _operation("add", adding(2), (1,), (1, 2)),
    _operation("re-add", adding(2), (1, 2), (1, 2)),
    _operation("prove", adding(2), (1, 2), (1, 2), spoil=unproved),
    _operation("prove-later", add_then_prove, (1,), (1, 2)),
    _operation("heal", adding(2), (1, 2), (1, 2), (1,), (1, 2, 2), spoil=damaged),
    _operation("quarantine", refuse, (1,), (1,)),
    _operation("forget", forget, (1, 2), (2,)),
    _operation("prune", forget_and_prune, (1, 2, 3), (3,), (2, 3), (1, 3)),
    _operation("rebuild", lambda r, _: r.rebuild_index(), (1, 2), (1, 2)),
    _operation("restore", restore, (1, 2), (1, 2), changes=False),
    _operation("check", check, (1, 2), (1, 2), changes=False),
    _operation("reindex", check, (1, 2), (1, 2), spoil=without_cache, changes=False),
)


def cases(operations: Iterable[Operation] = OPERATIONS) -> list[Case]:
    """Return what a campaign tries: every operation on every kind of repository.

    The normal suite takes of an encrypted one only what writes files of different kinds.
    """
    return [
        (kind, operation)
        for kind in KINDS
        for operation in operations
        if FULL or kind is PLAIN or operation.name in _ENCRYPTED_TOO
    ]


def kind_named(name: str) -> RepositoryKind:
    """Return the kind of this name, for processes that are told by words."""
    return next(known for known in KINDS if known.name == name)


def operation_named(name: str) -> Operation:
    """Return the operation of this name."""
    return next(known for known in OPERATIONS if known.name == name)


def name_of(value: Operation | RepositoryKind) -> str:
    """Return what a case is called in the name of its test."""
    return value.name


def make_sources(directory: Path) -> Path:
    """Write the ZIP of every week."""
    directory.mkdir(exist_ok=True)
    for number in WEEKS:
        source_of(directory, number).write_bytes(week(number))
    return directory


def source_of(directory: Path, number: int) -> Path:
    """Return where the ZIP of a week lies."""
    return directory / f"week-{number}.zip"


def make_template(kind: RepositoryKind, operation: Operation, place: Path, sources: Path) -> Path:
    """Make the closed repository in which an operation begins."""
    with kind.create(place, None) as repository:
        for number in operation.before:
            adding(number)(repository, sources)
    operation.spoil(place)
    return place


def held(repository: Repository) -> Weeks:
    """Return the weeks that the repository gives back, byte for byte; what it refuses is left out.

    A byte that is wrong and given back nevertheless is a failure.
    """
    weeks = []
    for snapshot in repository.snapshots():
        number = number_of(snapshot)
        try:
            data = b"".join(repository.rebuild(snapshot))
        except BackupdError:
            continue
        assert data == week(number), f"week {number} comes back with other bytes"
        weeks.append(number)
    return tuple(sorted(weeks))


def examine(
    kind: RepositoryKind, operation: Operation, place: Path, sources: Path, where: str
) -> None:
    """Assert what must hold after an operation was broken off: test invariants I1 to I3 and I5.

    It opens without hand work, what was committed restores, the work in flight is whole or absent,
    nothing is left over; and the operation, repeated, ends as if nothing had happened.
    """
    with kind.open(place, True, None) as repository:
        assert held(repository) in operation.may_hold, where
        _assert_clean(operation, repository, where)
        operation.act(repository, sources)
        assert held(repository) == operation.after, where
        _assert_clean(operation, repository, where)
        if operation.name in ("add", "prove", "prove-later", "heal"):
            added = [s for s in repository.snapshots() if number_of(s) == 2]
            assert all(s.proven_at for s in added), where


def _assert_clean(operation: Operation, repository: Repository, where: str) -> None:
    assert not list(repository.incoming.iterdir()), where
    if operation.leaves_damage:
        return
    problems = repository.check(read_data=True).problems
    assert problems == (), f"{where}: {[problem.text for problem in problems]}"
    if operation.leaves_litter:
        return
    named = {pack for snapshot in repository.snapshots() for pack in snapshot.packs}
    there = {Path(name).stem for name in files_below(repository.path) if name.endswith(".pack")}
    assert there == named, where


def number_of(snapshot: Snapshot) -> int:
    """Return which week a snapshot holds."""
    return _numbers()[snapshot.sha256]


@cache
def _numbers() -> dict[str, int]:
    return {hashlib.sha256(week(number)).hexdigest(): number for number in WEEKS}


def perform(kind: str, name: str, place: Path, sources: Path, files: FileSystem | None) -> None:
    """Do an operation named by words, as a process of its own does it."""
    operation = operation_named(name)
    with kind_named(kind).open(place, False, files) as repository:
        operation.act(repository, sources)


# What ends in the middle, for `in_child`: here, so that the child imports nothing of the tests.


def perform_struck(kind: str, name: str, place: Path, sources: Path, fault: Fault) -> None:
    """Do an operation in which the process ends."""
    perform(kind, name, place, sources, FaultyFs(fault))


def create_struck(kind: str, place: Path, fault: Fault) -> None:
    """Make a repository in a process that ends on the way."""
    kind_named(kind).create(place, FaultyFs(fault)).close()


def add_struck(kind: str, place: Path, source: Path, fault: Fault) -> None:
    """Add an export in a process that ends on the way."""
    with kind_named(kind).open(place, False, FaultyFs(fault)) as repository:
        repository.add(source, origin())


def forget_struck(kind: str, place: Path, policy: Policy, fault: Fault) -> None:
    """Forget and prune in a process that ends on the way."""
    with kind_named(kind).open(place, False, FaultyFs(fault)) as repository:
        repository.keeping.forget(repository.keeping.plan_forget(policy, NOW))
        repository.keeping.prune()


if __name__ == "__main__":
    try:
        perform(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), None)
    except BackupdError as refused:
        sys.exit(f"{refused.exit_code} {refused.message}")
    print("done", flush=True)
