"""Flip, cut, delete, swap, zero: every damage is found and named, the rest restores (tests T6)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupd.catalog import Catalog, CatalogDamaged
from backupd.errors import BackupdError, CredentialError, RepositoryDamaged, RepositoryRefused
from backupd.store.repository import Origin, Subset
from backupd.store.retention import Policy
from tests.support.campaign import campaign
from tests.support.operations import KINDS, NOW, PLAIN, RepositoryKind, refuse
from tests.support.storing import (
    FULL,
    conversation,
    copied,
    export_bytes,
    files_below,
    origin,
    put,
    sample,
    week,
)

SEED = 20261123
ROUNDS = 10
FLIPS = 10_000 if FULL else 150
CACHE_FLIPS = 500 if FULL else 40
WEEKS = [week(1), week(2), week(3)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> RepositoryKind:
    """Each kind of repository."""
    found: RepositoryKind = request.param
    return found


@pytest.fixture(scope="module")
def template(kind: RepositoryKind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed repository that holds three weeks and a file in quarantine."""
    root = tmp_path_factory.mktemp("rot")
    with kind.create(root / "repository", None) as repository:
        for number in (1, 2, 3):
            put(repository, root, week(number), day=number)
        (root / "week-3.zip").write_bytes(week(4))
        refuse(repository, root)
    return root / "repository"


@pytest.fixture(scope="module")
def full(kind: RepositoryKind, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and two files of every kind: pins, remainders of older exports, refused files."""
    root = tmp_path_factory.mktemp("full")
    place = copied(template, root / "repository")
    with kind.open(place, False, None) as repository:
        for number in (1, 2):
            source = root / f"older-{number}.zip"
            source.write_bytes(export_bytes([conversation(900 + number)]))
            received = datetime(2026, 10, number, tzinfo=UTC)
            repository.add(source, Origin(source.name, received, "import"))
            keeping = repository.keeping
            assert keeping.forget(keeping.plan_forget(Policy(last=3), NOW)) is not None
            assert keeping.pin(repository.snapshots()[number], NOW)
            repository.quarantine(source, "no-zip", "says the test", origin())
    return place


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def found(kind: RepositoryKind, place: Path, cache: Path | None = None) -> list[str]:
    """Check the repository; return the files that are named, or that it does not open."""
    try:
        with kind.open_by_any_key(place, cache) as repository:
            return [problem.path for problem in repository.check(read_data=True).problems]
    except (RepositoryDamaged, RepositoryRefused) as told:
        named = "header" in told.message  # also where a flipped bit looks like a newer format
        return ["backupd-repository.json"] if named else []
    except CredentialError as told:
        named = "2 key file(s) are damaged" in told.message
        return [f"keys/{path.name}" for path in (place / "keys").iterdir()] if named else []


def restorable(kind: RepositoryKind, place: Path, cache: Path | None = None) -> list[bytes]:
    """Return what can still be given back; a wrong byte would be among it."""
    contents = []
    with (
        suppress(RepositoryDamaged, RepositoryRefused, CredentialError),
        kind.open_by_any_key(place, cache) as repository,
    ):
        for snapshot in repository.snapshots():
            with suppress(BackupdError):
                contents.append(b"".join(repository.rebuild(snapshot)))
    return contents


def chosen(names: list[str], dice: random.Random) -> str:
    """Choose a kind of file, then one of them: the few small ones get their share."""
    kinds = sorted({name.split("/")[0] for name in names})
    kind = dice.choice(kinds)
    return dice.choice([name for name in names if name.split("/")[0] == kind])


@pytest.mark.parametrize("part", range(ROUNDS))
def test_every_flipped_bit_is_found_and_no_wrong_byte_given_back(
    kind: RepositoryKind, full: Path, tmp_path: Path, part: int
) -> None:
    flips = campaign(f"flipped bits, {kind.name}", seed=SEED)
    place = copied(full, tmp_path / "r")
    dice = random.Random(SEED + part)
    originals = {name: (place / name).read_bytes() for name in sorted(files_below(place))}

    for _ in range(kind.of(FLIPS // ROUNDS)):
        name = chosen(list(originals), dice)
        bit = dice.randrange(len(originals[name]) * 8)
        with flips.case(name.split("/")[0], f"{name} {bit}"):
            overwrite(place / name, flipped(originals[name], bit))
            problems = found(kind, place)
            assert name in problems, f"{name} bit {bit} (seed {SEED}): {problems}"
            contents = restorable(kind, place)
            assert all(content in WEEKS for content in contents), f"{name} bit {bit}"
            if name.split("/")[0] not in ("packs", "snapshots", "backupd-repository.json"):
                assert contents == WEEKS, "nothing that restores depends on it"
        overwrite(place / name, originals[name])

    assert found(kind, place) == []
    assert restorable(kind, place) == WEEKS


def derived(kind: RepositoryKind, place: Path) -> Path:
    """Return where derived files lie; those of an encrypted repository beside it."""
    with kind.open(place, False, None, place.parent / "cache") as repository:
        assert repository.derived is not None
        return repository.derived


def derived_files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.iterdir() if path.stat().st_size)


@pytest.mark.parametrize("file", ["index.sqlite", "catalog.sqlite"])
def test_damaged_cache_changes_no_answer(
    kind: RepositoryKind, template: Path, tmp_path: Path, file: str
) -> None:
    """Made anew, both give the same answers; before that no error is SQLite's, no export wrong.

    SQLite has no checksums: a count of the catalog may be another until it is made anew.
    """
    flips = campaign(f"damaged {file}, {kind.name}", seed=SEED)
    place = copied(template, tmp_path / "r")
    cache = derived(kind, place)
    counts = catalog_counts(kind, place)
    good = {path: path.read_bytes() for path in derived_files(cache)}
    damaged = cache / file
    dice = random.Random(SEED)
    silent = 0

    for number in range(kind.of(CACHE_FLIPS)):
        for path in cache.iterdir():
            path.unlink()
        for path, data in good.items():
            path.write_bytes(data)
        how, spoilt = spoiled(good[damaged], number, dice)
        with flips.case(how.split()[0], f"{how} {number}"):
            damaged.unlink() if spoilt is None else damaged.write_bytes(spoilt)
            given = restorable(kind, place, tmp_path / "cache")
            assert all(content in WEEKS for content in given), how
            with kind.open(place, False, None, tmp_path / "cache") as repository:
                repository.rebuild_index()
            assert restorable(kind, place, tmp_path / "cache") == WEEKS, how
            assert found(kind, place, tmp_path / "cache") == [], how
            if file == "catalog.sqlite":
                silent += catalog_counts(kind, place) != counts
                make_catalog_anew(kind, place)
                assert catalog_counts(kind, place) == counts, how
    flips.note = f"{silent} times another answer until the catalog was made anew" * bool(silent)


@pytest.mark.parametrize(
    ("file", "table"), [("index.sqlite", b"packs"), ("catalog.sqlite", b"snapshots")]
)
def test_a_schema_that_is_no_text_changes_no_answer(
    kind: RepositoryKind, template: Path, tmp_path: Path, file: str, table: bytes
) -> None:
    """SQLite then quotes bytes in its message that Python cannot read."""
    place = copied(template, tmp_path / "r")
    cache = derived(kind, place)
    counts = catalog_counts(kind, place)
    damaged = cache / file
    data = damaged.read_bytes()
    damaged.write_bytes(data.replace(b"CREATE TABLE " + table, b"CREATE T\xd5BLE " + table))

    assert restorable(kind, place, tmp_path / "cache") == WEEKS
    assert catalog_counts(kind, place) == counts
    assert found(kind, place, tmp_path / "cache") == []


def spoiled(data: bytes, number: int, dice: random.Random) -> tuple[str, bytes | None]:
    """Return what was done to a file, and its bytes afterwards; None if it was deleted."""
    match number:
        case 0:
            return "emptied", b""
        case 1:
            return "truncated", data[: len(data) // 2]
        case 2:
            return "zeroed page", data[:4096] + bytes(4096) + data[8192:]
        case 3:
            return "noise", random.Random(SEED).randbytes(len(data))
        case 4:
            return "deleted", None
        case _:
            bit = dice.randrange(len(data) * 8)
            return f"flipped {bit}", flipped(data, bit)


def catalog_counts(kind: RepositoryKind, place: Path) -> list[object]:
    """Return what the catalog says of each snapshot; a damaged one may say so once, no more."""
    try:
        return catalog_counts_at_once(kind, place)
    except CatalogDamaged:
        return catalog_counts_at_once(kind, place)


def make_catalog_anew(kind: RepositoryKind, place: Path) -> None:
    """Throw the catalog away, as `backupd rebuild` does."""
    with kind.open(place, False, None, place.parent / "cache") as repository:
        catalog = Catalog.open(repository.catalog)
        try:
            catalog.reset()
        finally:
            catalog.close()


def catalog_counts_at_once(kind: RepositoryKind, place: Path) -> list[object]:
    with kind.open(place, False, None, place.parent / "cache") as repository:
        catalog = Catalog.open(repository.catalog)
        try:
            catalog.sync(repository)
            return [catalog.counts(snapshot.id) for snapshot in repository.snapshots()]
        finally:
            catalog.close()


def damage_of(harm: str) -> Callable[[Path, Path], None]:
    """Return what does that damage to a file; the second path is another of its kind."""

    def zero(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        page = slice(0, min(4096, len(data) // 2))
        data[page] = bytes(page.stop)
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
        "replaced": lambda path, other: overwrite(path, other.read_bytes()),
    }[harm]


HARMS = ("zeroed", "swapped", "replaced", "truncated", "grown", "emptied")


KEPT = ("packs", "snapshots", "proofs", "pins", "remainders", "quarantine", "keys")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("directory", KEPT)
def test_damaged_file_is_named(
    kind: RepositoryKind, full: Path, tmp_path: Path, harm: str, directory: str
) -> None:
    """Each file in turn; the other is the one before it of the same suffix."""
    damage = campaign(f"damaged files, {kind.name}")
    names = sorted(name for name in files_below(full) if name.startswith(directory))
    assert len(names) > 1 or (directory, kind) == ("keys", PLAIN)
    for number in sample(len(names), kind.of(4)):
        place = copied(full, tmp_path / str(number))
        mine = names[number]
        like = [name for name in names if Path(name).suffix == Path(mine).suffix]
        with damage.case(harm, mine):
            damage_of(harm)(place / mine, place / like[like.index(mine) - 1])

            assert mine in found(kind, place)
            assert all(content in WEEKS for content in restorable(kind, place))


def test_deleted_pack_takes_only_what_needs_it(
    kind: RepositoryKind, template: Path, tmp_path: Path
) -> None:
    """The newest pack gone: older snapshots restore, the report names the ones that do not."""
    place = copied(template, tmp_path / "r")
    with kind.open(place, False, None) as repository:
        newest = repository.find("latest")
    (place / "packs" / newest.packs[0][:2] / f"{newest.packs[0]}.pack").unlink()

    with kind.open(place, False, None) as repository:
        report = repository.check()

        assert not report.ok
        assert {name for problem in report.problems for name in problem.affects} == {newest.id}
        assert all(newest.id[:12] in problem.text for problem in report.problems)
        with pytest.raises(RepositoryDamaged):
            repository.restore_zip(newest, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    assert restorable(kind, place) == [week(1), week(2)]


def test_damage_in_the_base_names_every_snapshot_that_needs_it(
    kind: RepositoryKind, template: Path, tmp_path: Path
) -> None:
    place = copied(template, tmp_path / "r")
    with kind.open(place, False, None) as repository:
        oldest, *_ = snapshots = repository.snapshots()
    pack = place / "packs" / oldest.packs[0][:2] / f"{oldest.packs[0]}.pack"
    overwrite(pack, flipped(pack.read_bytes(), 8 * 100))

    with kind.open(place, False, None) as repository:
        report = repository.check(read_data=True)
        named = {name for problem in report.problems for name in problem.affects}

        assert named == {snapshot.id for snapshot in snapshots}
        assert repository.check().ok, "structure alone reads no payloads"
        with pytest.raises(RepositoryDamaged):
            repository.restore_zip(oldest, tmp_path / "out.zip")


def damaged_base(kind: RepositoryKind, template: Path, place: Path) -> Path:
    """Copy the repository and spoil the frames that all others lean on."""
    copied(template, place)
    with kind.open(place, False, None) as repository:
        oldest = repository.snapshots()[0]
    pack = place / "packs" / oldest.packs[0][:2] / f"{oldest.packs[0]}.pack"
    data = bytearray(pack.read_bytes())
    for position in range(20, len(data) // 2, 50):
        data[position] ^= 4
    overwrite(pack, bytes(data))
    return place


def test_damage_does_not_keep_a_new_export_out(
    kind: RepositoryKind, template: Path, tmp_path: Path
) -> None:
    place = damaged_base(kind, template, tmp_path / "r")
    assert restorable(kind, place) == []

    with kind.open(place, False, None) as repository:
        added = put(repository, tmp_path, week(4), day=4)

        assert b"".join(repository.rebuild(added.snapshot)) == week(4)
        assert not added.kept_whole


def test_adding_a_damaged_export_again_heals_it(
    kind: RepositoryKind, template: Path, tmp_path: Path
) -> None:
    place = damaged_base(kind, template, tmp_path / "r")
    with kind.open(place, False, None) as repository:
        for number in (1, 2, 3):
            added = put(repository, tmp_path, week(number), day=number)
            assert not added.already_stored or number > 1

        report = repository.check(read_data=True)
        assert report.snapshots == 3
        assert {p.path.split("/")[0] for p in report.problems} == {"packs"}, "and nothing else"
        assert {name for problem in report.problems for name in problem.affects} == set()
        assert put(repository, tmp_path, week(1), day=5).already_stored
        repository.rebuild_index()
    assert restorable(kind, place) == [week(1), week(2), week(3)]


def test_foreign_files_are_named(kind: RepositoryKind, template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    (place / "packs/notes.txt").write_text("mine")
    (place / "snapshots/copy of snapshot").write_text("mine")

    assert found(kind, place) == ["packs/notes.txt", "snapshots/copy of snapshot"]


def test_subsets_cover_everything(kind: RepositoryKind, template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    for refused in (place / "quarantine").iterdir():  # read whatever the part
        refused.unlink()
    with kind.open(place, False, None) as repository:
        whole = repository.check(read_data=True).bytes_read - repository.check().bytes_read
        parts = [
            repository.check(read_data=True, subset=Subset(n, 3)).bytes_read
            - repository.check().bytes_read
            for n in (1, 2, 3)
        ]

    assert sum(parts) == whole
