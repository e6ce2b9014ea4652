"""`backupd rebuild`: index and catalog lost or damaged in every way give the same answers again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backupd.catalog import Catalog
from backupd.store.derived import lies_in_memory
from backupd.store.repository import Access, Repository
from tests.cli.test_verbs import backupd
from tests.support import unavailable
from tests.support.sealing import PASSPHRASE, made
from tests.support.storing import put, week

MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Place:
    """A closed repository of two exports, and where its derived files lie."""

    path: Path
    derived: Path
    access: Access
    environment: dict[str, str]

    def run(self, *arguments: str, code: int = 0) -> Any:
        done = backupd("--repository", self.path, *arguments, code=code, **self.environment)
        return json.loads(done.stdout) if "--json" in arguments else done.stderr

    def fill(self) -> None:
        """Make what is derived, as the first verb would."""
        with Repository.open(self.path, access=self.access) as repository:
            catalog = Catalog.open(repository.catalog)
            catalog.sync(repository)
            catalog.close()

    def answers(self) -> list[object]:
        """What all that reads is told, from index and catalog as they lie there."""
        with Repository.open(self.path, access=self.access) as repository:
            catalog = Catalog.open(repository.catalog)
            try:
                told = [catalog.summary(snapshot.id) for snapshot in repository.snapshots()]
                stats = replace(repository.stats(), cache_bytes=0)
                checked = repository.check(read_data=True, drill=True)
                return [repository.snapshots(), told, catalog.conversations(), stats, checked]
            finally:
                catalog.close()


def filled(repository: Repository, directory: Path) -> None:
    with repository:
        put(repository, directory, week(1), day=1)
        put(repository, directory, week(2), day=2)


@pytest.fixture
def plain(tmp_path: Path) -> Place:
    filled(Repository.create(tmp_path / "r"), tmp_path)
    place = Place(tmp_path / "r", tmp_path / "r/cache", Access(), {})
    place.fill()
    return place


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Place]:
    """An encrypted one, with a directory in memory for what is derived."""
    if not lies_in_memory(MEMORY):
        unavailable(f"no memory file system at {MEMORY}")
    filled(made(tmp_path / "r"), tmp_path)
    secrets = tmp_path / "credentials"
    secrets.mkdir(mode=0o700)
    (secrets / "repository").write_text(PASSPHRASE + "\n")
    runtime = MEMORY / f"backupd-test-{uuid4().hex}"
    runtime.mkdir(mode=0o700)
    own = Access(lambda: PASSPHRASE, cache="runtime", runtime=(runtime / "backupd",))
    place = Place(
        tmp_path / "r",
        runtime / "backupd",
        own,
        {"CREDENTIALS_DIRECTORY": str(secrets), "XDG_RUNTIME_DIR": str(runtime)},
    )
    try:
        place.fill()
        (derived,) = place.derived.iterdir()
        yield replace(place, derived=derived)
    finally:
        shutil.rmtree(runtime)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def spoilt(data: bytes) -> bytes:
    """Leave the first page, so that it opens, and spoil what follows."""
    return data[:4096] + bytes(len(data) - 4096)


@pytest.mark.parametrize("change", [None, cut, spoilt, lambda _: b"no database" * 1000])
@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_the_same_answers_afterwards(
    kind: str, change: Callable[[bytes], bytes] | None, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(kind)
    before = place.answers()
    for name in ("index.sqlite", "catalog.sqlite"):
        file = place.derived / name
        data = file.read_bytes()
        file.unlink()
        if change is not None:
            file.write_bytes(change(data))

    done = place.run("rebuild", "--json")

    assert (done["packs"], done["snapshots"], done["kept_on_disk"]) == (2, 2, True)
    assert (done["unreadable_packs"], done["snapshots_left_out"]) == ([], [])
    assert place.answers() == before


def test_a_copy_without_the_directory_gets_it_back(plain: Place) -> None:
    before = plain.answers()
    shutil.rmtree(plain.derived)

    plain.run("rebuild")

    made = {path.name for path in plain.derived.glob("*.sqlite")}
    assert made == {"index.sqlite", "catalog.sqlite"}
    assert plain.answers() == before


def test_an_index_of_another_shape_is_replaced(plain: Place) -> None:
    """SQLite calls such a file sound: nothing but a rebuild would ever mend it."""
    before = plain.answers()
    with closing(sqlite3.connect(plain.derived / "index.sqlite")) as connection:
        connection.executescript("DROP TABLE objects; CREATE TABLE objects (mine TEXT)")

    plain.run("rebuild")

    with closing(sqlite3.connect(plain.derived / "index.sqlite")) as connection:
        assert connection.execute("SELECT count(id) FROM objects").fetchone()[0] > 0
    assert plain.answers() == before


def test_another_writer_is_named_and_nothing_touched(plain: Place) -> None:
    catalog = plain.derived / "catalog.sqlite"
    catalog.unlink()

    with Repository.open(plain.path, write=True, verb="import"):
        said = plain.run("rebuild", code=11)

    assert "held by import" in said
    assert not catalog.exists()


def test_damage_is_named_with_exit_code_30(plain: Place) -> None:
    pack = next((plain.path / "packs").rglob("*.pack"))
    pack.chmod(0o600)
    pack.write_bytes(cut(pack.read_bytes()))

    assert pack.name[:12] in plain.run("rebuild", code=30)
    assert plain.run("rebuild", "--json", code=30)["unreadable_packs"] == [pack.stem]


def test_in_memory_it_says_that_nothing_is_kept(sealed: Place) -> None:
    shutil.rmtree(sealed.derived.parent)
    sealed.derived.parent.touch()  # no directory can be made there

    assert sealed.run("rebuild", "--json")["kept_on_disk"] is False
    assert "memory" in sealed.run("rebuild")
