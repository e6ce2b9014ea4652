"""Kill `init --encrypt` at every system call: no repository, or one that its keys open (T1).

Never one that nobody can open: whoever finds a header has been handed the recovery key before.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backupd.errors import RepositoryMissing
from backupd.store.repository import Access, Repository
from tests.support import needs
from tests.support.campaign import campaign
from tests.support.sealing import PASSPHRASE, handed_over, opened
from tests.support.storing import put, sample, week
from tests.support.syscalls import KILLED, Point, killed_at, points, program, run

MOST = 3


def init(scene: Path) -> list[str]:
    """Return the command that makes an encrypted repository in a directory, its paper beside it."""
    words = ("init", "--encrypt", "--recovery-key-file", scene / "paper")
    line = program("-m", "backupd", "--repository", scene / "r", *words)
    return ["env", f"CREDENTIALS_DIRECTORY={scene.parent / 'credentials'}", *line]


def fresh(directory: Path, name: str) -> Path:
    """Make an empty directory for a try."""
    (directory / name).mkdir()
    return directory / name


@pytest.fixture
def every_point(tmp_path: Path) -> list[Point]:
    """Every call below the directory that changes a file, in order."""
    needs("strace")
    handed_over(PASSPHRASE, tmp_path / "credentials")
    scene = fresh(tmp_path, "0000")
    found = points(init(scene), scene, tmp_path / "trace")
    assert sum(point.call in ("link", "linkat") for point in found) == 4, "paper, keys, header"
    return found


def test_killed_creation_leaves_nothing_that_nobody_can_open(
    every_point: list[Point], tmp_path: Path
) -> None:
    kills = campaign("kill -9 at system calls: init --encrypt")
    for number in sample(len(every_point), MOST):
        point = every_point[number]
        scene = fresh(tmp_path, f"{number:04d}x")
        with kills.case("kill", f"{point.call} {point.number}"):
            done = killed_at(init(scene), point)
            assert done.returncode == KILLED, f"{point}: {done.stderr}"
            examine(scene, str(point))


def examine(scene: Path, where: str) -> None:
    paper = scene / "paper"
    if not (scene / "r/backupd-repository.json").exists():
        with pytest.raises(RepositoryMissing):
            opened(scene / "r")
        if paper.exists():
            paper.unlink()  # it opens nothing, and is not overwritten
        assert run(init(scene)).returncode == 0, where
    with opened(scene / "r") as repository:
        put(repository, scene, week(1))
    recovery = Access(recovery_key=paper.read_text, cache="memory")
    with Repository.open(scene / "r", access=recovery) as repository:
        assert [b"".join(repository.rebuild(s)) for s in repository.snapshots()] == [week(1)]
        assert repository.check(read_data=True).problems == (), where
