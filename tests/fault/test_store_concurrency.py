"""Several processes on one repository at random: nobody hangs, nobody sees half a thing (T13)."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

from backupd.errors import RepositoryLocked
from backupd.store.repository import Repository
from tests.support.storing import FULL, origin, put, week

STEPS = 60 if FULL else 8
WEEKS = 8


def work(place: Path, sources: Path, seed: int, steps: int) -> None:
    """Do random things; any error but a refused lock ends the process with code 1."""
    dice = random.Random(seed)
    expected = {week(number) for number in range(1, WEEKS + 1)}
    with Repository.open(place) as repository:
        for _ in range(steps):
            match dice.randrange(4):
                case 0:
                    snapshot = dice.choice(repository.snapshots())
                    assert b"".join(repository.rebuild(snapshot)) in expected
                case 1:
                    assert repository.check(read_data=True).problems == ()
                case 2:
                    number = dice.randrange(1, WEEKS + 1)
                    try:
                        repository.add(sources / f"{number}.zip", origin(day=number))
                    except RepositoryLocked:
                        continue
                case _:
                    try:
                        repository.rebuild_index()
                    except RepositoryLocked:
                        continue


def test_processes_at_random_do_not_harm_each_other(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as repository:
        put(repository, tmp_path, week(1))
    for number in range(1, WEEKS + 1):
        (tmp_path / f"{number}.zip").write_bytes(week(number))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backupd.store.repository", "tests.support.storing"])

    workers = [
        context.Process(target=work, args=(tmp_path / "r", tmp_path, seed, STEPS))
        for seed in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)

    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    with Repository.open(tmp_path / "r", write=True) as repository:
        contents = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
        assert len(contents) == len(set(contents))
        assert repository.check(read_data=True).ok
        assert not list(repository.incoming.iterdir())
