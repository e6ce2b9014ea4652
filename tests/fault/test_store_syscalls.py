"""Kill, or fail, at every system call that changes a file: SQLite's commits too (tests T1, T4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import needs
from tests.support.campaign import campaign
from tests.support.operations import (
    PLAIN,
    Operation,
    RepositoryKind,
    cases,
    examine,
    make_sources,
    make_template,
    name_of,
    operation_named,
    source_of,
)
from tests.support.storing import FULL, copied, sample
from tests.support.syscalls import KILLED, Point, failed_at, killed_at, points, program

MOST = 2
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE") if FULL else ("EIO", "ENOSPC")
ADD = operation_named("add")
# What is around the store is the same for all kinds.
TRIED = [case for case in cases() if FULL or case[0] is PLAIN or case[1] is ADD]
BY_COMMAND = cases([ADD])


def command_of(kind: RepositoryKind, operation: Operation, place: Path, sources: Path) -> list[str]:
    """Return the command that does an operation: the program's own `import`, where it is one."""
    if operation is ADD and kind is PLAIN:
        zip_file = source_of(sources, 2)
        return program("-m", "backupd", "--repository", place, "import", zip_file)
    module = "tests.support.operations"
    return program("-m", module, kind.name, operation.name, place, sources)


class Scene:
    """One operation on copies of one template, each under a name of the same length."""

    def __init__(self, kind: RepositoryKind, operation: Operation, directory: Path) -> None:
        self.sources = make_sources(directory / "sources")
        self.template = make_template(kind, operation, directory / "template", self.sources)
        self._kind, self._operation, self._directory = kind, operation, directory
        place, command = self.fresh("0000")
        self.points = points(command, place, directory / "trace")

    def fresh(self, name: str) -> tuple[Path, list[str]]:
        """Return a copy of the template and the command that does the operation in it."""
        place = copied(self.template, self._directory / name)
        return place, command_of(self._kind, self._operation, place, self.sources)

    def sampled(self, most: int) -> list[tuple[str, Point]]:
        """Return some points, each with a name for its copy."""
        return [(f"{n:04d}x", self.points[n]) for n in sample(len(self.points), most)]


@pytest.mark.parametrize(("kind", "operation"), TRIED, ids=name_of)
def test_operation_killed_at_a_system_call_is_whole_or_absent(
    kind: RepositoryKind, operation: Operation, tmp_path: Path
) -> None:
    needs("strace")
    kills = campaign(f"kill -9 at system calls: {operation.name}, {kind.name}")
    scene = Scene(kind, operation, tmp_path)

    for name, point in scene.sampled(MOST):
        place, command = scene.fresh(name)
        with kills.case("kill", f"{point.call} {point.number}"):
            done = killed_at(command, point)
            assert done.returncode == KILLED or kind.ended(done.returncode), (
                f"{point}: {done.stderr}"
            )
            examine(kind, operation, place, scene.sources, str(point))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(("kind", "operation"), BY_COMMAND, ids=name_of)
def test_failed_system_call_is_told_and_harms_nothing(
    kind: RepositoryKind, operation: Operation, error: str, tmp_path: Path
) -> None:
    """One understandable line, no trace of a program error; what is stored stays so."""
    needs("strace")
    failures = campaign(f"failed system call: {operation.name}, {kind.name}")
    scene = Scene(kind, operation, tmp_path)

    for name, point in scene.sampled(MOST):
        place, command = scene.fresh(name)
        with failures.case(error, f"{point.call} {point.number}"):
            done = failed_at(command, point, error, tmp_path / "trace", for_ever=False)
            assert done.returncode >= 0, f"{point}: {done.stderr}"
            assert "Traceback" not in done.stderr, f"{error} at {point}: {done.stderr}"
            examine(kind, operation, place, scene.sources, f"{error} at {point}")
