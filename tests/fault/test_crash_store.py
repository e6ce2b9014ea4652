"""Kill the process before, after and in the middle of every file operation (tests I1-I5, T1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError, RepositoryMissing
from backupd.store.repository import Repository
from tests.support.campaign import campaign
from tests.support.operations import (
    ENCRYPTED,
    KINDS,
    Operation,
    RepositoryKind,
    cases,
    create_struck,
    examine,
    make_sources,
    make_template,
    name_of,
    perform,
    perform_struck,
)
from tests.support.sealing import by_recovery_key
from tests.support.storing import KILLED, Fault, FaultyFs, copied, in_child, sample

MOST = 4


@pytest.mark.parametrize(("kind", "operation"), cases(), ids=name_of)
def test_killed_operation_is_whole_or_absent(
    kind: RepositoryKind, operation: Operation, tmp_path: Path
) -> None:
    """Every committed export restores, the one in flight is whole or absent, nothing is left."""
    kills = campaign(f"kill -9 at file operations: {operation.name}, {kind.name}")
    sources = make_sources(tmp_path / "sources")
    template = make_template(kind, operation, tmp_path / "template", sources)
    counted = FaultyFs()
    perform(kind.name, operation.name, copied(template, tmp_path / "counted"), sources, counted)

    for how in ("before", "half", "after"):
        points = [n for n, name in enumerate(counted.names) if how != "half" or name == "write"]
        for point in (points[i] for i in sample(len(points), kind.of(MOST))):
            where = f"{how} {counted.names[point]} {point}"
            place = copied(template, tmp_path / f"{how}-{point}")
            with kills.case(how, point):
                fault = Fault(point, how)
                arguments = (kind.name, operation.name, place, sources, fault)
                assert kind.ended(in_child(perform_struck, *arguments)), where
                examine(kind, operation, place, sources, where)


def assert_absent_or_usable(kind: RepositoryKind, place: Path, where: str) -> None:
    """A header stands for a repository that every promised key opens; without one, begin anew."""
    if not (place / "backupd-repository.json").exists():
        with pytest.raises(RepositoryMissing):
            kind.open(place, False, None)
        kind.create(place, None).close()
    accesses = [kind.access(), by_recovery_key()] if kind is ENCRYPTED else [kind.access()]
    for access in accesses:
        with Repository.open(place, write=True, access=access) as repository:
            assert repository.check(read_data=True).problems == (), where
            assert len(repository.keys.all() if repository.keys else ()) == (kind is ENCRYPTED) * 2


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_failed_creation_can_be_repeated(kind: RepositoryKind, tmp_path: Path) -> None:
    """A broken-off `create` is no repository yet and does not stand in the way of the next."""
    failures = campaign(f"failed file operation: create, {kind.name}")
    files = FaultyFs()
    kind.create(tmp_path / "counted", files).close()

    for point in range(len(files.names)):
        place = tmp_path / str(point)
        with failures.case("EIO", point):
            with pytest.raises(BackupdError, match="Input/output error"):
                kind.create(place, FaultyFs(Fault(point, "EIO")))
            assert_absent_or_usable(kind, place, f"EIO {files.names[point]} {point}")


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_killed_creation_leaves_no_repository_or_a_usable_one(
    kind: RepositoryKind, tmp_path: Path
) -> None:
    kills = campaign(f"kill -9 at file operations: create, {kind.name}")
    files = FaultyFs()
    kind.create(tmp_path / "counted", files).close()

    for how in ("before", "half", "after"):
        points = [n for n, name in enumerate(files.names) if how != "half" or name == "write"]
        for point in (points[i] for i in sample(len(points), MOST)):
            where = f"{how} {files.names[point]} {point}"
            place = tmp_path / f"{how}-{point}"
            with kills.case(how, point):
                assert in_child(create_struck, kind.name, place, Fault(point, how)) == KILLED
                assert_absent_or_usable(kind, place, where)
