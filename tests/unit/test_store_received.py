"""A received file that changes under the reader's hands: another file in its place, other bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from backupd.errors import BackupdError
from backupd.store.fsio import FileSystem
from backupd.store.repository import Repository
from tests.support.storing import conversation, export_bytes, origin, week

T = TypeVar("T")
FIRST, OTHER = week(1), week(2)
LARGE = export_bytes([conversation(number, turns=60) for number in range(120)])


class Meanwhile(FileSystem):
    """Lets something happen at the first durable write after it was given."""

    def __init__(self) -> None:
        self.happens: Callable[[], object] | None = None

    def operate(self, name: str, path: Path, action: Callable[[], T]) -> T:
        if self.happens is not None and name == "create":
            happens, self.happens = self.happens, None
            happens()
        return super().operate(name, path, action)


@pytest.fixture
def files() -> Meanwhile:
    return Meanwhile()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "export.zip"
    path.write_bytes(FIRST)
    return path


def replaced(path: Path, data: bytes) -> None:
    """Put another file under the name."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(path)


def rewritten(path: Path, data: bytes) -> None:
    """Write other bytes into the same file."""
    before = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(before + 1, before + 1))  # whatever the clock's grain


@pytest.mark.parametrize("data", [FIRST, LARGE], ids=["small", "large"])
def test_the_file_that_was_hashed_is_the_one_that_is_stored(
    tmp_path: Path, files: Meanwhile, source: Path, data: bytes
) -> None:
    """Large members are read in a thread of their own."""
    source.write_bytes(data)
    with Repository.create(tmp_path / "r", files=files) as repository:
        files.happens = lambda: replaced(source, OTHER)

        added = repository.add(source, origin())

        assert added.snapshot.proven_at is not None
        assert b"".join(repository.rebuild(added.snapshot)) == data


@pytest.mark.parametrize("data", [FIRST[:-1], FIRST[:-1] + b"x", OTHER, bytes(len(FIRST))])
def test_a_file_that_is_written_to_meanwhile_is_refused_and_not_quarantined(
    tmp_path: Path, files: Meanwhile, source: Path, data: bytes
) -> None:
    with Repository.create(tmp_path / "r", files=files) as repository:
        files.happens = lambda: rewritten(source, data)

        with pytest.raises(BackupdError, match="changed while it was read"):
            repository.add(source, origin())

        assert repository.snapshots() == []
        assert list((tmp_path / "r/packs").rglob("*.pack")) == []
        assert list((tmp_path / "r/incoming").iterdir()) == []


def test_quarantine_keeps_the_file_that_was_hashed(
    tmp_path: Path, files: Meanwhile, source: Path
) -> None:
    with Repository.create(tmp_path / "r", files=files) as repository:
        files.happens = lambda: replaced(source, OTHER)

        kept = repository.quarantine(source, "no-zip", "says the test", origin())

        assert kept.read_bytes() == FIRST
        assert repository.check(read_data=True).ok


def test_quarantine_refuses_a_file_that_is_written_to_meanwhile(
    tmp_path: Path, files: Meanwhile, source: Path
) -> None:
    with Repository.create(tmp_path / "r", files=files) as repository:
        files.happens = lambda: rewritten(source, OTHER)

        with pytest.raises(BackupdError, match="changed while it was read"):
            repository.quarantine(source, "no-zip", "says the test", origin())

        assert list((tmp_path / "r/quarantine").iterdir()) == []
        assert list((tmp_path / "r/incoming").iterdir()) == []


def test_quarantining_a_big_file_shows_how_far_it_is(tmp_path: Path, source: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    source.write_bytes(b"no zip" * 500_000)
    size = source.stat().st_size

    with Repository.create(tmp_path / "r") as repository:
        repository.quarantine(
            source, "no-zip", "says the test", origin(), lambda *step: seen.append(step)
        )

    assert seen[0] == ("keep", 1 << 20, 2 * size)
    assert seen[-1] == ("keep", 2 * size, 2 * size)
    assert seen == sorted(seen)
