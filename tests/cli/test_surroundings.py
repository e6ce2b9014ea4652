"""Verbs as another user, on a copy that cannot be written, with places that are not there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.store.repository import Repository
from tests.cli.test_verbs import backupd
from tests.support import unavailable
from tests.support.storing import put, week

NOBODY = 65534


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """A directory that all may enter, with a repository of nobody's that cannot be written."""
    if os.geteuid() != 0:
        unavailable("run as root: the tests act as another user")
    if as_nobody("--version")[0] != 0:
        unavailable("let other users read this checkout and its Python: the tests act as one")
    place = Path("/tmp") / f"backupd-{tmp_path.parent.name}-{tmp_path.name}"
    place.mkdir(mode=0o755)
    with Repository.create(place / "r") as repository:
        put(repository, place, week(1))
    for path in (place / "r", *(place / "r").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        yield place
    finally:
        shutil.rmtree(place)


def as_nobody(*arguments: str | Path, home: str = "/nonexistent") -> tuple[int, bytes, str]:
    done = subprocess.run(
        [sys.executable, "-m", "backupd", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": home,
             "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, cwd="/", timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_copy_that_cannot_be_written_is_listed_and_restored(world: Path) -> None:
    code, listed, told = as_nobody("--repository", world / "r", "snapshots", home="/root")
    assert (code, listed.count(b"proven"), told) == (0, 1, "1 snapshot, all proven byte for byte\n")

    code, whole, told = as_nobody("--repository", world / "r", "restore", "latest", "--output", "-")
    assert (code, whole) == (0, week(1))
    assert hashlib.sha256(week(1)).hexdigest() in told

    code, _, told = as_nobody("--repository", world / "r", "pin", "latest")
    assert (code, "let this user write" in told) == (1, True)


def test_a_place_that_others_closed_is_no_internal_error(world: Path) -> None:
    closed = world / "closed"
    closed.mkdir(mode=0o700)

    for verb in (["snapshots"], ["init"]):
        code, _, told = as_nobody("--repository", closed / "r", *verb)

        assert code == 1
        assert "permission denied\nnext: run as the user that owns it" in told


def test_restoring_into_no_directory_names_the_directory(tmp_path: Path) -> None:
    target = tmp_path / "none" / "x.zip"

    done = backupd("--repository", tmp_path, "restore", "latest", "--output", target, code=2)

    assert f'there is no directory "{tmp_path}/none"' in done.stderr
