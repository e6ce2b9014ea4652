"""A daemon that stores while a person types commands, in processes that are made by forking.

`one_run` is called in a process of its own with one thread, so that forking is safe and whatever a
command imports is there already: a run takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import multiprocessing
import os
import pkgutil
import random
import shutil
import sys
import threading
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import backupd
from backupd.catalog import Catalog
from backupd.cli import app
from backupd.errors import ExitCode, RepositoryLocked
from backupd.export.slices import Slice, split_json
from backupd.store.repository import Origin, Repository, Snapshot
from tests.support.operations import RepositoryKind, kind_named
from tests.support.retention import START, week
from tests.support.sealing import handed_over

WEEKS = 8
BEGUN = 3
LONGEST = 30.0  # seconds for one short command, on a machine that others use too
_ROOMS = ("cli", "config", "credentials", "intake", "store", "wiring")
for _found in pkgutil.walk_packages(backupd.__path__, "backupd."):
    if _found.name.split(".")[1] in _ROOMS:
        importlib.import_module(_found.name)
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Command:
    """How a command ended; `code` None means that it had to be stopped."""

    verb: str
    code: int | None
    seconds: float
    text: str


@dataclass(frozen=True)
class Run:
    """What became of one run; `refused` counts the daemon's writes that the lock held off."""

    commands: tuple[Command, ...]
    stored: int
    refused: int


@cache
def export_of(number: int) -> bytes:
    """Return the export of a week."""
    return week(number)


def file_of(exports: Path, number: int) -> Path:
    """Return where the ZIP of a week lies; its name says when it was made."""
    digest = hashlib.sha256(f"week {number}".encode()).hexdigest()
    moment = START + timedelta(weeks=number)
    return exports / f"{digest}-{moment:%Y-%m-%d-%H-%M-%S}-{digest[:32]}.zip"


def prepared(kind: RepositoryKind, directory: Path) -> Path:
    """Make what every run begins with: the ZIPs, a closed repository, the passphrase."""
    (directory / "exports").mkdir()
    for number in range(WEEKS):
        file_of(directory / "exports", number).write_bytes(export_of(number))
    with kind.create(directory / "template", None) as repository:
        for number in range(BEGUN):
            _add(repository, directory / "exports", number)
    if kind.keys is not None:
        handed_over(kind.keys.passphrase, directory / "credentials")
    return directory


def one_run(kind_name: str, directory: Path, seed: int, commands: int) -> Run:
    """Let a daemon and some commands loose on a fresh repository; assert that nothing is lost."""
    kind, dice = kind_named(kind_name), random.Random(seed)
    place = Path(shutil.copytree(directory / "template", directory / f"run-{seed}"))
    words = [_words(directory, place, number, dice) for number in range(commands)]
    stop, (ours, theirs) = _fork.Event(), _fork.Pipe(duplex=False)
    daemon = _fork.Process(target=_daemon, args=(kind, directory, place, seed, stop, theirs))
    daemon.start()
    try:
        ended = _together(directory, place, words)
    finally:
        stop.set()
        assert ours.poll(LONGEST), "the daemon hangs"
        stored, refused, trouble = ours.recv()
        daemon.join(LONGEST)
        daemon.close()
    assert not trouble, f"the daemon, seed {seed}: {trouble}"
    _judge(ended, seed)
    imported = {_week_of(w) for w, e in zip(words, ended, strict=True) if _imported(w, e)}
    _nothing_lost(kind, directory, place, stored | imported | set(range(BEGUN)))
    _remove(directory, place)
    return Run(tuple(ended), len(stored), refused)


def _words(directory: Path, place: Path, number: int, dice: random.Random) -> tuple[str, ...]:
    """Return what a person types."""
    out = f"{place}-{number}"
    keep = ("--keep-last", str(dice.randrange(1, 4)), "--yes")
    return dice.choice(
        (
            ("import", str(file_of(directory / "exports", dice.randrange(WEEKS)))),
            ("forget", *keep),
            ("forget", *keep, "--prune"),
            ("prune", "--yes"),
            ("check", "--read-data"),
            ("check", "--drill"),
            ("restore", "latest", "--output", f"{out}.zip"),
            ("restore", "latest", "--output", f"{out}/"),
            ("restore", "remainder", "--output", out),
            ("snapshots", "--json"),
            ("stats", "--json"),
            ("pin", "latest"),
            ("unpin", "latest"),
        )
    )


def _together(directory: Path, place: Path, words: list[tuple[str, ...]]) -> list[Command]:
    """Run commands at the same time, each in a process of its own, and wait for all."""
    started = time.monotonic()
    children = []
    for number, each in enumerate(words):
        text = Path(f"{place}-{number}.txt")
        child = _fork.Process(target=_command, args=(directory, place, each, text))
        child.start()
        children.append((each, child, text))
    ended = []
    for each, child, text in children:
        child.join(max(0.1, started + LONGEST - time.monotonic()))
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        child.close()
        seconds = time.monotonic() - started
        ended.append(Command(each[0], code, seconds, text.read_text()))
    return ended


def _command(directory: Path, place: Path, words: tuple[str, ...], text: Path) -> None:
    """Do what the command line does, all it says written to a file."""
    output = os.open(text, os.O_CREAT | os.O_WRONLY, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), _writer(1), _writer(2)
    os.environ.clear()
    os.environ |= {
        "HOME": "/nonexistent",
        "CREDENTIALS_DIRECTORY": str(directory / "credentials"),
    }
    if (directory / "credentials").is_dir():
        os.environ["BACKUPD_CONFIG"] = str(_configured(place))
    code = app.run(["--quiet", "--repository", str(place), *words])
    sys.stderr.flush()
    os._exit(code)


def _writer(descriptor: int) -> io.TextIOWrapper:
    return os.fdopen(descriptor, "w", closefd=False)


def _daemon(
    kind: RepositoryKind, directory: Path, place: Path, seed: int, stop: Event, news: Connection
) -> None:
    """Take exports in, prove them and keep the catalog, in threads that share one handle."""
    stored: set[int] = set()
    trouble: list[str] = []
    refused = [0]
    dice = random.Random(f"daemon {seed}")

    def take_in(repository: Repository) -> None:
        try:
            number = dice.randrange(WEEKS)
            added = _add(repository, directory / "exports", number, prove=False)
            stored.add(number)
            if added.proven_at is None and repository.prove(added) is None:
                assert added.id not in {each.id for each in repository.snapshots()}
        except RepositoryLocked:
            refused[0] += 1

    def look(repository: Repository) -> None:
        catalog = Catalog.open(repository.catalog)
        try:
            catalog.sync(repository)
            for snapshot in repository.snapshots():
                catalog.counts(snapshot.id)
        finally:
            catalog.close()

    def loop(act: Callable[[Repository], None], repository: Repository) -> None:
        try:
            while not stop.wait(dice.random() / 50):
                act(repository)
        except Exception:  # noqa: BLE001 - told to the process that judges
            trouble.append(traceback.format_exc())

    with kind.open(place, False, None, _runtime(place)) as repository:
        threads = [threading.Thread(target=loop, args=(act, repository)) for act in (take_in, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    news.send((stored, refused[0], "".join(trouble)))


def _runtime(place: Path) -> Path:
    """Return where derived files of an encrypted repository lie, shared by daemon and commands."""
    directory = Path(f"{place}-derived")
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _configured(place: Path) -> Path:
    """Write the configuration that says so."""
    file = Path(f"{place}-{os.getpid()}.toml")
    file.write_text(
        f'[repository]\npath = "{place}"\ncache = "{_runtime(place)}"\n'
        f'[state]\npath = "{place}-state"\n'
    )
    return file


def _add(repository: Repository, exports: Path, number: int, *, prove: bool = True) -> Snapshot:
    file = file_of(exports, number)
    origin = Origin(file.name, START + timedelta(weeks=number), "import")
    return repository.add(file, origin, prove=prove).snapshot


MEANWHILE = ("forgotten meanwhile", "has changed since the plan was made")
"""What a command may say, with exit code 1, because another one was faster."""


def _judge(ended: list[Command], seed: int) -> None:
    """Assert that every command ended in time, well or with the word that fits."""
    for each in ended:
        where = f"{each.verb}, seed {seed}: exit {each.code}: {each.text}"
        assert each.code is not None, f"{where} hangs"
        assert "Traceback" not in each.text, where
        if each.code == ExitCode.LOCKED:
            assert each.verb in ("import", "forget", "prune", "pin", "unpin"), where
            assert "held by" in each.text, where
        elif each.code == ExitCode.FAILED:
            assert any(word in each.text for word in MEANWHILE), where
        else:
            assert each.code == ExitCode.OK, where


def _imported(words: tuple[str, ...], ended: Command) -> bool:
    return words[0] == "import" and ended.code == ExitCode.OK


def _week_of(words: tuple[str, ...]) -> int:
    names = [file_of(Path(), number).name for number in range(WEEKS)]
    return names.index(Path(words[1]).name)


def _nothing_lost(kind: RepositoryKind, directory: Path, place: Path, stored: set[int]) -> None:
    """Assert that all is sound, and that what was stored is listed or kept as forgetting must.

    Kept: the newest export, the newest state of every conversation, what that shows.
    """
    known = {export_of(number): number for number in range(WEEKS)}
    with kind.open(place, True, None) as repository:
        assert not list(repository.incoming.iterdir())
        problems = repository.check(read_data=True, drill=True).problems
        assert problems == (), [problem.text for problem in problems]
        listed = [known[b"".join(repository.rebuild(s))] for s in repository.snapshots()]
        assert len(listed) == len(set(listed)), "an export is listed twice"
        assert max(stored) in listed
        names = {name for each in repository.remainders() for name in each.record.objects()}
        there = {data for _, data in repository.read_many(names)}
        for number in listed:
            there |= pieces(number).keys()
        assert wanted(frozenset(stored)) <= there, f"{stored - set(listed)} lost something"


@cache
def wanted(stored: frozenset[int]) -> set[bytes]:
    """Return the newest state of each conversation of some weeks, and the pictures."""
    newest: dict[str, bytes] = {}
    for number in sorted(stored):
        newest |= {name: data for data, name in pieces(number).items()}
    return {data for name, data in newest.items() if not name.startswith("file-Orphan")}


@cache
def pieces(number: int) -> dict[bytes, str]:
    """Return the conversations and pictures of a week, with their names."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(export_of(number))) as archive:
        for name in archive.namelist():
            if name.startswith("file-"):
                found[archive.read(name)] = name
        for piece in split_json([archive.read("conversations.json")]):
            if isinstance(piece, Slice):
                found[piece.data] = json.loads(piece.data)["id"]
    return found


def _remove(directory: Path, place: Path) -> None:
    """Remove what a run left."""
    for path in directory.glob(f"{place.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
