"""Verbs with odd output, odd files and odd surroundings."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.storing import week

BACKUPD = f"{sys.executable} -m backupd"


def shell(line: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one line of bash; `backupd` in it is the program on the repository below `directory`."""
    script = f'set -o pipefail; backupd() {{ {BACKUPD} --repository "$PWD/r" "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("odd")
    assert shell("backupd init", directory).returncode == 0
    return directory


@pytest.mark.parametrize("verb", ["snapshots --json", "stats", "config generate", "--help"])
def test_a_reader_that_has_left_is_no_error_to_speak_of(place: Path, verb: str) -> None:
    done = shell(f"backupd {verb} | true", place)

    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("verb", ["snapshots --json", "stats"])
def test_a_full_disk_behind_stdout_is_told_in_one_line(place: Path, verb: str) -> None:
    done = shell(f"backupd {verb} > /dev/full", place)

    assert (done.returncode, done.stderr) == (1, "error: write output: no space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(place: Path, closed: str) -> None:
    assert shell(f"backupd snapshots --json {closed}", place).returncode == 0


@pytest.mark.parametrize("make", ["mkfifo odd.zip", "mkdir odd.zip", "rm -rf odd.zip", "true"])
def test_import_refuses_what_is_no_file_before_anything_is_stored(place: Path, make: str) -> None:
    (place / "good.zip").write_bytes(week(1))
    if make == "true":
        make = "ln -s /dev/zero odd.zip"

    done = shell(f"{make}; backupd import good.zip odd.zip; echo $?; rm -rf odd.zip", place)

    assert done.stdout == "2\n"
    assert done.stderr.startswith('error: import "odd.zip": ')
    assert "next: name " in done.stderr
    assert shell("backupd snapshots --json", place).stdout == "[]\n"


def test_import_goes_on_after_a_file_that_fails_and_writes_names_harmlessly(
    tmp_path: Path,
) -> None:
    shell("backupd init", tmp_path)
    (tmp_path / "good.zip").write_bytes(week(1))
    (tmp_path / "bad.zip").write_bytes(b"<html>")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff\x1b[31m\n.zip")).write_bytes(week(2))

    done = shell("backupd import *.zip", tmp_path)

    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert shell("backupd check --read-data --drill", tmp_path).returncode == 0
    assert shell("backupd snapshots --json", tmp_path).stdout.count('"id"') == 2


def test_the_same_zip_under_two_names_is_stored_once(tmp_path: Path) -> None:
    shell("backupd init", tmp_path)
    (tmp_path / "a.zip").write_bytes(week(1))
    (tmp_path / "b.zip").write_bytes(week(1))

    done = shell("backupd import a.zip b.zip ./a.zip", tmp_path)

    assert done.returncode == 0
    assert done.stderr.count("stored already as") == 1
    assert shell("backupd snapshots --json", tmp_path).stdout.count('"id"') == 1


def test_files_are_private_whatever_the_umask_and_the_locale(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))

    done = shell("umask 0; backupd init && backupd import a.zip", tmp_path, LC_ALL="POSIX")

    assert done.returncode == 0, done.stderr
    made = [tmp_path / "r", *(tmp_path / "r").rglob("*")]
    assert [path for path in made if path.stat().st_mode & 0o077] == []


def test_a_bit_that_turned_in_the_catalog_is_found_and_mended_by_check(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))
    shell("backupd init && backupd import a.zip", tmp_path)
    right = shell("backupd snapshots --json", tmp_path).stdout
    with closing(sqlite3.connect(tmp_path / "r" / "cache" / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("UPDATE snapshots SET new = new + 64")
    assert shell("backupd snapshots --json", tmp_path).stdout != right

    found = shell("backupd check --json", tmp_path)

    assert (found.returncode, json.loads(found.stdout)["problems"]) == (3, [])
    assert "counts" in json.loads(found.stdout)["catalog_mended"]
    assert "made anew" in found.stderr
    assert shell("backupd snapshots --json", tmp_path).stdout == right
    assert shell("backupd check", tmp_path).returncode == 0


def test_a_copy_without_empty_directories_is_a_whole_repository(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))
    (tmp_path / "b.zip").write_bytes(week(2))
    shell("backupd init && backupd import a.zip && rmdir r/*; rm -r r/proofs", tmp_path)

    for verb in ("check", "stats", "rebuild", "import b.zip", "pin latest", "check --drill"):
        done = shell(f"backupd {verb}", tmp_path)
        assert done.returncode == 0, (verb, done.stderr)


def test_an_empty_repository_copied_without_its_directories_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))
    shell("backupd init && rm -r r/*/", tmp_path)

    for verb in ("snapshots", "check", "import a.zip", "check --drill"):
        done = shell(f"backupd {verb}", tmp_path)
        assert done.returncode == 0, (verb, done.stderr)


def test_prune_removes_no_pack_because_all_manifests_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))
    shell("backupd init && backupd import a.zip && rm -r r/snapshots", tmp_path)

    for verb in ("snapshots", "check", "import a.zip", "prune --yes"):
        assert shell(f"backupd {verb}", tmp_path).returncode == 30, verb
    assert len(list((tmp_path / "r" / "packs").rglob("*.pack"))) == 1


def test_a_quarantined_file_that_is_no_more_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"<html>")
    shell("backupd init; backupd import bad.zip; rm -f r/quarantine/*.zip", tmp_path)

    found = shell("backupd check", tmp_path)

    assert found.returncode == 30
    assert "missing" in found.stderr


def test_nothing_is_restored_into_a_stream_that_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))
    shell("backupd init && backupd import a.zip", tmp_path)

    done = shell("backupd restore latest --output - >&-", tmp_path)

    assert done.returncode == 2
    assert "closed" in done.stderr
