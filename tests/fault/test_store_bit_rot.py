"""Flip, cut, delete, swap, zero: every damage is found and named, the rest restores (tests T6)."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from backupd.errors import BackupdError, RepositoryDamaged
from backupd.store.repository import Repository
from tests.support.storing import FULL, copied, files_below, put, week

SEED = 20261123
FLIPS = 10_000 if FULL else 80


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed repository that holds three weeks."""
    root = tmp_path_factory.mktemp("rot")
    with Repository.create(root / "repository") as repository:
        for number in (1, 2, 3):
            put(repository, root, week(number), day=number)
    return root / "repository"


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def found(place: Path) -> list[str]:
    """Check the repository; return the files that are named, or that it does not open."""
    try:
        with Repository.open(place) as repository:
            return [problem.path for problem in repository.check(read_data=True).problems]
    except RepositoryDamaged:
        return ["backupd-repository.json"]


def restorable(place: Path) -> list[bytes]:
    """Return what can still be given back; a wrong byte would be among it."""
    contents = []
    with suppress(RepositoryDamaged), Repository.open(place) as repository:
        for snapshot in repository.snapshots():
            with suppress(BackupdError):
                contents.append(b"".join(repository.rebuild(snapshot)))
    return contents


def test_every_flipped_bit_is_found_and_no_wrong_byte_given_back(
    template: Path, tmp_path: Path
) -> None:
    place = copied(template, tmp_path / "r")
    dice = random.Random(SEED)
    originals = {name: (place / name).read_bytes() for name in sorted(files_below(place))}
    weeks = [week(1), week(2), week(3)]

    for _ in range(FLIPS):
        name = dice.choice(list(originals))
        bit = dice.randrange(len(originals[name]) * 8)
        overwrite(place / name, flipped(originals[name], bit))

        problems = found(place)
        assert name in problems, f"{name} bit {bit} (seed {SEED}): {problems}"
        assert all(content in weeks for content in restorable(place)), f"{name} bit {bit}"
        overwrite(place / name, originals[name])

    assert found(place) == []
    assert restorable(place) == weeks


def damage_of(kind: str) -> Callable[[Path, Path], None]:
    """Return what does that damage to a file; the second path is another of its kind."""

    def zero(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        data[: len(data) // 2] = bytes(len(data) // 2)
        overwrite(path, bytes(data))

    def swap(path: Path, other: Path) -> None:
        mine, theirs = path.read_bytes(), other.read_bytes()
        overwrite(path, theirs)
        overwrite(other, mine)

    return {
        "zeroed": zero,
        "swapped": swap,
        "truncated": lambda path, _: overwrite(path, path.read_bytes()[:-1]),
        "grown": lambda path, _: overwrite(path, path.read_bytes() + b"\0"),
        "emptied": lambda path, _: overwrite(path, b""),
    }[kind]


@pytest.mark.parametrize("kind", ["zeroed", "swapped", "truncated", "grown", "emptied"])
@pytest.mark.parametrize("directory", ["packs", "snapshots", "proofs"])
def test_damaged_file_is_named(template: Path, tmp_path: Path, kind: str, directory: str) -> None:
    place = copied(template, tmp_path / "r")
    names = sorted(name for name in files_below(place) if name.startswith(directory))

    damage_of(kind)(place / names[0], place / names[1])

    assert names[0] in found(place)
    assert all(content in [week(1), week(2), week(3)] for content in restorable(place))


def test_deleted_pack_takes_only_what_needs_it(template: Path, tmp_path: Path) -> None:
    """The newest pack gone: older snapshots restore, the report names the ones that do not."""
    place = copied(template, tmp_path / "r")
    with Repository.open(place) as repository:
        newest = repository.find("latest")
    (place / "packs" / newest.packs[0][:2] / f"{newest.packs[0]}.pack").unlink()

    with Repository.open(place) as repository:
        report = repository.check()

        assert not report.ok
        assert {name for problem in report.problems for name in problem.affects} == {newest.id}
        assert all(newest.id[:12] in problem.text for problem in report.problems)
        with pytest.raises(RepositoryDamaged):
            repository.restore_zip(newest, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    assert restorable(place) == [week(1), week(2)]


def test_damage_in_the_base_names_every_snapshot_that_needs_it(
    template: Path, tmp_path: Path
) -> None:
    place = copied(template, tmp_path / "r")
    with Repository.open(place) as repository:
        oldest, *_ = snapshots = repository.snapshots()
    pack = place / "packs" / oldest.packs[0][:2] / f"{oldest.packs[0]}.pack"
    overwrite(pack, flipped(pack.read_bytes(), 8 * 100))

    with Repository.open(place) as repository:
        report = repository.check(read_data=True)
        named = {name for problem in report.problems for name in problem.affects}

        assert named == {snapshot.id for snapshot in snapshots}
        assert repository.check().ok, "structure alone reads no payloads"
        with pytest.raises(RepositoryDamaged):
            repository.restore_zip(oldest, tmp_path / "out.zip")


def damaged_base(template: Path, place: Path) -> Path:
    """Copy the repository and spoil the frames that all others lean on."""
    copied(template, place)
    with Repository.open(place) as repository:
        oldest = repository.snapshots()[0]
    pack = place / "packs" / oldest.packs[0][:2] / f"{oldest.packs[0]}.pack"
    data = bytearray(pack.read_bytes())
    for position in range(20, len(data) // 2, 50):
        data[position] ^= 4
    overwrite(pack, bytes(data))
    return place


def test_damage_does_not_keep_a_new_export_out(template: Path, tmp_path: Path) -> None:
    place = damaged_base(template, tmp_path / "r")
    assert restorable(place) == []

    with Repository.open(place) as repository:
        added = put(repository, tmp_path, week(4), day=4)

        assert b"".join(repository.rebuild(added.snapshot)) == week(4)
        assert not added.kept_whole


def test_adding_a_damaged_export_again_heals_it(template: Path, tmp_path: Path) -> None:
    place = damaged_base(template, tmp_path / "r")
    with Repository.open(place) as repository:
        for number in (1, 2, 3):
            added = put(repository, tmp_path, week(number), day=number)
            assert not added.already_stored or number > 1

        report = repository.check(read_data=True)
        assert report.snapshots == 3
        assert {p.path.split("/")[0] for p in report.problems} == {"packs"}, "and nothing else"
        assert {name for problem in report.problems for name in problem.affects} == set()
        assert put(repository, tmp_path, week(1), day=5).already_stored
        repository.rebuild_index()
    assert restorable(place) == [week(1), week(2), week(3)]


def test_foreign_files_are_named(template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    (place / "packs/notes.txt").write_text("mine")
    (place / "snapshots/copy of snapshot").write_text("mine")

    assert found(place) == ["packs/notes.txt", "snapshots/copy of snapshot"]


def test_subsets_cover_everything(template: Path, tmp_path: Path) -> None:
    from backupd.store.repository import Subset

    place = copied(template, tmp_path / "r")
    with Repository.open(place) as repository:
        whole = repository.check(read_data=True).bytes_read - repository.check().bytes_read
        parts = [
            repository.check(read_data=True, subset=Subset(n, 3)).bytes_read
            - repository.check().bytes_read
            for n in (1, 2, 3)
        ]

    assert sum(parts) == whole
