"""`forget`, `prune`, `pin`, `unpin` as a person or a script meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from backupd.store.repository import Repository
from tests.cli.test_verbs import backupd, store
from tests.support.operations import ENCRYPTED
from tests.support.retention import pack_bytes, week, weeks
from tests.support.sealing import PASSPHRASE, changed, flipped, handed_over
from tests.support.storing import files_below

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


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encrypted repository of as many weeks, with the credential beside it."""
    root = tmp_path_factory.mktemp("sealed")
    handed_over(PASSPHRASE, root / "credentials")
    return weeks(root, WEEKS, ENCRYPTED)


def test_retention_of_an_encrypted_repository_does_the_same_and_tells_nothing(
    sealed: Path, tmp_path: Path
) -> None:
    """Pin, forget, prune, and what stays restored, each by a command of its own."""
    place = Path(shutil.copytree(sealed, tmp_path / "repository"))
    known = {"CREDENTIALS_DIRECTORY": str(sealed.parent / "credentials")}

    def does(*arguments: str | Path, code: int = 0) -> str:
        return backupd("--repository", place, *arguments, code=code, **known).stdout

    first = json.loads(does("snapshots", "--json"))[0]["id"]
    does("pin", first[:10])
    before = pack_bytes(place)
    planned = json.loads(does("forget", "--keep-last", "1", "--dry-run", "--json"))
    assert [each["keep"] for each in planned["snapshots"]] == [True, *[False] * (WEEKS - 2), True]
    does("unpin", first)
    told = json.loads(does("forget", "--keep-last", "1", "--prune", "--yes", "--json"))
    does("pin", "latest")

    assert {each["reason"] for each in told["remainder"]["conversations"]} == {"gone"}
    assert told["pruned"]["bytes_after"] == pack_bytes(place) < before
    assert json.loads(does("prune", "--dry-run", "--json"))["bytes_before"] == pack_bytes(place)
    does("restore", "remainder", "--output", tmp_path / "remainder")
    restored = {path.stem for path in (tmp_path / "remainder").rglob("*") if path.is_file()}
    assert {f"file-Brief{number}-photo" for number in range(WEEKS - 2)} <= restored
    does("restore", "latest", "--output", tmp_path / "back.zip")
    assert (tmp_path / "back.zip").read_bytes() == week(WEEKS - 1)
    does("check", "--read-data", "--drill")
    for path in place.rglob("*"):
        if path.is_file() and path.parent.name in ("pins", "remainders", "snapshots", "proofs"):
            assert b"brief-" not in path.read_bytes() and not path.read_bytes().startswith(b"{")


@pytest.mark.parametrize(
    "arguments", [("pin", "latest"), ("forget", "--keep-last", "1", "--yes"), ("prune", "--yes")]
)
def test_retention_without_the_passphrase_changes_nothing(
    sealed: Path, arguments: tuple[str, ...]
) -> None:
    before = files_below(sealed)

    backupd("--repository", sealed, *arguments, code=12)

    assert files_below(sealed) == before


def test_check_names_what_is_damaged_beside_the_snapshots(sealed: Path, tmp_path: Path) -> None:
    """A pin, a remainder, the note of a refused file: all sealed, each named."""
    place = Path(shutil.copytree(sealed, tmp_path / "repository"))
    known = {"CREDENTIALS_DIRECTORY": str(sealed.parent / "credentials")}
    (tmp_path / "bad.zip").write_bytes(b"no zip at all")
    backupd("--repository", place, "import", tmp_path / "bad.zip", code=3, **known)
    backupd("--repository", place, "forget", "--keep-last", "1", "--yes", **known)
    backupd("--repository", place, "pin", "latest", **known)
    names = [name for name in sorted(files_below(place)) if name.endswith(".note")]
    names += [name for name in sorted(files_below(place)) if name.startswith(("pins", "remain"))]
    assert len(names) == 3
    for name in names:
        changed(place / name, flipped(100))

    told = json.loads(
        backupd("--repository", place, "check", "--read-data", "--json", code=30, **known).stdout
    )

    assert sorted(problem.split(":")[0] for problem in told["problems"]) == sorted(names)
