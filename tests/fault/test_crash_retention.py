"""Kill, or fail, every file operation of forget and prune (T1, T4): nothing needed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError, StorageFull
from backupd.store.repository import Repository
from backupd.store.retention import Policy
from tests.support.retention import (
    LAST,
    Action,
    forget,
    killed,
    pack_bytes,
    prune,
    put,
    week,
    weeks,
)
from tests.support.storing import FULL, KILLED, Fault, FaultyFs, copied, files_below, sample

WEEKS = 4
KINDS = ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE"] if FULL else ["EIO", "ENOSPC"]
ACTIONS: dict[str, Action] = {"forget": forget, "prune": prune}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Closed repositories: one to forget in, and one to prune where that was done."""
    whole = weeks(tmp_path_factory.mktemp("retention"), WEEKS)
    thinned = copied(whole, whole.parent / "thinned")
    with Repository.open(thinned) as repository:
        forget(repository)
    return {"forget": whole, "prune": thinned}


def names(template: Path, place: Path, action: Action) -> list[str]:
    """Name every file operation of an action."""
    files = FaultyFs()
    with Repository.open(copied(template, place), files=files) as repository:
        action(repository)
    return files.names


@pytest.mark.parametrize("how", ["before", "half", "after"])
@pytest.mark.parametrize("verb", ACTIONS)
def test_killed_anywhere_nothing_needed_is_lost(
    templates: dict[str, Path], tmp_path: Path, verb: str, how: str
) -> None:
    operations = names(templates[verb], tmp_path / "counted", ACTIONS[verb])
    points = [n for n, name in enumerate(operations) if how != "half" or name == "write"]

    for point in (points[i] for i in sample(len(points), 7)):
        place = copied(templates[verb], tmp_path / f"{how}-{point}")
        assert killed(place, Fault(point, how), ACTIONS[verb]) == KILLED
        examine(place, f"{verb} {how} {operations[point]} {point}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ACTIONS)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
def test_failed_operation_is_told_and_nothing_needed_is_lost(
    templates: dict[str, Path], tmp_path: Path, verb: str, kind: str, for_ever: bool
) -> None:
    operations = names(templates[verb], tmp_path / "counted", ACTIONS[verb])

    for point in sample(len(operations), 6):
        place = copied(templates[verb], tmp_path / f"{kind}-{point}")
        error = failure(place, Fault(point, kind, for_ever), ACTIONS[verb])
        where = f"{verb} {kind} {operations[point]} {point}"
        tidying = operations[point] in ("unlink", "rmdir")
        assert error is not None or tidying, where
        if kind in ("ENOSPC", "EDQUOT") and error is not None:
            assert isinstance(error, StorageFull), where
        examine(place, where)


def failure(place: Path, fault: Fault, action: Action) -> BackupdError | None:
    with Repository.open(place, files=FaultyFs(fault)) as repository:
        try:
            action(repository)
        except BackupdError as error:
            return error
    return None


def examine(place: Path, where: str) -> None:
    """The state is whole; the work can be ended; what had to stay is there."""
    with Repository.open(place, write=True) as repository:
        assert not list(repository.incoming.iterdir()), where
        contents = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
        everything = [week(number) for number in range(WEEKS)]
        assert contents == everything[WEEKS - len(contents) :] and contents, where
        problems = repository.check(read_data=True).problems
        assert problems == (), (where, [problem.text for problem in problems])

        forget(repository, LAST)
        prune(repository)

        assert [b"".join(repository.rebuild(s)) for s in repository.snapshots()] == everything[-1:]
        wanted = {name for each in repository.remainders() for name in each.record.objects()}
        assert len(dict(repository.read_many(wanted))) == len(wanted), where
        briefs = {c.id for r in repository.remainders() for c in r.record.conversations}
        assert briefs == {f"brief-{n}" for n in range(WEEKS - 2)}, where
        pictures = {a.name for r in repository.remainders() for a in r.record.assets}
        assert pictures == {f"file-Brief{n}-photo.png" for n in range(WEEKS - 2)}, where
        assert repository.check(read_data=True, drill=True).ok, where
        put(repository, place.parent, week(0), 0)
        assert len(repository.snapshots()) == 2, where


def test_full_disk_leaves_everything_and_room_makes_it_work(
    templates: dict[str, Path], tmp_path: Path
) -> None:
    """Prune needs room for what it writes anew; without it nothing is removed."""
    place = copied(templates["prune"], tmp_path / "r")
    before = {name for name in files_below(place) if name.startswith("packs/")}
    files = FaultyFs(Fault(2, "ENOSPC", for_ever=True))
    with Repository.open(place, files=files) as repository, pytest.raises(StorageFull):
        prune(repository)
    assert {name for name in files_below(place) if name.startswith("packs/")} == before

    size = pack_bytes(place)
    with Repository.open(place) as repository:
        prune(repository)
    assert pack_bytes(place) < size


def test_forgetting_by_several_rules_is_one_step(tmp_path: Path) -> None:
    place = weeks(tmp_path, 6)
    with Repository.open(place) as repository:
        forget(repository, Policy(last=1, monthly=2))

        assert [b"".join(repository.rebuild(s)) for s in repository.snapshots()] == [
            week(3),
            week(5),
        ]
