"""Storing first and proving after, the rebuild on several processors, many files in a row."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.errors import BackupdError, RepositoryDamaged
from backupd.export import selftest
from backupd.export.deflate import Encoder
from backupd.intake.backfill import store_all
from backupd.intake.storing import Keeper, Quarantined, Stored
from backupd.store import ahead, prefetch
from backupd.store.rebuild import rebuild
from backupd.store.recipe import Begin, Coding, End, Event, Raw, Recipe, Ref, encode
from backupd.store.repository import Repository
from tests.support.storing import origin, week


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Give an empty repository."""
    with Repository.create(tmp_path / "repository") as made:
        yield made


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Give an empty catalog."""
    made = Catalog.open(tmp_path / "catalog.sqlite")
    yield made
    made.close()


OBJECTS = {bytes([n]) * 16: bytes([n % 7]) * 1000 * n + b"x" * n for n in range(1, 40)}


def recipe() -> Recipe:
    """Make a recipe with deflated, stored and nested members."""
    events: list[Event] = []
    for number, name in enumerate(OBJECTS):
        coding = Coding.STORED if number % 5 == 0 else Coding.DEFLATED
        encoder = Encoder(6, 8) if coding is Coding.DEFLATED else None
        events += [Raw(b"head"), Begin(f"m{number}", coding, encoder), Ref(name)]
        if number % 7 == 0:
            events += [Begin("inner", Coding.DEFLATED, Encoder(9, 8)), Ref(name), End()]
        events += [Ref(name), End()]
    return Recipe(encode([*events, Raw(b"end")]))


@pytest.mark.parametrize("held", [1, 5000, ahead.HELD_BYTES])
@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_members_made_ahead_give_the_same_bytes(
    helpers: int, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "HELD_BYTES", held)
    work = ahead._Rebuild(recipe(), OBJECTS.__getitem__, gentle=False)
    assert b"".join(work.run(helpers)) == b"".join(rebuild(recipe(), OBJECTS.__getitem__))


def test_a_damaged_object_is_told_in_its_turn_and_no_thread_stays() -> None:
    def read(name: bytes) -> bytes:
        if name == bytes([30]) * 16:
            raise RepositoryDamaged("read object: gone")
        return OBJECTS[name]

    before = threading.active_count()
    with pytest.raises(RepositoryDamaged, match="gone"):
        list(ahead.rebuild(recipe(), read))
    given_up = ahead.rebuild(recipe(), OBJECTS.__getitem__)
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_pieces_and_errors_come_through_a_thread() -> None:
    def broken() -> Iterator[bytes]:
        yield b"a"
        raise ValueError("broken")

    assert list(prefetch.prefetched(lambda: iter([b"a", b"b"] * 50))) == [b"a", b"b"] * 50
    with pytest.raises(ValueError, match="broken"):
        list(prefetch.prefetched(broken))
    given_up = prefetch.prefetched(lambda: iter([b"a"] * 1000))
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]


def test_a_snapshot_is_stored_then_proven(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "1.zip"
    path.write_bytes(week(1))
    added = repository.add(path, origin(), prove=False)
    assert added.snapshot.proven_at is None
    again = repository.add(path, origin(), prove=False)
    assert again.already_stored and again.snapshot.proven_at is None
    proven = repository.prove(added.snapshot)
    assert proven is not None and proven.proven_at is not None
    assert repository.find("latest").proven_at == proven.proven_at


def test_a_snapshot_that_does_not_come_back_is_stored_again(
    repository: Repository, catalog: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "1.zip"
    path.write_bytes(week(1))
    keeper = Keeper(repository, catalog, None)
    begun = keeper.begin(path, origin())
    assert not isinstance(begun, Quarantined)
    pack = next(repository.path.glob("packs/*/*.pack"))
    data = bytearray(pack.read_bytes())
    data[40] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    assert repository.prove(begun.added.snapshot) is None
    after = keeper.prove(begun)
    assert after.added.snapshot.proven_at is not None
    rebuilt = b"".join(repository.rebuild(after.added.snapshot))
    assert hashlib.sha256(rebuilt).digest() == hashlib.sha256(week(1)).digest()


def test_many_files_are_stored_in_order_whatever_becomes_of_one(
    repository: Repository, catalog: Catalog, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.zip" for number in range(5)]
    for number, file in enumerate(files):
        file.write_bytes(b"no ZIP" if number == 2 else week(number))
    files[3].unlink()
    keeper = Keeper(repository, catalog, None)
    results = list(store_all(keeper, files, lambda file: origin(file.name)))
    assert [file for file, _ in results] == files
    kinds = [type(result) for _, result in results]
    assert kinds[:3] == [Stored, Stored, Quarantined] and kinds[4] is Stored
    assert issubclass(kinds[3], BackupdError)
    assert all(snapshot.proven_at for snapshot in repository.snapshots())


def test_zlib_that_differs_is_found_out_and_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selftest.zlib_reproduces()
    path = tmp_path / "1.zip"
    path.write_bytes(week(1))
    snapshot = repository.add(path, origin()).snapshot
    monkeypatch.setattr("backupd.export.encoders.zlib", _OtherZlib())
    assert not selftest.zlib_reproduces()
    with pytest.raises(RepositoryDamaged, match="cannot be rebuilt here"):
        repository.restore_zip(snapshot, tmp_path / "back.zip")
    assert repository.restore_members(snapshot, tmp_path / "members") == snapshot.members


class _OtherZlib:
    """A zlib that packs a little less, as another library would differ."""

    def __getattr__(self, name: str) -> object:
        import zlib

        return getattr(zlib, name)

    def compressobj(self, level: int, *more: int) -> object:
        import zlib

        return zlib.compressobj(max(1, level - 3), *more)
