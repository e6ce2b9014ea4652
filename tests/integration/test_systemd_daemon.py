"""The real daemon in the shipped unit under a booted systemd, with a Dovecot beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import needs
from tests.support.systemd_boot import HOME, PYTHON, Machine, booted

UNIT = "backupd.service"
CREDENTIAL = "/etc/credstore.encrypted/imap-personal"
CONFIG = "/etc/backupd/config.toml"
Ask = Callable[[str], str]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needs("dovecot")
    with booted(tmp_path_factory.mktemp("machine")) as one:
        yield one


@pytest.fixture(scope="module")
def world(machine: Machine) -> Iterator[Ask]:
    """The servers; asking makes an export available and returns its SHA-256."""
    command = ("env", f"PYTHONPATH={HOME / 'source'}", PYTHON, "-m", "tests.support.service_world")
    with machine.talk(*command) as ask:
        configure(machine, json.loads(ask("where")))
        as_service(machine, "init")
        yield lambda line: str(json.loads(ask(line))["sha256"])


def configure(machine: Machine, where: dict[str, Any]) -> None:
    """Install as docs/install.md says; there is no repository yet."""
    connect_to = ", ".join(f'"{name}" = "{place}"' for name, place in where["connect_to"].items())
    machine.write("/etc/backupd/ca.pem", where["ca"])
    machine.write(
        CONFIG,
        f"""
[repository]
path = "/var/lib/backupd/repository"
[state]
path = "/var/lib/backupd"
[mailboxes.personal]
host = "localhost"
port = {where["port"]}
ca_file = "/etc/backupd/ca.pem"
username = "{where["username"]}"
authserv_id = "mx.example.org"
[download]
ca_file = "/etc/backupd/ca.pem"
connect_to = {{ {connect_to} }}
""",
    )
    machine.run("mkdir", "-p", "/etc/credstore.encrypted")
    machine.run("systemd-creds", "setup")
    encrypt = ("systemd-creds", "encrypt", "--name=imap-personal", "-", CREDENTIAL)
    machine.run(*encrypt, given=where["password"])
    machine.run("install", "-d", "-m", "700", "-o", "backupd", "-g", "backupd", "/var/lib/backupd")


def as_service(machine: Machine, *words: str, check: bool = True) -> str:
    """Run a verb as the user that owns the archive."""
    return machine.run("runuser", "-u", "backupd", "--", "backupd", *words, check=check)


@pytest.fixture
def service(machine: Machine, world: Ask) -> Iterator[Machine]:
    """The machine with the daemon started; `world` is there."""
    machine.start(UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)


def test_start_ends_at_ready_with_a_status(service: Machine) -> None:
    assert service.show(UNIT, "ActiveState") == "active"
    assert "watching 1 mailbox" in service.show(UNIT, "StatusText")


def test_mail_becomes_a_snapshot(service: Machine, world: Ask) -> None:
    sha256 = world("one export, please")

    snapshots = wait_for_snapshots(service, 1)
    assert [snapshot["sha256"] for snapshot in snapshots] == [sha256]
    as_service(service, "restore", "latest", "--output", "/var/lib/backupd/back.zip")
    restored = service.run("sha256sum", "/var/lib/backupd/back.zip")
    assert restored.split()[0] == sha256


def wait_for_snapshots(machine: Machine, count: int) -> list[dict[str, Any]]:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found: list[dict[str, Any]] = json.loads(as_service(machine, "snapshots", "--json"))
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(machine.journal(UNIT))


def test_journal_has_the_notice_and_no_secret(service: Machine) -> None:
    """The journal is that of all tests of this machine so far."""
    service.run("journalctl", "--sync")
    fields = service.run("journalctl", f"--unit={UNIT}", "--output=json", "BACKUPD_EVENT=stored")
    everything = service.run("journalctl", "--all", "--output=json")

    assert json.loads(fields.splitlines()[0])["BACKUPD_SNAPSHOT"]
    assert "correct horse" not in everything
    assert "sig=" not in everything


def test_doctor_can_log_in_as_the_service_would(service: Machine) -> None:
    """The command of docs/install.md."""
    own = ("-p", "User=backupd", "-p", "StateDirectory=backupd")
    secret = ("-p", "LoadCredentialEncrypted=imap-personal")

    seen = service.run(
        "systemd-run", "--pipe", "--wait", "--quiet", *own, *secret, "backupd", "doctor"
    )

    assert "credential imap-personal: comes from systemd" in seen
    assert "mailbox personal: logged in" in seen


def test_stop_is_quick_and_clean(service: Machine) -> None:
    began = time.monotonic()
    service.run("systemctl", "stop", UNIT)

    assert time.monotonic() - began < 5
    assert service.show(UNIT, "Result") == "success"


def test_reload_with_a_broken_file_keeps_the_daemon_running(service: Machine) -> None:
    good = service.path(CONFIG).read_text()
    daemon = service.show(UNIT, "MainPID")
    try:
        service.write(CONFIG, good + "\n[shedule]\n")
        service.run("systemctl", "reload", UNIT)
        service.wait_for(UNIT, "the old settings stay")
    finally:
        service.write(CONFIG, good)

    assert service.show(UNIT, "MainPID") == daemon
    assert service.show(UNIT, "ActiveState") == "active"


def test_broken_configuration_at_the_start_is_not_restarted(machine: Machine, world: Ask) -> None:
    good = machine.path(CONFIG).read_text()
    try:
        machine.write(CONFIG, good + "\n[shedule]\n")
        with pytest.raises(AssertionError, match="schedule"):  # the journal, with the cause
            machine.start(UNIT)
        machine.wait(UNIT, "ActiveState", "failed")
        status, restarts = machine.show(UNIT, "ExecMainStatus"), machine.show(UNIT, "NRestarts")
    finally:
        machine.write(CONFIG, good)
        machine.run("systemctl", "reset-failed", UNIT)

    assert (status, restarts) == ("2", "0")
    assert "schedule" in machine.journal(UNIT)


@pytest.fixture
def short_watchdog(machine: Machine) -> Iterator[None]:
    drop_in = f"/run/systemd/system/{UNIT}.d/watchdog.conf"
    machine.write(drop_in, "[Service]\nWatchdogSec=2\nTimeoutAbortSec=500ms\nRestartSec=100ms\n")
    machine.run("systemctl", "daemon-reload")
    yield
    machine.run("rm", drop_in)
    machine.run("systemctl", "daemon-reload")


def test_hung_daemon_is_killed_and_comes_back(short_watchdog: None, service: Machine) -> None:
    hung = service.show(UNIT, "MainPID")
    time.sleep(3)  # longer than the watchdog allows without a sign of life
    assert service.show(UNIT, "MainPID") == hung
    assert service.show(UNIT, "NRestarts") == "0"

    service.run("systemctl", "kill", "--signal=STOP", UNIT)
    service.wait(UNIT, "NRestarts", "1")
    service.wait(UNIT, "ActiveState", "active")

    assert service.show(UNIT, "MainPID") != hung
    assert len(json.loads(as_service(service, "snapshots", "--json"))) == 1
