"""An encrypted repository in the shipped unit: what opens it, and what can be read of it where.

The passphrase comes as an encrypted credential; index and catalog are in the unit's runtime
directory, which is in memory and goes with the service.
"""

from __future__ import annotations

import hashlib
import json
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_systemd_daemon import UNIT, configure
from tests.support import needs
from tests.support.systemd_boot import HOME, PYTHON, Machine, booted

REPOSITORY = "/var/lib/backupd/repository"
RUNTIME = "/run/backupd"
CREDENTIAL = "/etc/credstore.encrypted/repository"
PASSPHRASE = "five random words of mine"
Ask = Callable[[str], str]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needs("dovecot")
    with booted(tmp_path_factory.mktemp("machine")) as one:
        yield one


@pytest.fixture(scope="module")
def world(machine: Machine) -> Iterator[Ask]:
    """The servers and an empty encrypted repository; asking returns an export's SHA-256."""
    command = ("env", f"PYTHONPATH={HOME / 'source'}", PYTHON, "-m", "tests.support.service_world")
    with machine.talk(*command) as ask:
        configure(machine, json.loads(ask("where")))
        hand_over(machine, PASSPHRASE)
        as_service(machine, "init", "--encrypt", "--recovery-key-file", "/var/lib/backupd/paper")
        yield lambda line: str(json.loads(ask(line))["sha256"])


def hand_over(machine: Machine, passphrase: str) -> None:
    """Store the credential as docs/encryption.md says."""
    encrypt = ("systemd-creds", "encrypt", "--name=repository", "-", CREDENTIAL)
    machine.run(*encrypt, given=passphrase)


def as_service(machine: Machine, *words: str) -> str:
    """Run a verb as the service would, with the credentials that the unit loads."""
    settings = (
        "User=backupd",
        "StateDirectory=backupd",
        "LoadCredentialEncrypted=repository",
        "LoadCredentialEncrypted=imap-personal",
    )
    own = [f"--property={setting}" for setting in settings]
    return machine.run("systemd-run", "--pipe", "--wait", "--quiet", *own, "backupd", *words)


@pytest.fixture
def service(machine: Machine, world: Ask) -> Iterator[Machine]:
    """The machine with the daemon started."""
    machine.run("systemctl", "start", UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)


def wait_for_a_snapshot(machine: Machine) -> dict[str, Any]:
    """Wait until the daemon has stored and catalogued something; return what is listed."""
    machine.wait_for(UNIT, "stored", 20)
    end = time.monotonic() + 20
    while not (found := json.loads(as_service(machine, "snapshots", "--json"))):
        assert time.monotonic() < end, machine.journal(UNIT)
    assert isinstance(found[0], dict)
    return found[0]


def files(machine: Machine, directory: str) -> dict[str, Path]:
    """Return the files below a directory of the machine, by name, as seen from outside."""
    root = machine.path(directory)
    return {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}


def telling(export: Path) -> list[bytes]:
    """Return what a stranger might recognise of an export: names, titles, ids, hashes."""
    with zipfile.ZipFile(export) as archive:
        names = archive.namelist()
        talks = json.loads(archive.read("conversations.json"))
        hashes = [hashlib.sha256(archive.read(name)).hexdigest() for name in names]
    words = [*names, *hashes, hashlib.sha256(export.read_bytes()).hexdigest()]
    words += [talk[key] for talk in talks for key in ("title", "id") if talk[key]]
    return [word.encode() for word in words if len(word) > 8 and word.isascii()]


def found_in(paths: dict[str, Path], known: list[bytes]) -> set[bytes]:
    """Return which of the known words are in names or contents of files."""
    everything = b"".join(name.encode() + path.read_bytes() for name, path in paths.items())
    return {word for word in known if word in everything}


def test_mail_becomes_a_snapshot_that_tells_a_stranger_nothing(
    service: Machine, world: Ask, tmp_path: Path
) -> None:
    sha256 = world("one export, please")
    assert wait_for_a_snapshot(service)["sha256"] == sha256
    as_service(service, "restore", "latest", "--output", "/var/lib/backupd/back.zip")
    back = tmp_path / "back.zip"
    back.write_bytes(service.path("/var/lib/backupd/back.zip").read_bytes())
    service.run("rm", "/var/lib/backupd/back.zip")
    assert hashlib.sha256(back.read_bytes()).hexdigest() == sha256
    known = telling(back)

    stored = files(service, REPOSITORY)
    derived = files(service, RUNTIME)

    assert found_in(stored, known) == set()
    assert {name.split("/")[0] for name in stored} == {
        "backupd-repository.json", "keys", "lock", "packs", "proofs", "snapshots",
    }  # fmt: skip
    readable = {name.split("/")[0] for name, p in stored.items() if p.read_bytes()[:1] == b"{"}
    assert readable == {"backupd-repository.json", "keys"}, "the header, and what the key opens"
    assert {Path(name).name for name in derived} >= {"index.sqlite", "catalog.sqlite"}
    assert found_in(derived, known), "the search sees what it looks for"
    elsewhere = found_in(files(service, "/var/lib/backupd"), known)
    assert elsewhere <= {sha256.encode()}, "the ledger tells which ZIP it fetched"


def test_index_and_catalog_are_in_memory_for_the_service_alone(service: Machine) -> None:
    assert service.run("stat", "--file-system", "--format=%T", RUNTIME).strip() == "tmpfs"
    for path in (service.path(RUNTIME), *service.path(RUNTIME).rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert f"encrypted; index and catalog in memory, {RUNTIME}" in as_service(service, "doctor")


def test_they_go_with_the_service_and_come_back_the_same(service: Machine, world: Ask) -> None:
    before = as_service(service, "snapshots", "--json")
    service.run("systemctl", "stop", UNIT)
    assert not service.path(RUNTIME).exists()

    service.run("systemctl", "start", UNIT)

    assert as_service(service, "snapshots", "--json") == before
    assert (
        json.loads(as_service(service, "check", "--read-data", "--drill", "--json"))["problems"]
        == []
    )


def test_no_secret_is_in_the_journal_or_on_a_command_line(service: Machine) -> None:
    service.run("journalctl", "--sync")
    assert PASSPHRASE not in service.run("journalctl", "--all", "--output=json")
    assert PASSPHRASE not in service.run("ps", "-eo", "args")
    daemon = service.show(UNIT, "MainPID")
    assert PASSPHRASE not in service.run("cat", f"/proc/{daemon}/environ")


def test_a_wrong_passphrase_ends_the_service_for_good(machine: Machine, world: Ask) -> None:
    """Exit code 12: a person must act, so it is not started again."""
    hand_over(machine, "another passphrase")
    try:
        machine.run("systemctl", "start", UNIT, check=False)
        machine.wait(UNIT, "ActiveState", "failed")
        status, restarts = machine.show(UNIT, "ExecMainStatus"), machine.show(UNIT, "NRestarts")
    finally:
        hand_over(machine, PASSPHRASE)
        machine.run("systemctl", "reset-failed", UNIT)

    assert (status, restarts) == ("12", "0")
    assert "no key opens with this passphrase" in machine.journal(UNIT)
