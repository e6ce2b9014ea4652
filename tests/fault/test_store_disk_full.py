"""A disk that is really full, at many stages of an addition; then room comes back (tests T5)."""

from __future__ import annotations

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
    examine,
    held,
    make_sources,
    make_template,
)
from tests.support.storing import FULL, conversation, export_bytes, origin

PAGE = 4096
STEP = 1 if FULL else 4
DISK = 1 << 20
CHANGING = tuple(operation for operation in OPERATIONS if operation.changes)


def fill(place: Path, pages: int) -> Path:
    """Fill the disk but for some pages; return the file that does it."""
    ballast = place / "ballast"
    free = shutil.disk_usage(place).free
    with ballast.open("wb") as file:
        for _ in range(free // PAGE - pages):
            file.write(bytes(PAGE))
    return ballast


@pytest.mark.parametrize("operation", CHANGING, ids=lambda operation: operation.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_full_disk_harms_nothing_and_room_heals(
    kind: RepositoryKind, operation: Operation, tmp_path: Path
) -> None:
    """With every number of free pages up to the first that suffices: told, harmless, repeatable."""
    full = campaign(f"disk full: {operation.name}, {kind.name}")
    sources = make_sources(tmp_path / "sources")
    template = make_template(kind, operation, tmp_path / "template", sources)
    done = failed = False

    for pages in range(0, DISK // PAGE, STEP):
        if done:
            break
        with images.small_disk(DISK, tmp_path / "disk") as disk, full.case("ENOSPC", pages):
            place = Path(shutil.copytree(template, disk / "r"))
            ballast = fill(disk, pages)
            try:
                with kind.open(place, False, None) as repository:
                    operation.act(repository, sources)
                done = True
            except StorageFull:
                failed = True
            with kind.open(place, False, None) as repository:
                assert held(repository) in operation.may_hold, f"{pages} pages, disk full"
            ballast.unlink()
            examine(kind, operation, place, sources, f"{pages} pages free")
    assert done
    assert failed or operation.name != "add", "the disk was never full"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_many_exports_fill_a_disk_and_all_that_were_stored_restore(
    kind: RepositoryKind, tmp_path: Path
) -> None:
    """Random sizes until nothing fits; what `add` acknowledged comes back, before and after."""
    passes = 10 if FULL else 2
    full = campaign(f"disk filled by exports, {kind.name}", seed=passes)
    for number in range(passes):
        dice = random.Random(number)
        with images.small_disk(DISK, tmp_path / "disk") as disk, full.case("fill", number):
            with kind.create(disk / "r", None) as repository:
                stored = fill_with_exports(repository, tmp_path / "export.zip", dice)
                given = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
                assert sorted(given) == sorted(stored)
            with kind.open(disk / "r", True, None) as repository:
                given = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
                assert sorted(given) == sorted(stored)
                assert repository.check(read_data=True).ok


def fill_with_exports(repository: Repository, source: Path, dice: random.Random) -> list[bytes]:
    """Add exports of random size until five did not fit; return those that were stored."""
    stored: list[bytes] = []
    refused = 0
    while refused < 5:
        assets = {"file-1.png": dice.randbytes(dice.randrange(1000, 200_000))}
        data = export_bytes([conversation(dice.randrange(50))], assets, day=1 + len(stored) % 28)
        source.write_bytes(data)
        try:
            repository.add(source, origin())
            stored.append(data)
        except StorageFull:
            refused += 1
            given = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
            stored += [data] if data in given and data not in stored else []
    return stored
