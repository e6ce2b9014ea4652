"""Kill the process before, after and in the middle of every file operation (tests I1-I5, T1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import BackupdError
from tests.support.campaign import campaign
from tests.support.operations import (
    KINDS,
    OPERATIONS,
    Operation,
    RepositoryKind,
    examine,
    make_sources,
    make_template,
    perform,
)
from tests.support.storing import KILLED, Fault, FaultyFs, copied, in_child, sample

MOST = 4


def perform_struck(kind: str, name: str, place: Path, sources: Path, fault: Fault) -> None:
    """Do an operation in which the process ends."""
    perform(kind, name, place, sources, FaultyFs(fault))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
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
        for point in (points[i] for i in sample(len(points), MOST)):
            where = f"{how} {counted.names[point]} {point}"
            place = copied(template, tmp_path / f"{how}-{point}")
            with kills.case(how, point):
                fault = Fault(point, how)
                arguments = (kind.name, operation.name, place, sources, fault)
                assert in_child(perform_struck, *arguments) == KILLED, where
                examine(kind, operation, place, sources, where)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_killed_creation_can_be_repeated(kind: RepositoryKind, tmp_path: Path) -> None:
    """A broken-off `create` is no repository yet and does not stand in the way of the next."""
    failures = campaign(f"failed file operation: create, {kind.name}")
    files = FaultyFs()
    kind.create(tmp_path / "counted", files).close()

    for point in range(len(files.names)):
        place = tmp_path / str(point)
        with failures.case("EIO", point):
            with pytest.raises(BackupdError, match="Input/output error"):
                kind.create(place, FaultyFs(Fault(point, "EIO")))
            if not (place / "backupd-repository.json").exists():
                kind.create(place, None).close()
            kind.open(place, False, None).close()
