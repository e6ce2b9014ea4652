"""`forget`, `prune`, `pin`, `unpin` as a person or a script meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from backupd.store.repository import Repository
from tests.cli.test_verbs import backupd, store
from tests.support.retention import pack_bytes, week, weeks

WEEKS = 5


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weeks(tmp_path_factory.mktemp("retention"), WEEKS)


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "repository"))


def listed(place: Path) -> list[str]:
    return [entry["file_name"] for entry in json.loads(store(place, "snapshots", "--json"))]


def test_forget_tells_every_decision_with_its_reason_and_what_stays(place: Path) -> None:
    done = backupd("--repository", place, "forget", "--keep-last", "2", "--dry-run")

    rows = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert sum("no rule keeps it" in row[-1] for row in rows) == WEEKS - 2
    assert sum("last" in row[-1] and "keep " in row[-1] for row in rows) == 2
    assert "newest complete" in done.stdout
    assert "stays: conversation brief-0, 1 version(s): gone upstream" in done.stdout
    assert "stays: asset file-Brief0-photo.png: shown by conversation brief-0" in done.stdout
    assert len(listed(place)) == WEEKS


def test_forget_and_prune_in_one_go_give_space_back(place: Path, tmp_path: Path) -> None:
    before = pack_bytes(place)

    text = store(place, "forget", "--keep-last", "1", "--prune", "--yes", "--json")

    told = json.loads(text)
    assert told["forgotten"] is True
    assert [each["keep"] for each in told["snapshots"]] == [False] * (WEEKS - 1) + [True]
    assert {each["reason"] for each in told["remainder"]["conversations"]} == {"gone"}
    assert told["pruned"]["bytes_before"] == before
    assert told["pruned"]["bytes_after"] == pack_bytes(place) < before
    store(place, "check", "--read-data", "--drill")
    store(place, "restore", "latest", "--output", tmp_path / "back.zip")
    assert (tmp_path / "back.zip").read_bytes() == week(WEEKS - 1)


@pytest.mark.parametrize("arguments", [("forget", "--keep-last", "1"), ("prune",)])
def test_off_a_terminal_destruction_needs_yes(place: Path, arguments: tuple[str, ...]) -> None:
    if arguments == ("prune",):
        store(place, "forget", "--keep-last", "1", "--yes")
    before = listed(place), pack_bytes(place)

    done = backupd("--repository", place, *arguments, code=2)

    assert "--yes" in done.stderr
    assert (listed(place), pack_bytes(place)) == before


def test_forget_without_a_rule_keeps_everything_and_says_so(place: Path) -> None:
    done = backupd("--repository", place, "forget", "--yes", code=2)

    assert "everything is kept" in done.stderr and "--keep-last" in done.stderr
    assert len(listed(place)) == WEEKS


def test_pin_keeps_a_snapshot_until_unpin(place: Path) -> None:
    first = json.loads(store(place, "snapshots", "--json"))[0]["id"]
    store(place, "pin", first[:10])
    assert "already" in backupd("--repository", place, "pin", first).stderr

    store(place, "forget", "--keep-last", "1", "--yes")
    assert listed(place) == ["week-0.zip", f"week-{WEEKS - 1}.zip"]

    store(place, "unpin", first)
    store(place, "forget", "--keep-last", "1", "--yes")
    assert listed(place) == [f"week-{WEEKS - 1}.zip"]


def test_prune_dry_run_changes_nothing(place: Path) -> None:
    store(place, "forget", "--keep-last", "1", "--yes")
    before = pack_bytes(place)

    told = json.loads(store(place, "prune", "--dry-run", "--json"))

    assert told["bytes_before"] == before == pack_bytes(place)
    assert told["bytes_after"] < before
    assert json.loads(store(place, "prune", "--yes", "--json"))["bytes_after"] < before


def test_nothing_to_forget_and_nothing_to_prune_is_fine(place: Path) -> None:
    store(place, "forget", "--keep-last", "99")
    assert "nothing to give back" in backupd("--repository", place, "prune").stderr


def test_writing_verbs_are_refused_while_another_writes(place: Path) -> None:
    with Repository.open(place, write=True):
        for arguments in (("forget", "--keep-last", "1", "--yes"), ("pin", "latest")):
            backupd("--repository", place, *arguments, code=11)
