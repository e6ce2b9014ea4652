"""Older files put back, and files renamed over others: named by check, or harmless (tests T6).

Each file says under which name it belongs, so one in the place of another is found. An older file
under its own name is as genuine as it ever was: it may bring back what was forgotten or keep what
was let go, but takes nothing away.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from backupd.errors import RepositoryDamaged
from backupd.store.repository import Repository
from backupd.store.retention import Policy
from tests.support.campaign import campaign
from tests.support.operations import KINDS, NOW, RepositoryKind, name_of
from tests.support.retention import LAST, forget, prune, put, week, weeks
from tests.support.storing import copied, files_below

WEEKS = 4


@dataclass(frozen=True)
class Ages:
    """A repository when it held all weeks, some pinned, and after two times of forget and prune."""

    old: Path
    new: Path


@pytest.fixture(scope="module", params=KINDS, ids=name_of)
def kind(request: pytest.FixtureRequest) -> RepositoryKind:
    """Each kind of repository."""
    found: RepositoryKind = request.param
    return found


@pytest.fixture(scope="module")
def ages(kind: RepositoryKind, tmp_path_factory: pytest.TempPathFactory) -> Ages:
    root = tmp_path_factory.mktemp("ages")
    place = weeks(root, WEEKS, kind)
    with kind.open(place, False, None) as repository:
        for snapshot in repository.snapshots()[:2]:
            assert repository.keeping.pin(snapshot, NOW)
    old = copied(place, root / "old")
    with kind.open(place, False, None) as repository:
        for snapshot in repository.snapshots()[:2]:
            assert repository.keeping.unpin(snapshot)
        forget(repository, Policy(last=2))
        prune(repository)
        forget(repository, LAST)
        prune(repository)
        assert repository.keeping.pin(repository.find("latest"), NOW)
    return Ages(old, place)


def put_back(old: Path, place: Path, directory: str) -> list[str]:
    """Copy the files of a directory that are no more; return their names."""
    gone = sorted(
        name for name in files_below(old) - files_below(place) if name.startswith(directory)
    )
    for name in gone:
        (place / name).parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(old / name, place / name)
    return gone


def contents(repository: Repository) -> list[bytes]:
    """Return the exports that come back; what is listed and does not must be refused."""
    found = []
    for snapshot in repository.snapshots():
        with suppress(RepositoryDamaged):
            found.append(b"".join(repository.rebuild(snapshot)))
    return found


def problems(repository: Repository) -> list[str]:
    """Return the files that a thorough check names."""
    return [problem.path for problem in repository.check(read_data=True, drill=True).problems]


def kept(repository: Repository) -> set[bytes]:
    """Return the bytes of all objects that remainders keep."""
    names = {name for each in repository.remainders() for name in each.record.objects()}
    found = dict(repository.read_many(names))
    assert found.keys() == names
    return set(found.values())


def test_manifests_put_back_after_pruning_are_named(
    kind: RepositoryKind, ages: Ages, tmp_path: Path
) -> None:
    """They need what is gone; what is there restores, and nothing more is removed for their sake.

    Those of which everything is there still are snapshots again.
    """
    place = copied(ages.new, tmp_path / "r")
    with campaign(f"older files put back, {kind.name}").case("manifest", "pruned"):
        back = put_back(ages.old, place, "snapshots")
        assert len(back) == WEEKS - 1

        with kind.open(place, False, None) as repository:
            named = set(problems(repository))
            assert contents(repository)[-1:] == [week(WEEKS - 1)]
            assert set(contents(repository)) <= {week(number) for number in range(WEEKS)}
            assert len(set(back) - named) == len(contents(repository)) - 1
            assert set(back) & named
            before = files_below(place)
            with pytest.raises(RepositoryDamaged):
                repository.keeping.prune()
            assert files_below(place) == before


def test_manifests_put_back_before_pruning_are_snapshots_again(
    kind: RepositoryKind, ages: Ages, tmp_path: Path
) -> None:
    place = copied(ages.old, tmp_path / "r")
    with kind.open(place, False, None) as repository:
        for snapshot in repository.snapshots():
            repository.keeping.unpin(snapshot)
        forget(repository)
    with campaign(f"older files put back, {kind.name}").case("manifest", "forgotten"):
        assert len(put_back(ages.old, place, "snapshots")) == WEEKS - 1

        with kind.open(place, False, None) as repository:
            assert repository.check(read_data=True, drill=True).ok
            assert contents(repository) == [week(number) for number in range(WEEKS)]
            prune(repository)
            assert contents(repository) == [week(number) for number in range(WEEKS)]


@pytest.mark.parametrize("directory", ["pins", "packs", "proofs", "remainders"])
def test_other_files_put_back_change_no_answer(
    kind: RepositoryKind, ages: Ages, tmp_path: Path, directory: str
) -> None:
    """A pin keeps more, a pack holds things twice until it is pruned.

    A proof proves nothing and is named, as there is no manifest to it.
    """
    place = copied(ages.new, tmp_path / "r")
    with kind.open(place, False, None) as repository:
        before = contents(repository), kept(repository)
    with campaign(f"older files put back, {kind.name}").case(directory, "all"):
        back = put_back(ages.old, place, directory)
        assert back or directory == "remainders", "none was ever removed"

        named = back if directory == "proofs" else []
        with kind.open(place, False, None) as repository:
            assert problems(repository) == named
            assert (contents(repository), kept(repository)) == before
            forget(repository)
            prune(repository)
            assert (contents(repository), kept(repository)) == before
            assert problems(repository) == named


def test_the_whole_repository_put_back_is_what_it_was(
    kind: RepositoryKind, ages: Ages, tmp_path: Path
) -> None:
    place = copied(ages.old, tmp_path / "r")
    with (
        campaign(f"older files put back, {kind.name}").case("everything", "all"),
        kind.open(place, False, None) as repository,
    ):
        assert repository.check(read_data=True, drill=True).ok
        put(repository, tmp_path, week(WEEKS), WEEKS)
        assert contents(repository) == [week(number) for number in range(WEEKS + 1)]


def over_another(directory: str) -> Callable[[Path], tuple[str, str]]:
    """Return what renames one file of a directory over another; it tells the names of both."""

    def act(place: Path) -> tuple[str, str]:
        one, two = sorted(name for name in files_below(place) if name.startswith(directory))[:2]
        (place / one).rename(place / two)
        return one, two

    return act


@pytest.mark.parametrize("directory", ["snapshots", "pins", "proofs", "packs"])
def test_a_file_renamed_over_another_is_named(
    kind: RepositoryKind, ages: Ages, tmp_path: Path, directory: str
) -> None:
    place = copied(ages.old, tmp_path / "r")
    with campaign(f"files renamed over others, {kind.name}").case("rename", directory):
        _, two = over_another(directory)(place)

        with kind.open(place, False, None) as repository:
            assert two in problems(repository)
            assert set(contents(repository)) <= {week(number) for number in range(WEEKS)}
            if directory in ("snapshots", "pins"):
                with pytest.raises(RepositoryDamaged):
                    forget(repository)


def test_remainders_renamed_over_each_other_are_named(
    kind: RepositoryKind, ages: Ages, tmp_path: Path
) -> None:
    place = copied(ages.new, tmp_path / "r")
    with campaign(f"files renamed over others, {kind.name}").case("rename", "remainders"):
        _, two = over_another("remainders")(place)

        with kind.open(place, False, None) as repository:
            assert problems(repository) == [two]
            assert contents(repository) == [week(WEEKS - 1)]
            for act in (prune, forget):
                with pytest.raises(RepositoryDamaged):
                    act(repository)


@pytest.mark.parametrize(
    ("source", "target"),
    [("remainders", "snapshots"), ("snapshots", "remainders"), ("proofs", "pins")],
)
def test_a_file_of_one_kind_among_another_is_named(
    kind: RepositoryKind, ages: Ages, tmp_path: Path, source: str, target: str
) -> None:
    """Under a name that is right for its bytes, too."""
    place = copied(ages.new, tmp_path / "r")
    name = next(name for name in sorted(files_below(place)) if name.startswith(source))
    data = (place / name).read_bytes()
    known = Path(name).name if source == "proofs" else hashlib.sha256(data).hexdigest()
    with campaign(f"files renamed over others, {kind.name}").case("among", f"{source} {target}"):
        (place / target / known).unlink(missing_ok=True)
        (place / target / known).write_bytes(data)

        with kind.open(place, False, None) as repository:
            assert f"{target}/{known}" in problems(repository)
            assert contents(repository) == [week(WEEKS - 1)]
