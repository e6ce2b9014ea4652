"""Let each file operation fail, once and for ever, in every way a disk has (tests T4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError, StorageFull
from tests.support.campaign import campaign
from tests.support.operations import (
    Operation,
    RepositoryKind,
    cases,
    examine,
    held,
    make_sources,
    make_template,
    name_of,
)
from tests.support.storing import FULL, Fault, FaultyFs, copied, sample

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE") if FULL else ("EIO", "ENOSPC")
MOST = 4
CLEANING = ("unlink", "rmdir")


def attempt(
    kind: RepositoryKind, operation: Operation, place: Path, sources: Path, files: FaultyFs
) -> BackupdError | None:
    """Do an operation under a fault; return the error that was told, if any."""
    with kind.open(place, False, files) as repository:
        try:
            operation.act(repository, sources)
        except BackupdError as raised:
            return raised
        finally:
            assert held(repository) in operation.may_hold
    return None


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "for-ever"])
@pytest.mark.parametrize(("kind", "operation"), cases(), ids=name_of)
def test_failed_operation_is_told_and_harms_nothing(
    kind: RepositoryKind, operation: Operation, for_ever: bool, tmp_path: Path
) -> None:
    """The error is told, what was stored restores, and the operation succeeds after healing."""
    failures = campaign(f"failed file operation: {operation.name}, {kind.name}")
    sources = make_sources(tmp_path / "sources")
    template = make_template(kind, operation, tmp_path / "template", sources)
    counted = FaultyFs()
    attempt(kind, operation, copied(template, tmp_path / "counted"), sources, counted)

    for error in ERRORS:
        for point in sample(len(counted.names), kind.of(MOST)):
            how = f"{error} {'for ever' if for_ever else 'once'}"
            where = f"{how} {counted.names[point]} {point}"
            place = copied(template, tmp_path / f"{error}-{point}")
            with failures.case(how, point):
                files = FaultyFs(Fault(point, error, for_ever))
                told = attempt(kind, operation, place, sources, files)
                assert told is not None or files.struck in (None, *CLEANING), where
                if error in ("ENOSPC", "EDQUOT"):
                    assert told is None or isinstance(told, StorageFull), where
                assert_not_synced_again(files, point)
                examine(kind, operation, place, sources, where)


def assert_not_synced_again(files: FaultyFs, point: int) -> None:
    """Assert that a file whose fsync failed is given up: a second fsync would lie."""
    if files.struck == "fsync":
        later = list(zip(files.names, files.paths, strict=True))[point + 1 :]
        assert {name for name, path in later if path == files.paths[point]} <= {"unlink"}


@pytest.mark.parametrize(("kind", "operation"), cases(), ids=name_of)
def test_short_writes_lose_nothing(
    kind: RepositoryKind, operation: Operation, tmp_path: Path
) -> None:
    """Half of what is asked is written, at each write in turn and at all of them."""
    shorts = campaign(f"short writes: {operation.name}, {kind.name}")
    sources = make_sources(tmp_path / "sources")
    template = make_template(kind, operation, tmp_path / "template", sources)
    counted = FaultyFs()
    attempt(kind, operation, copied(template, tmp_path / "counted"), sources, counted)
    writes = [number for number, name in enumerate(counted.names) if name == "write"]

    for number in [-1, *(writes[i] for i in sample(len(writes), 2))]:
        place = copied(template, tmp_path / f"short-{number}")
        with shorts.case("half, always" if number < 0 else "half, once", number):
            files = FaultyFs(Fault(max(number, 0), "short", for_ever=number < 0))
            assert attempt(kind, operation, place, sources, files) is None
            examine(kind, operation, place, sources, f"short write {number}")
