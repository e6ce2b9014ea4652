"""Pull the plug at every system call of an import: what was acknowledged is there (tests T2).

The repository lies in an image file of its own; the process is killed at the point and the file
system is shut down without flushing its log, then mounted again. The same with fsync taken out of
the program must fail: that shows that these tests see what they look for.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backupd.errors import BackupdError
from tests.support import FULL, images
from tests.support.campaign import campaign
from tests.support.operations import (
    KINDS,
    PLAIN,
    RepositoryKind,
    Weeks,
    adding,
    held,
    make_sources,
    make_template,
    name_of,
    operation_named,
    source_of,
)
from tests.support.sealing import handed_over
from tests.support.storing import sample
from tests.support.syscalls import KILLED, Point, killed_at, points, program, run

MOST = 6
FILE_SYSTEMS = ["ext4", "xfs"] if FULL else ["ext4"]
ADD = operation_named("add")
_ACKNOWLEDGED = re.compile(r"week-(\d)\.zip: \d+ new, ")


class Disk:
    """An image with a repository that holds week 1; weeks 2 and 3 are imported and cut off."""

    def __init__(self, kind: RepositoryKind, disk: str, module: str, directory: Path) -> None:
        images.require(disk, directory)
        self.kind = kind
        self._gold = images.make(disk, directory / "gold")
        self._image = directory / "image"
        self._after = directory / "after"
        self._place = directory / "mounted"
        self.sources = make_sources(directory / "sources")
        template = make_template(kind, ADD, directory / "template", self.sources)
        with images.mounted(self._gold, self._place):
            shutil.copytree(template, self.repository)
        zips = [source_of(self.sources, number) for number in (2, 3)]
        self._command = program("-m", module, "--repository", self.repository, "import", *zips)
        if kind.keys is not None:
            secrets = handed_over(kind.keys.passphrase, directory / "credentials")
            self._command = ["env", f"CREDENTIALS_DIRECTORY={secrets}", *self._command]
        with self._fresh():
            self.points = points(self._command, self.repository, directory / "trace")

    @property
    def repository(self) -> Path:
        """Where the repository is while the image is mounted."""
        return self._place / "r"

    def _fresh(self) -> images.Mount:
        return images.mounted(images.copy_image(self._gold, self._image), self._place)

    def survives(self, point: Point | None, examine: Callable[[Path, Weeks], None]) -> None:
        """Cut the power at a point, or when all is done; let `examine` see what is left."""
        with self._fresh():
            done = killed_at(self._command, point) if point else run(self._command)
            assert done.returncode == (KILLED if point else 0), f"{point}: {done.stderr}"
            acknowledged = tuple(int(number) for number in _ACKNOWLEDGED.findall(done.stderr))
            assert point is not None or acknowledged == (2, 3), done.stderr
            images.cut(self._place)
        # A copy: a container that took over all mounts meanwhile still holds the dead one.
        with images.mounted(images.copy_image(self._image, self._after), self._place):
            examine(self.repository, acknowledged)


def whole(disk: Disk) -> Callable[[Path, Weeks], None]:
    """Return what asserts that it opens, that all acknowledged restore, and that the rest goes in.

    The first argument is the repository, the second the weeks that were acknowledged.
    """

    def examine(place: Path, acknowledged: Weeks) -> None:
        with disk.kind.open(place, True, None) as repository:
            assert not list(repository.incoming.iterdir())
            weeks = held(repository)
            assert set(weeks) >= {1, *acknowledged}
            assert len(weeks) == len(repository.snapshots()) == len(set(weeks))
            problems = repository.check(read_data=True).problems
            assert problems == (), [problem.text for problem in problems]
            for number in (2, 3):
                adding(number)(repository, disk.sources)
            assert held(repository) == (1, 2, 3)

    return examine


@pytest.mark.parametrize("file_system", FILE_SYSTEMS)
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_power_cut_loses_nothing_that_was_acknowledged(
    kind: RepositoryKind, file_system: str, tmp_path: Path
) -> None:
    cuts = campaign(f"power cut, {file_system}, {kind.name}")
    disk = Disk(kind, file_system, "backupd", tmp_path)

    for point in [*(disk.points[n] for n in sample(len(disk.points), kind.of(MOST))), None]:
        where = f"{point.call} {point.number}" if point else "end"
        with cuts.case("cut", where):
            disk.survives(point, whole(disk))


@pytest.mark.parametrize("file_system", FILE_SYSTEMS)
def test_power_cut_without_fsync_is_caught(file_system: str, tmp_path: Path) -> None:
    """The negative control: a program that only promises durability loses exports here."""
    control = campaign(f"power cut, {file_system}, fsync taken out: caught")
    disk = Disk(PLAIN, file_system, "tests.support.forgetful", tmp_path)
    later = disk.points[len(disk.points) // 2 :]
    cuts = [*(later[n] for n in sample(len(later), 3)), None]
    caught = 0

    for point in cuts:
        try:
            disk.survives(point, whole(disk))
        except (AssertionError, BackupdError):
            caught += 1
    control.note = f"{caught} of {len(cuts)} cuts found an export lost or torn"
    with control.case("fsync taken out", "second half"):
        assert caught > 0
