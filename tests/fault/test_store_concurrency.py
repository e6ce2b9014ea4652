"""Several processes on one repository at random: nobody hangs, nobody sees half a thing (T13)."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from backupd.errors import ExitCode, RepositoryLocked
from backupd.store.repository import Repository
from tests.support import bustle
from tests.support.campaign import campaign
from tests.support.operations import KINDS, PLAIN, RepositoryKind, kind_named, name_of
from tests.support.storing import FULL, origin, week
from tests.support.syscalls import program, run

STEPS = 60 if FULL else 8
COMMANDS = 6
RUNS = 500 if FULL else 4  # of each kind
WEEKS = 8
SEED = 20261123
LONGEST = 20.0  # seconds for one short command, on a machine that others use too


def is_whole(repository: Repository, dice: random.Random) -> None:
    snapshot = dice.choice(repository.snapshots())
    assert b"".join(repository.rebuild(snapshot)) in {week(n) for n in range(1, WEEKS + 1)}


def is_sound(repository: Repository, dice: random.Random) -> None:
    assert repository.check(read_data=True).problems == ()


def add_some(repository: Repository, dice: random.Random) -> None:
    number = dice.randrange(1, WEEKS + 1)
    source = repository.path.parent / f"week-{number}.zip"
    repository.add(source, origin(day=number))


def rebuild(repository: Repository, dice: random.Random) -> None:
    repository.rebuild_index()


READING: tuple[Callable[[Repository, random.Random], None], ...] = (is_whole, is_sound)
WRITING: tuple[Callable[[Repository, random.Random], None], ...] = (add_some, rebuild)


def work(kind: str, place: Path, seed: int, steps: int) -> None:
    """Do random things; any error but a refused lock ends the process with code 1."""
    dice = random.Random(seed)
    with kind_named(kind).open(place, False, None) as repository:
        for _ in range(steps):
            action = dice.choice((*READING, *WRITING))
            try:
                action(repository, dice)
            except RepositoryLocked:
                assert action in WRITING


def write_all_the_time(place: Path, started: Event, stop: Event) -> None:
    """Do what a daemon does: take exports in, with one handle that stays open."""
    dice = random.Random(SEED)
    with Repository.open(place) as repository:
        started.set()
        while not stop.wait(dice.random() / 10):
            try:
                add_some(repository, dice)
            except RepositoryLocked:
                continue


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> RepositoryKind:
    """Each kind of repository."""
    found: RepositoryKind = request.param
    return found


def begun(kind: RepositoryKind, directory: Path) -> Path:
    """Make a repository that holds week 1, and the ZIPs of all weeks beside it."""
    for number in range(1, WEEKS + 1):
        (directory / f"week-{number}.zip").write_bytes(week(number))
    with kind.create(directory / "r", None) as repository:
        repository.add(directory / "week-1.zip", origin())
    return directory / "r"


def end(kind: RepositoryKind, place: Path) -> None:
    """Assert that each export is there once, whole, and nothing else."""
    with kind.open(place, True, None) as repository:
        contents = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
        assert len(contents) == len(set(contents))
        assert set(contents) <= {week(number) for number in range(1, WEEKS + 1)}
        assert repository.check(read_data=True).ok
        assert not list(repository.incoming.iterdir())


def test_processes_at_random_do_not_harm_each_other(kind: RepositoryKind, tmp_path: Path) -> None:
    place = begun(kind, tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.operations"])

    with campaign(f"processes at random, {kind.name}", seed=SEED).case("4 processes", STEPS):
        workers = [
            context.Process(target=work, args=(kind.name, place, SEED + number, STEPS))
            for number in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)

        assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
        end(kind, place)


def command(place: Path, number: int, dice: random.Random) -> list[str]:
    """Return a random command line of a person who works while the daemon does."""
    backupd = ("-m", "backupd", "--quiet", "--repository", place)
    verbs: tuple[tuple[str | Path, ...], ...] = (
        ("import", place.parent / f"week-{dice.randrange(1, WEEKS + 1)}.zip"),
        ("check", "--read-data"),
        ("check", "--drill"),
        ("restore", "latest", "--output", place.parent / f"restored-{number}.zip"),
        ("restore", "latest", "--output", f"{place.parent / f'members-{number}'}/"),
        ("stats",),
        ("snapshots",),
    )
    return program(*backupd, *dice.choice(verbs))


def test_commands_beside_a_writer_end_in_time_and_see_whole_exports(tmp_path: Path) -> None:
    """No reading command is disturbed; a second writer works or is refused with code 11."""
    runs = campaign("commands beside a writer", seed=SEED)
    place = begun(PLAIN, tmp_path)
    dice = random.Random(SEED)
    context = multiprocessing.get_context("forkserver")
    started, stop = context.Event(), context.Event()
    writer = context.Process(target=write_all_the_time, args=(place, started, stop))
    writer.start()
    longest = 0.0
    try:
        assert started.wait(60)
        for number in range(COMMANDS):
            line = command(place, number, dice)
            verb = line[6]
            with runs.case(verb, number):
                before = time.monotonic()
                done = run(line)
                longest = max(longest, time.monotonic() - before)
                allowed = {0, ExitCode.LOCKED} if verb == "import" else {0}
                assert done.returncode in allowed, f"{verb}: {done.stderr}"
                assert "Traceback" not in done.stderr
                assert time.monotonic() - before < LONGEST
                restored = place.parent / f"restored-{number}.zip"
                if restored.exists():
                    assert restored.read_bytes() in {week(n) for n in range(1, WEEKS + 1)}
                    restored.unlink()
    finally:
        stop.set()
        writer.join(60)
    runs.note = f"the longest took {longest:.1f} s"
    assert writer.exitcode == 0
    end(PLAIN, place)


def test_second_writer_is_refused_with_its_own_code(tmp_path: Path) -> None:
    place = begun(PLAIN, tmp_path)
    line = program("-m", "backupd", "--repository", place, "import", tmp_path / "week-2.zip")

    with PLAIN.open(place, True, None):
        refused = run(line)

    assert refused.returncode == ExitCode.LOCKED
    assert "held by backupd, process" in refused.stderr
    assert run(line).returncode == 0


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_daemon_and_commands_at_random_lose_nothing(kind: RepositoryKind, tmp_path: Path) -> None:
    """Each run: a daemon that stores and reads in two threads, and four commands at once."""
    runs = campaign(f"daemon and 4 commands, {kind.name}", seed=SEED)
    bustle.prepared(kind, tmp_path)
    context = multiprocessing.get_context("forkserver")
    codes: Counter[str] = Counter()
    stored = refused = 0
    longest = 0.0
    with ProcessPoolExecutor(1, mp_context=context) as apart:
        for number in range(RUNS):
            with runs.case("run", number):
                job = apart.submit(bustle.one_run, kind.name, tmp_path, SEED + number, 4)
                run = job.result(6 * bustle.LONGEST)
            codes.update(f"exit {command.code}" for command in run.commands)
            stored, refused = stored + run.stored, refused + run.refused
            longest = max(longest, *(command.seconds for command in run.commands))
    runs.note = (
        f"{dict(sorted(codes.items()))}; the daemon stored {stored} exports and was held off"
        f" {refused} times; the slowest command took {longest:.1f} s"
    )
