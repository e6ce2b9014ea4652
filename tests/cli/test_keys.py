"""Encrypted repositories at the command line: making one, its keys, and what is asked of whom."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from backupd.store.derived import lies_in_memory
from tests.cli.test_verbs import backupd
from tests.support.sealing import PASSPHRASE, made
from tests.support.storing import week
from tests.support.terminal import Terminal

NEW = "another long passphrase"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Credentials as systemd hands them over."""
    directory = tmp_path / "credentials"
    directory.mkdir(mode=0o700)
    (directory / "repository").write_text(PASSPHRASE + "\n")
    return directory


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made(tmp_path / "repository").close()
    return tmp_path / "repository"


def run(
    repository: Path, secrets: Path | None, *arguments: str | Path, code: int = 0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    known = {"CREDENTIALS_DIRECTORY": str(secrets)} if secrets else {}
    return backupd("--repository", repository, *arguments, code=code, stdin=stdin, **known)


def keys(repository: Path) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(run(repository, None, "key", "list", "--json").stdout)
    return listed


def test_off_a_terminal_the_recovery_key_goes_to_a_file(tmp_path: Path, secrets: Path) -> None:
    place, paper = tmp_path / "r", tmp_path / "paper"

    done = run(place, secrets, "init", "--encrypt", "--recovery-key-file", paper)

    key = paper.read_text().strip()
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){8}[0-9A-HJKMNP-TV-Z]{4}", key)
    assert paper.stat().st_mode & 0o777 == 0o600
    assert key not in done.stdout + done.stderr
    assert [k["kind"] for k in keys(place)].count("recovery") == 1
    assert all(key not in p.read_text("latin-1") for p in place.rglob("*") if p.is_file())


def test_nothing_is_made_without_passphrase_or_receiver(tmp_path: Path, secrets: Path) -> None:
    place, paper = tmp_path / "r", tmp_path / "paper"

    assert "--recovery-key-file" in run(place, secrets, "init", "--encrypt", code=2).stderr
    run(place, None, "init", "--encrypt", "--recovery-key-file", paper, code=12)
    run(place, secrets, "init", "--encrypt", "--recovery-key-file", place / "paper", code=2)
    (secrets / "repository").write_text("short")
    run(place, secrets, "init", "--encrypt", "--recovery-key-file", paper, code=2)
    assert not place.exists()
    assert not paper.exists()


def test_a_place_that_is_taken_is_refused_before_a_key_is_shown(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    paper = tmp_path / "paper"
    run(repository, secrets, "init", "--encrypt", "--recovery-key-file", paper, code=1)
    assert not paper.exists()


def test_store_verbs_work_with_the_credential(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(week(1))

    run(repository, secrets, "import", tmp_path / "a.zip")
    listed = json.loads(run(repository, secrets, "snapshots", "--json").stdout)
    run(repository, secrets, "check", "--read-data", "--drill")
    run(repository, secrets, "stats")
    run(repository, secrets, "restore", "latest", "--output", tmp_path / "back.zip")

    assert listed[0]["conversations"]["total"] == 21
    assert (tmp_path / "back.zip").read_bytes() == week(1)
    assert not list((repository / "cache").iterdir())


def test_a_quarantined_file_is_given_back(repository: Path, secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip at all")
    told = run(repository, secrets, "import", tmp_path / "a.zip", code=3).stderr
    name = re.search(r"quarantine/(\w{12})", told)
    assert name is not None

    run(repository, secrets, "restore", f"quarantine/{name[1]}", "--output", tmp_path / "b")

    assert (tmp_path / "b").read_bytes() == b"no zip at all"


@pytest.mark.parametrize("verb", ["snapshots", "key export"])
def test_a_wrong_or_missing_passphrase_is_exit_code_12(
    repository: Path, secrets: Path, verb: str
) -> None:
    run(repository, None, *verb.split(), code=12)
    (secrets / "repository").write_text("a wrong passphrase")
    told = run(repository, secrets, *verb.split(), code=12).stderr
    assert "no key opens with this passphrase" in told
    assert "a wrong passphrase" not in told


def test_passphrase_is_changed_by_adding_and_removing(repository: Path, secrets: Path) -> None:
    old = next(key["id"] for key in keys(repository) if key["kind"] == "passphrase")

    run(repository, secrets, "key", "add", stdin=NEW + "\n")
    assert (
        "opened the repository"
        in run(repository, secrets, "key", "remove", old, "--yes", code=2).stderr
    )
    run(repository, secrets, "check")
    (secrets / "repository").write_text(NEW)
    run(repository, secrets, "key", "remove", old[:10], "--yes")

    run(repository, secrets, "check")
    (secrets / "repository").write_text(PASSPHRASE)
    run(repository, secrets, "check", code=12)
    assert old not in [key["id"] for key in keys(repository)]


def test_removing_is_asked_for_and_refused_where_nobody_answers(
    repository: Path, secrets: Path
) -> None:
    recovery = next(key["id"] for key in keys(repository) if key["kind"] == "recovery")

    assert "--yes" in run(repository, secrets, "key", "remove", recovery, code=2).stderr
    assert (
        "there is none" in run(repository, secrets, "key", "remove", "zz", "--yes", code=2).stderr
    )
    told = run(repository, secrets, "key", "remove", recovery, "--yes").stderr
    assert "no recovery key is left" in told
    assert len(keys(repository)) == 1


def test_recovery_key_sets_a_new_passphrase(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    paper = tmp_path / "paper"
    run(repository, secrets, "key", "add", "--recovery", "--recovery-key-file", paper)
    recover = ("key", "recover", "--recovery-key-file", paper)

    run(repository, None, *recover, stdin=NEW + "\n")
    (secrets / "repository").write_text(NEW)
    run(repository, secrets, "check")
    for lost in [k["id"] for k in keys(repository) if k["kind"] == "passphrase"][:1]:
        run(repository, secrets, "key", "remove", lost, "--yes")
    assert "shorter than" in run(repository, None, *recover, stdin="x\n", code=2).stderr
    paper.write_text(paper.read_text().replace("-", "", 1)[1:])
    assert "recovery key:" in run(repository, None, *recover, stdin=NEW, code=12).stderr


def test_exported_master_key_opens_without_any_key_file(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    text = run(repository, secrets, "key", "export").stdout
    run(repository, secrets, "key", "export", "--output", tmp_path / "safe")
    assert (tmp_path / "safe").read_text() == text
    assert (tmp_path / "safe").stat().st_mode & 0o777 == 0o600
    for path in (repository / "keys").iterdir():
        path.unlink()

    run(repository, secrets, "check", code=12)
    run(repository, None, "key", "recover", "--recovery-key-file", tmp_path / "safe", stdin=NEW)
    (secrets / "repository").write_text(NEW)
    run(repository, secrets, "check")


def test_a_master_key_of_another_repository_is_refused(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    made(tmp_path / "other").close()
    run(tmp_path / "other", secrets, "key", "export", "--output", tmp_path / "safe")

    recover = ("key", "recover", "--recovery-key-file", tmp_path / "safe")
    assert "another repository" in run(repository, None, *recover, stdin=NEW, code=12).stderr


def test_keys_of_a_plain_repository_are_refused(tmp_path: Path, secrets: Path) -> None:
    run(tmp_path / "plain", None, "init")

    for verb in (("list",), ("export",), ("add",)):
        told = run(tmp_path / "plain", secrets, "key", *verb, code=2).stderr
        assert "not encrypted" in told


def test_the_daemon_ends_with_exit_code_12_without_the_passphrase(
    repository: Path, tmp_path: Path
) -> None:
    """The unit does not restart it then: a person must act."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[repository]\npath = "{repository}"\n[state]\npath = "{tmp_path}/state"\n'
        '[credentials.repository]\ncommand = ["echo", "a wrong passphrase"]\n'
    )

    told = backupd("--config", config, "run", code=12).stderr

    assert "no key opens with this passphrase" in told


def test_one_pass_stores_from_the_drop_folder(
    repository: Path, secrets: Path, tmp_path: Path
) -> None:
    drop, config = tmp_path / "drop", tmp_path / "config.toml"
    drop.mkdir()
    (drop / "export.zip").write_bytes(week(1))
    config.write_text(
        f'[repository]\npath = "{repository}"\n[state]\npath = "{tmp_path}/state"\n'
        '[mailboxes.m]\nhost = "localhost"\nport = 1\nusername = "u"\n'
        f'drop_folder = "{drop}"\n'
    )
    (secrets / "imap-m").write_text("x")

    backupd("--config", config, "poll", code=20, CREDENTIALS_DIRECTORY=str(secrets))

    listed = json.loads(run(repository, secrets, "snapshots", "--json").stdout)
    assert [entry["conversations"]["total"] for entry in listed] == [21]
    assert not list(drop.iterdir())


def test_configuration_names_credential_and_cache(tmp_path: Path, secrets: Path) -> None:
    if lies_in_memory(tmp_path):
        pytest.skip("the directory for temporary files lies in memory itself")
    (secrets / "archive").write_text(PASSPHRASE)
    config = tmp_path / "config.toml"
    config.write_text(
        f'[repository]\npath = "{tmp_path}/r"\ncredential = "archive"\ncache = "{tmp_path}/c"\n'
        f'[state]\npath = "{tmp_path}/state"\n'
    )
    known = {"CREDENTIALS_DIRECTORY": str(secrets)}
    assert "--encrypt" in backupd("--config", config, "init", code=2, **known).stderr
    paper = ("--recovery-key-file", tmp_path / "paper")

    backupd("--config", config, "init", "--encrypt", *paper, **known)
    status = json.loads(backupd("--config", config, "status", "--json", code=None, **known).stdout)
    shown = backupd("--config", config, "status", code=None, **known).stdout
    found = backupd("--config", config, "doctor", "--json", code=None, **known).stdout

    assert status["encrypted"] is True
    assert f"can be read in {tmp_path}/c" in shown
    (encryption,) = [entry for entry in json.loads(found) if entry["check"] == "encryption"]
    assert "1 passphrase(s), 1 recovery key(s)" in encryption["seen"]
    assert encryption["verdict"] == "caution"


def test_at_a_terminal_the_recovery_key_is_shown_once_and_typed_back(tmp_path: Path) -> None:
    place = tmp_path / "r"
    terminal = Terminal("--repository", place, "init", "--encrypt")
    terminal.until("new passphrase: ")
    terminal.type(PASSPHRASE)
    terminal.until("Repeat for confirmation: ")
    terminal.type(PASSPHRASE)
    key = terminal.until(r"((?:\w{4}-){8}\w{4})\s")[1]
    assert not place.exists()
    for attempt in range(3):
        number = int(terminal.until(r"type its group (\d)[^:]*: ")[1])
        terminal.type("????" if attempt == 0 else key.split("-")[number - 1].lower())

    assert terminal.ended() == 0
    assert PASSPHRASE not in terminal.seen
    assert terminal.seen.count(key) == 1
    assert "another group" in terminal.seen
    assert "secret set repository" in terminal.seen

    terminal = Terminal("--repository", place, "check")
    terminal.until("passphrase of the repository: ")
    terminal.type(PASSPHRASE)
    assert terminal.ended() == 0

    terminal = Terminal("--repository", place, "key", "recover")
    terminal.until("recovery key: ")
    terminal.type(key.lower())
    terminal.until("new passphrase: ")
    terminal.type(NEW)
    terminal.until("confirmation: ")
    terminal.type(NEW)
    assert terminal.ended() == 0
    assert len(keys(place)) == 3


def test_who_cannot_type_the_recovery_key_back_gets_no_repository(tmp_path: Path) -> None:
    place = tmp_path / "r"
    terminal = Terminal("--repository", place, "init", "--encrypt")
    for _ in range(2):
        terminal.until("new passphrase: |confirmation: ")
        terminal.type(PASSPHRASE)
    for _ in range(3):
        terminal.until("type its group")
        terminal.type("????")

    assert terminal.ended() == 130
    assert not place.exists()
