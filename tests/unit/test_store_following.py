"""What an addition takes over from the export before: quicker, never other bytes."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from backupd.errors import RepositoryDamaged
from backupd.store.envelope import PLAIN
from backupd.store.fsio import FileSystem
from backupd.store.index import Index, Pack
from backupd.store.naming import Kind
from backupd.store.packing import Packing
from backupd.store.packs import ObjectEntry, read_directory
from backupd.store.repository import Repository
from tests.support.storing import conversation, export_bytes, put

Talk = dict[str, object]


def changed(talks: list[Talk], dice: random.Random) -> list[Talk]:
    """Return the export of a week later: some gone, some grown, some new, some elsewhere."""
    kept = [talk for talk in talks if dice.random() < 0.9]
    grown = [{**talk, "more": dice.random()} if dice.random() < 0.1 else talk for talk in kept]
    new = [conversation(dice.randrange(1000, 10**6)) for _ in range(dice.randrange(3))]
    moved = [grown.pop(dice.randrange(len(grown))) for _ in range(dice.randrange(4))]
    return new + moved + grown


@pytest.mark.parametrize("seed", range(4))
def test_weeks_of_all_kinds_of_change_come_back(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    talks = [conversation(n) for n in range(30)]
    with Repository.create(tmp_path / "repository") as repository:
        for day in range(1, 7):
            data = export_bytes(talks, day=day)
            added = put(repository, tmp_path, data, day)

            assert b"".join(repository.rebuild(added.snapshot)) == data
            assert added.snapshot.conversations == len(talks)
            assert len(list(repository.conversation_ids(added.snapshot))) == len(talks)
            talks = changed(talks, dice)

        assert "html" not in {kind.kind for kind in repository.stats().kinds}
        assert repository.check(read_data=True, drill=True).ok


def test_an_older_version_that_comes_again_is_no_new_object(tmp_path: Path) -> None:
    old = [conversation(n) for n in range(9)]
    new = [{**talk, "title": "another"} for talk in old]
    with Repository.create(tmp_path / "repository") as repository:
        for day, talks in enumerate((old, new, old, new, old), 1):
            put(repository, tmp_path, export_bytes(talks, day=day), day)

        kinds = {kind.kind: kind.objects for kind in repository.stats().kinds}
        assert kinds["conversation"] == 18
        assert repository.check(drill=True).ok


def test_a_wrong_memory_costs_time_and_no_bytes(tmp_path: Path) -> None:
    talks = [conversation(n) for n in range(9)]
    with Repository.create(tmp_path / "repository") as repository:
        put(repository, tmp_path, export_bytes(talks), 1)
        index = repository.derived / "index.sqlite" if repository.derived else tmp_path
    with sqlite3.connect(index) as connection:
        assert connection.execute("UPDATE pages SET transform = 5").rowcount == 9
    connection.close()
    data = export_bytes([*talks, conversation(99)], day=2)

    with Repository.open(tmp_path / "repository") as repository:
        added = put(repository, tmp_path, data, 2)

        assert added.snapshot.proven_at is not None
        assert not added.kept_whole
        assert b"".join(repository.rebuild(added.snapshot)) == data


def test_a_frame_that_could_not_be_made_lets_nothing_be_sealed(tmp_path: Path) -> None:
    """An error that a caller gets over must not leave a snapshot without some of its objects."""
    with Repository.create(tmp_path / "repository") as repository:
        put(repository, tmp_path, export_bytes([conversation(1)]), 1)
        (old,) = repository.conversation_ids(repository.snapshots()[0])
        (pack,) = (tmp_path / "repository" / "packs").rglob("*.pack")
        data = bytearray(pack.read_bytes())
        data[100] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(data)
        index = Index(None, lambda _: pack)
        index.insert([Pack(b"pack", len(data), read_directory(pack, PLAIN)[0])])
        packing = Packing(FileSystem(), tmp_path, index, PLAIN)
        new = ObjectEntry(PLAIN.object_id(b"new" * 9), 27, b"")

        packing.submit(Kind.CONVERSATION, b"new" * 9, (old,), (new,))

        for _ in range(2):
            with pytest.raises(RepositoryDamaged):
                packing.read(new.id)
        with pytest.raises(RepositoryDamaged):
            packing.finish()
        packing.close()
        index.close()
