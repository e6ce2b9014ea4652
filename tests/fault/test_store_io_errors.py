"""Let each file operation of an addition fail, once and for ever (tests T4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError, StorageFull
from backupd.store.repository import Repository
from tests.support.storing import FULL, Fault, FaultyFs, copied, origin, put, sample, week

KINDS = ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE"] if FULL else ["EIO", "ENOSPC"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed repository that holds week 1."""
    root = tmp_path_factory.mktemp("errors")
    with Repository.create(root / "repository") as repository:
        put(repository, root, week(1), day=1)
    return root / "repository"


def attempt(place: Path, source: Path, fault: Fault) -> tuple[str, BackupdError | None]:
    """Add week 2 under a fault; return the operation that was struck and the error, if any."""
    files = FaultyFs(fault)
    error = None
    with Repository.open(place, files=files) as repository:
        try:
            repository.add(source, origin(source.name, 2))
        except BackupdError as raised:
            error = raised
    return files.names[fault.at], error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
def test_failed_operation_fails_the_addition_and_harms_nothing(
    template: Path, tmp_path: Path, kind: str, for_ever: bool
) -> None:
    """The error is told, what was stored restores, and the addition succeeds after healing."""
    source = tmp_path / "source-2.zip"
    source.write_bytes(week(2))
    counted = FaultyFs()
    with Repository.open(copied(template, tmp_path / "counted"), files=counted) as repository:
        repository.add(source, origin(source.name, 2))

    for point in sample(len(counted.names), 10):
        place = copied(template, tmp_path / f"{kind}-{point}")
        name, error = attempt(place, source, Fault(point, kind, for_ever))

        cleaning = name in ("unlink", "rmdir")
        assert error is not None or cleaning, f"{name} {point}"
        if kind in ("ENOSPC", "EDQUOT") and error is not None:
            assert isinstance(error, StorageFull), f"{name} {point}"
        with Repository.open(place, write=True) as repository:
            assert b"".join(repository.rebuild(repository.snapshots()[0])) == week(1)
            repository.add(source, origin(source.name, 2))
            assert b"".join(repository.rebuild(repository.find("latest"))) == week(2)
            assert repository.check(read_data=True).ok, f"{name} {point}"
            assert not list(repository.incoming.iterdir()), f"{name} {point}"


def test_short_writes_lose_nothing(template: Path, tmp_path: Path) -> None:
    """A system that writes half of what it is asked, always, costs time only."""
    place = copied(template, tmp_path / "short")
    with Repository.open(place, files=FaultyFs(Fault(0, "short", for_ever=True))) as repository:
        added = put(repository, tmp_path, week(2), day=2)

        assert b"".join(repository.rebuild(added.snapshot)) == week(2)
