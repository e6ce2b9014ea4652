"""Verbs on a copy that cannot be written, at places that are closed or not there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backupd.store.repository import Repository
from tests.cli.test_verbs import backupd
from tests.support import needs, unavailable
from tests.support.storing import put, week

NOBODY = 65534


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A repository that cannot be written, and a directory that somebody else closed."""
    if os.geteuid() != 0:
        unavailable("run as root: the tests make a directory of somebody else's")
    needs("setpriv")
    with Repository.create(tmp_path / "r") as repository:
        put(repository, tmp_path, week(1))
    for path in (tmp_path / "r", *(tmp_path / "r").rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, NOBODY, NOBODY)
    return tmp_path


def confined(*arguments: str | Path, home: str | Path = "/nonexistent") -> tuple[int, bytes, str]:
    """Run a verb without the privileges that open every file to root."""
    done = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all",
         sys.executable, "-m", "backupd", *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "HOME": str(home),
             "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True, cwd="/", timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


def test_a_copy_that_cannot_be_written_is_listed_and_restored(world: Path) -> None:
    code, listed, told = confined("--repository", world / "r", "snapshots", home=world / "closed")
    assert (code, listed.count(b"proven"), told) == (0, 1, "1 snapshot, all proven byte for byte\n")

    code, whole, told = confined("--repository", world / "r", "restore", "latest", "--output", "-")
    assert (code, whole) == (0, week(1))
    assert hashlib.sha256(week(1)).hexdigest() in told

    code, _, told = confined("--repository", world / "r", "pin", "latest")
    assert (code, "let this user write" in told) == (1, True)


def test_a_place_that_others_closed_is_no_internal_error(world: Path) -> None:
    for verb in (["snapshots"], ["init"]):
        code, _, told = confined("--repository", world / "closed" / "r", *verb)

        assert code == 1
        assert "permission denied\nnext: run as the user that owns it" in told


def test_restoring_into_no_directory_names_the_directory(tmp_path: Path) -> None:
    target = tmp_path / "none" / "x.zip"

    done = backupd("--repository", tmp_path, "restore", "latest", "--output", target, code=2)

    assert f'there is no directory "{tmp_path}/none"' in done.stderr


def test_a_full_disk_hinders_nobody_from_reading(tmp_path: Path) -> None:
    """The catalog has no room to be brought up to date: it is made in memory for once."""
    if os.geteuid() != 0:
        unavailable("run as root: the test mounts a disk of its own")
    needs("unshare")
    with Repository.create(tmp_path / "r") as repository:
        put(repository, tmp_path, week(1))
    program = f"{sys.executable} -m backupd --repository disk/r"
    script = f"""
        mkdir disk && mount -t tmpfs -o size=1m tmpfs disk && cp -a r disk/ || exit 90
        cat /dev/zero > disk/ballast 2>/dev/null
        for verb in 'snapshots --json' 'stats --json' check; do
            {program} $verb || exit 91
        done
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert '"total": 21' in done.stdout
    assert "no damage" in done.stderr
