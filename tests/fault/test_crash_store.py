"""Kill the process before, after and in the middle of every write of an addition (tests I1-I5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.store.repository import Repository
from tests.support.storing import (
    KILLED,
    Fault,
    FaultyFs,
    copied,
    files_below,
    killed_at,
    origin,
    put,
    sample,
    week,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed repository that holds week 1."""
    root = tmp_path_factory.mktemp("crash")
    with Repository.create(root / "repository") as repository:
        put(repository, root, week(1), day=1)
    return root / "repository"


def operations(template: Path, place: Path) -> list[str]:
    """Name every file operation of adding week 2."""
    files = FaultyFs()
    with Repository.open(copied(template, place / "counted"), files=files) as repository:
        put(repository, place, week(2), day=2)
    return files.names


@pytest.mark.parametrize("how", ["before", "half", "after"])
def test_killed_addition_is_whole_or_absent(template: Path, tmp_path: Path, how: str) -> None:
    """Every committed export restores, the one in flight is whole or absent, nothing is left."""
    names = operations(template, tmp_path)
    source = tmp_path / "source-2.zip"
    points = [n for n, name in enumerate(names) if how != "half" or name == "write"]

    for point in (points[i] for i in sample(len(points), 9)):
        place = copied(template, tmp_path / f"{how}-{point}")
        assert killed_at(place, source, Fault(point, how)) == KILLED, names[point]
        examine(place, source, f"{how} {names[point]} {point}")


def examine(place: Path, source: Path, where: str) -> None:
    with Repository.open(place, write=True) as repository:
        contents = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
        assert contents in ([week(1)], [week(1), week(2)]), where
        assert not list(repository.incoming.iterdir()), where
        named = {pack for s in repository.snapshots() for pack in s.packs}
        assert {Path(f).stem for f in files_below(place) if f.endswith(".pack")} == named, where
        assert repository.check(read_data=True).ok, where

        repository.add(source, origin(source.name, 2))

        assert all(s.proven_at for s in repository.snapshots()), where
        assert b"".join(repository.rebuild(repository.find("latest"))) == week(2), where


def test_killed_creation_can_be_repeated(tmp_path: Path) -> None:
    """A broken-off `create` is no repository yet and does not stand in the way of the next."""
    files = FaultyFs()
    Repository.create(tmp_path / "counted", files=files).close()

    for point in range(len(files.names)):
        place = tmp_path / str(point)
        with pytest.raises(Exception, match="Input/output error"):
            Repository.create(place, files=FaultyFs(Fault(point, "EIO")))
        if not (place / "backupd-repository.json").exists():
            Repository.create(place).close()
        Repository.open(place).close()
