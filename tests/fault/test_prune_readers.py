"""Readers while packs are removed under their hands: right bytes, or a clear word, never others."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import random
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from backupd.errors import BackupdError, RepositoryDamaged, RepositoryLocked
from backupd.store.fsio import FileSystem
from backupd.store.keeping import Keeping
from backupd.store.paths import Paths
from backupd.store.repository import Repository
from backupd.store.retention import Policy
from tests.support.retention import NOW, forget, prune, put, week, weeks
from tests.support.storing import FULL

WEEKS = 6
ROUNDS = 40 if FULL else 6


def test_reader_that_began_before_goes_on_after(tmp_path: Path) -> None:
    """Every pack it still needs has been replaced when it comes to it."""
    place = weeks(tmp_path, WEEKS)
    with Repository.open(place) as reading, Repository.open(place) as pruning:
        latest = reading.find("latest")
        started = reading.rebuild(latest)
        first = next(started)
        forget(pruning)
        prune(pruning)

        assert first + b"".join(started) == week(WEEKS - 1)
        assert b"".join(reading.rebuild(latest)) == week(WEEKS - 1)


def test_reader_with_an_index_of_its_own_finds_what_moved(tmp_path: Path) -> None:
    """Where `cache/` cannot be written, the index lives in memory and knows nothing of others."""
    place = weeks(tmp_path, WEEKS)
    lonely = tmp_path / "lonely"
    lonely.mkdir(mode=0o700)
    for path in place.iterdir():
        if path.name != "cache":
            (lonely / path.name).symlink_to(path)
    (lonely / "cache").write_bytes(b"")  # in the way of any index file
    with Repository.open(lonely) as reading, Repository.open(place) as pruning:
        started = reading.rebuild(reading.find("latest"))
        first = next(started)
        forget(pruning)
        prune(pruning)

        assert first + b"".join(started) == week(WEEKS - 1)


def test_reader_of_a_forgotten_snapshot_is_told_so(tmp_path: Path) -> None:
    place = weeks(tmp_path, WEEKS)
    with Repository.open(place) as reading, Repository.open(place) as pruning:
        victim = reading.snapshots()[0]
        forget(pruning)
        prune(pruning)

        with pytest.raises(BackupdError, match="forgotten meanwhile") as raised:
            b"".join(reading.rebuild(victim))
        assert not isinstance(raised.value, RepositoryDamaged)
        with pytest.raises(BackupdError, match="forgotten meanwhile"):
            reading.restore_zip(victim, tmp_path / "target.zip")
        assert not (tmp_path / "target.zip").exists()


def read(place: Path, seed: int, stop: multiprocessing.synchronize.Event) -> None:
    """Read and check at random until told to stop; anything wrong ends the process with 1."""
    dice = random.Random(seed)
    expected = {week(number) for number in range(WEEKS * 2)}
    with Repository.open(place) as repository:
        while not stop.is_set():
            snapshots = repository.snapshots()
            if dice.random() < 0.3:
                problems = repository.check(read_data=True).problems
                assert problems == (), [problem.text for problem in problems]
            snapshot = dice.choice(snapshots)
            try:
                assert b"".join(repository.rebuild(snapshot)) in expected
            except BackupdError as error:
                if "forgotten meanwhile" not in error.message:
                    raise


def test_readers_at_random_while_the_repository_is_thinned_out(tmp_path: Path) -> None:
    place = weeks(tmp_path, 2)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backupd.store.repository", "tests.support.retention"])
    stop = context.Event()
    readers = [context.Process(target=read, args=(place, seed, stop)) for seed in range(3)]
    for reader in readers:
        reader.start()
    try:
        with Repository.open(place) as repository:
            for number in range(2, 2 + ROUNDS):
                put(repository, tmp_path, week(number % (WEEKS * 2)), number % (WEEKS * 2))
                forget(repository, Policy(last=2))
                prune(repository)
    finally:
        stop.set()
        for reader in readers:
            reader.join(60)

    assert [reader.exitcode for reader in readers] == [0, 0, 0]


def test_second_writer_is_refused(tmp_path: Path) -> None:
    place = weeks(tmp_path, 3)
    with Repository.open(place) as first, Repository.open(place) as second:
        plan = second.keeping.plan_forget(Policy(last=1), NOW)
        with first.lock("test"):
            for act in (
                lambda: second.keeping.forget(plan),
                second.keeping.prune,
                lambda: second.keeping.pin(second.snapshots()[0], NOW),
            ):
                with pytest.raises(RepositoryLocked):
                    act()


class Busy(Paths):
    """Paths of a repository to which somebody adds an export whenever the packs were listed."""

    waiting: ClassVar[list[int]] = []

    def pack_names(self) -> Iterator[bytes]:
        """Yield the names of the packs, then let an export be added."""
        yield from super().pack_names()
        if self.waiting:
            number = self.waiting.pop()
            with Repository.open(self.root) as other:
                put(other, self.root.parent, week(number), number)


def test_a_plan_made_while_another_adds_finds_no_damage(tmp_path: Path) -> None:
    """Packs of the new export were not there yet when its manifest was."""
    place = weeks(tmp_path, 2)
    Busy.waiting = [4, 3, 2]
    paths = Busy(place)
    with Repository.open(place) as repository:
        snapshots = repository._snapshots  # the tests play the repository
        index = repository._index
        keeping = Keeping(
            paths, FileSystem(), index, snapshots, repository.lock, repository._refresh
        )
        assert keeping.plan_prune().bytes_before > 0
    assert Busy.waiting == []
