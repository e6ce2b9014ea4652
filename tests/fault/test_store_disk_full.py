"""A disk that is really full, at every stage of all that writes; then room comes back (tests T5).

The disk is a small one in memory, mounted where only the process sees it that works on it.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import pytest

from backupd.errors import StorageFull
from backupd.store.repository import Repository
from tests.support import images
from tests.support.campaign import campaign
from tests.support.operations import (
    KINDS,
    OPERATIONS,
    Operation,
    RepositoryKind,
    cases,
    examine,
    held,
    kind_named,
    make_sources,
    make_template,
    name_of,
    operation_named,
)
from tests.support.storing import FULL, conversation, export_bytes, origin

PAGE = 4096
DISK = 1 << 20
FILES = 200
# Free pages are counted up in steps; of files few are made, so each number is tried.
STEPS = {"pages": 1 if FULL else 5, "files": 1 if FULL else 2}
CHANGING = tuple(operation for operation in OPERATIONS if operation.changes)


def fill(place: Path, what: str, free: int) -> Path:
    """Leave so many pages, or names for files, free; return the directory that takes the rest."""
    ballast = place / "ballast"
    ballast.mkdir()
    if what == "pages":
        with (ballast / "0").open("wb") as file:
            for _ in range(shutil.disk_usage(place).free // PAGE - free):
                file.write(bytes(PAGE))
        return ballast
    taken = []
    while True:
        try:
            taken.append(ballast / str(len(taken)))
            taken[-1].touch()
        except OSError:
            break
    for path in taken[len(taken) - 1 - free :]:
        path.unlink(missing_ok=True)
    return ballast


def attempt(kind_name: str, operation_name: str, scratch: Path, what: str, free: int) -> bool:
    """Do an operation on a full disk, then again with room; return whether there was enough."""
    kind, operation = kind_named(kind_name), operation_named(operation_name)
    where = f"{free} {what} free"
    with images.small_disk(DISK, FILES, scratch / "disk") as disk:
        place = Path(shutil.copytree(scratch / "template", disk / "r"))
        ballast = fill(disk, what, free)
        try:
            with kind.open(place, False, None) as repository:
                operation.act(repository, scratch / "sources")
            done = True
        except StorageFull:
            done = False
        with kind.open(place, False, None) as repository:
            assert held(repository) in operation.may_hold, f"{where}, disk full"
        shutil.rmtree(ballast)
        examine(kind, operation, place, scratch / "sources", where)
    return done


@pytest.mark.parametrize("what", STEPS)
@pytest.mark.parametrize(("kind", "operation"), cases(CHANGING), ids=name_of)
def test_full_disk_harms_nothing_and_room_heals(
    kind: RepositoryKind, operation: Operation, what: str, tmp_path: Path
) -> None:
    """With every amount of room up to the first that suffices: told, harmless, repeatable."""
    full = campaign(f"disk full: {operation.name}, {kind.name}")
    sources = make_sources(tmp_path / "sources")
    make_template(kind, operation, tmp_path / "template", sources)
    done, tried = False, []

    with images.private_mounts() as apart:
        for free in range(0, DISK // PAGE, STEPS[what]):
            with full.case(f"no {what}", free):
                words = (kind.name, operation.name, tmp_path, what, free)
                done = apart.submit(attempt, *words).result(60)
            tried.append(done)
            if done:
                break
    assert done
    assert len(tried) > 1 or operation.name != "add", "the disk was never full"


def filled(kind_name: str, scratch: Path, seed: int) -> tuple[list[str], list[list[str]]]:
    """Fill a disk with exports; return what was stored and what is listed, then and later."""
    kind = kind_named(kind_name)
    with images.small_disk(DISK, FILES, scratch / "disk") as disk:
        with kind.create(disk / "r", None) as repository:
            stored = fill_with_exports(repository, scratch / "export.zip", random.Random(seed))
            listed = [given(repository)]
        with kind.open(disk / "r", True, None) as repository:
            listed.append(given(repository))
            assert repository.check(read_data=True).ok
    return sorted(stored), listed


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_many_exports_fill_a_disk_and_all_that_were_stored_restore(
    kind: RepositoryKind, tmp_path: Path
) -> None:
    """Random sizes until nothing fits; what `add` acknowledged comes back, before and after."""
    passes = 10 if FULL else 2
    full = campaign(f"disk filled by exports, {kind.name}", seed=passes)
    with images.private_mounts() as apart:
        for number in range(passes):
            with full.case("fill", number):
                stored, listed = apart.submit(filled, kind.name, tmp_path, number).result(120)
                assert listed == [stored, stored]


def given(repository: Repository) -> list[str]:
    """Return the SHA-256 of each export that comes back."""
    found = (b"".join(repository.rebuild(snapshot)) for snapshot in repository.snapshots())
    return sorted(hashlib.sha256(data).hexdigest() for data in found)


def fill_with_exports(repository: Repository, source: Path, dice: random.Random) -> list[str]:
    """Add exports of random size until five did not fit; return those that were stored."""
    stored: list[str] = []
    refused = 0
    while refused < 5:
        assets = {"file-1.png": dice.randbytes(dice.randrange(1000, 200_000))}
        data = export_bytes([conversation(dice.randrange(50))], assets, day=1 + len(stored) % 28)
        name = hashlib.sha256(data).hexdigest()
        source.write_bytes(data)
        try:
            repository.add(source, origin())
            stored.append(name)
        except StorageFull:
            refused += 1
            stored += [name] if name in given(repository) and name not in stored else []
    return stored
