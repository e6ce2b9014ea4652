"""Kill, or fail, every file operation of forget and prune (T1, T4): nothing needed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError, StorageFull
from backupd.store.repository import Repository
from backupd.store.retention import Policy
from tests.support.campaign import campaign
from tests.support.operations import KINDS, RepositoryKind, name_of
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
from tests.support.storing import FULL, Fault, FaultyFs, copied, files_below, sample

WEEKS = 4
ERRORS = ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE"] if FULL else ["EIO", "ENOSPC"]
ACTIONS: dict[str, Action] = {"forget": forget, "prune": prune}


@pytest.fixture(scope="module", params=KINDS, ids=name_of)
def kind(request: pytest.FixtureRequest) -> RepositoryKind:
    """Each kind of repository."""
    found: RepositoryKind = request.param
    return found


@pytest.fixture(scope="module")
def templates(kind: RepositoryKind, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Closed repositories: one to forget in, and one to prune where that was done."""
    whole = weeks(tmp_path_factory.mktemp("retention"), WEEKS, kind)
    thinned = copied(whole, whole.parent / "thinned")
    with kind.open(thinned, False, None) as repository:
        forget(repository)
    return {"forget": whole, "prune": thinned}


def names(kind: RepositoryKind, template: Path, place: Path, action: Action) -> list[str]:
    """Name every file operation of an action."""
    files = FaultyFs()
    with kind.open(copied(template, place), False, files) as repository:
        action(repository)
    return files.names


@pytest.mark.parametrize("how", ["before", "half", "after"])
@pytest.mark.parametrize("verb", ACTIONS)
def test_killed_anywhere_nothing_needed_is_lost(
    kind: RepositoryKind, templates: dict[str, Path], tmp_path: Path, verb: str, how: str
) -> None:
    kills = campaign(f"kill -9 with remainders: {verb}, {kind.name}")
    operations = names(kind, templates[verb], tmp_path / "counted", ACTIONS[verb])
    points = [n for n, name in enumerate(operations) if how != "half" or name == "write"]

    for point in (points[i] for i in sample(len(points), kind.of(7))):
        place = copied(templates[verb], tmp_path / f"{how}-{point}")
        with kills.case(how, point):
            assert kind.ended(killed(kind, place, Fault(point, how), ACTIONS[verb])), point
            examine(kind, place, f"{verb} {how} {operations[point]} {point}")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("verb", ACTIONS)
@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
def test_failed_operation_is_told_and_nothing_needed_is_lost(
    kind: RepositoryKind,
    templates: dict[str, Path],
    tmp_path: Path,
    verb: str,
    error: str,
    for_ever: bool,
) -> None:
    failures = campaign(f"failed file operation with remainders: {verb}, {kind.name}")
    operations = names(kind, templates[verb], tmp_path / "counted", ACTIONS[verb])

    for point in sample(len(operations), kind.of(6)):
        place = copied(templates[verb], tmp_path / f"{error}-{point}")
        with failures.case(f"{error} {'for ever' if for_ever else 'once'}", point):
            files = FaultyFs(Fault(point, error, for_ever))
            told = failure(kind, place, files, ACTIONS[verb])
            where = f"{verb} {error} {operations[point]} {point}"
            assert told is not None or files.struck in (None, "unlink", "rmdir"), where
            if error in ("ENOSPC", "EDQUOT") and told is not None:
                assert isinstance(told, StorageFull), where
            examine(kind, place, where)


@pytest.mark.parametrize("verb", ACTIONS)
def test_short_writes_lose_nothing(
    kind: RepositoryKind, templates: dict[str, Path], tmp_path: Path, verb: str
) -> None:
    """Half of what is asked is written, at each write in turn and at all of them."""
    shorts = campaign(f"short writes with remainders: {verb}, {kind.name}")
    operations = names(kind, templates[verb], tmp_path / "counted", ACTIONS[verb])
    writes = [number for number, name in enumerate(operations) if name == "write"]

    for number in [-1, *(writes[i] for i in sample(len(writes), kind.of(4)))]:
        place = copied(templates[verb], tmp_path / f"short-{number}")
        with shorts.case("half, always" if number < 0 else "half, once", number):
            files = FaultyFs(Fault(max(number, 0), "short", for_ever=number < 0))
            assert failure(kind, place, files, ACTIONS[verb]) is None
            examine(kind, place, f"{verb} short write {number}")


def failure(
    kind: RepositoryKind, place: Path, files: FaultyFs, action: Action
) -> BackupdError | None:
    with kind.open(place, False, files) as repository:
        try:
            action(repository)
        except BackupdError as error:
            return error
    return None


def examine(kind: RepositoryKind, place: Path, where: str) -> None:
    """The state is whole; the work can be ended; what had to stay is there."""
    with kind.open(place, True, None) as repository:
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
    kind: RepositoryKind, templates: dict[str, Path], tmp_path: Path
) -> None:
    """Prune needs room for what it writes anew; without it nothing is removed."""
    place = copied(templates["prune"], tmp_path / "r")
    before = {name for name in files_below(place) if name.startswith("packs/")}
    files = FaultyFs(Fault(2, "ENOSPC", for_ever=True))
    with kind.open(place, False, files) as repository, pytest.raises(StorageFull):
        prune(repository)
    assert {name for name in files_below(place) if name.startswith("packs/")} == before

    size = pack_bytes(place)
    with kind.open(place, False, None) as repository:
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
