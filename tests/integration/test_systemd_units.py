"""The shipped units: read by systemd without a word, confined, and what a booted systemd makes of
them. A small stand-in for the daemon shows the unit's part; the daemon has tests of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.systemd_boot import CHECKOUT, HOME, PYTHON, Machine, booted

UNITS = CHECKOUT / "systemd"
UNIT = "backupd.service"
UNIT_NAMES = ("backupd", "backupd-browser")
MANAGERS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
STATE = "/var/lib/backupd"
PROBE = HOME / "probe.py"
# Fast enough for a test; everything else is the shipped unit.
DROP_IN = f"""
[Service]
ExecStart=
ExecStart={PYTHON} {PROBE}
Environment=SSLKEYLOGFILE=/tmp/keys
WatchdogSec=1
RestartSec=100ms
"""


def analyze(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    needs("systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "name",
    [
        "backupd.service",
        "backupd-browser.service",
        "user/backupd.service",
        "user/backupd-browser.service",
    ],
)
def test_verify_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    """verify exits 0 for an unknown key: only silence is success. The program need not be here."""
    copy = tmp_path / Path(name).name
    text = (UNITS / name).read_text().replace("\\\n", "")
    copy.write_text(re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    shutil.copy((UNITS / name).with_name("backupd-browser.socket"), tmp_path)
    scope = ["--user"] if name.startswith("user/") else []

    done = analyze(
        *scope, "verify", "--man=no", "--recursive-errors=no", copy, XDG_RUNTIME_DIR=str(tmp_path)
    )

    assert (done.stdout, done.returncode) == ("", 0)


def test_verify_would_have_something_to_say(tmp_path: Path) -> None:
    broken = tmp_path / "backupd.service"
    broken.write_text("[Service]\nExecStart=/bin/true\nWatchdogSecs=1\n")

    assert "WatchdogSecs" in analyze("verify", "--man=no", "--recursive-errors=no", broken).stdout


@pytest.mark.parametrize(("unit", "threshold"), [(UNIT, 15), ("backupd-browser.service", 25)])
def test_system_unit_is_confined(unit: str, threshold: int) -> None:
    done = analyze("security", "--offline=true", f"--threshold={threshold}", UNITS / unit)

    assert done.returncode == 0, done.stdout[-300:]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine whose backupd.service runs the stand-in."""
    with booted(tmp_path_factory.mktemp("machine")) as booted_machine:
        shutil.copy(CHECKOUT / "tests" / "support" / "service_probe.py", booted_machine.path(PROBE))
        booted_machine.write(f"/etc/systemd/system/{UNIT}.d/probe.conf", DROP_IN)
        booted_machine.run("mkdir", "-p", "/etc/credstore.encrypted")
        booted_machine.run("systemctl", "daemon-reload")
        yield booted_machine


@pytest.fixture
def service(machine: Machine) -> Iterator[Machine]:
    """The machine with the service started; stopped and cleared afterwards."""
    machine.run("systemctl", "start", UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)
    machine.run("rm", "-rf", STATE)


def reported(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run("cat", f"{STATE}/report"))
    return found


def test_installed_unit_verifies_with_the_program_in_place(machine: Machine) -> None:
    silent = machine.run(
        "sh", "-c", f"systemd-analyze verify --man=no --recursive-errors=no {UNIT} 2>&1"
    )

    assert silent == ""


def test_start_ends_at_ready_and_shows_the_status(service: Machine) -> None:
    assert service.show(UNIT, "ActiveState") == "active"
    assert service.show(UNIT, "StatusText") == "probe is up"


def test_process_is_confined(service: Machine) -> None:
    seen = reported(service)

    assert seen["uid"] == int(service.run("id", "-u", "backupd"))
    assert seen["status"] == {"CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert (seen["umask"], seen["mode"]) == ("0o77", "0o700")
    assert seen["read_only"] == ["/etc", "/opt", "/srv", "/usr"]
    assert not seen["keylog"]


def test_missing_credential_does_not_prevent_the_start(service: Machine) -> None:
    assert reported(service)["credentials"] == {}


def test_encrypted_credential_arrives(machine: Machine) -> None:
    store = "/etc/credstore.encrypted/imap-personal"
    machine.run("systemd-creds", "setup")
    machine.run(
        "systemd-creds", "encrypt", "--name=imap-personal", "-", store, given="correct horse"
    )
    try:
        machine.run("systemctl", "start", UNIT)

        assert reported(machine)["credentials"] == {"imap-personal": "correct horse"}
        assert "correct horse" not in machine.path(store).read_text()
    finally:
        machine.run("rm", store)
        machine.run("systemctl", "stop", UNIT)


def test_hung_process_is_killed_and_comes_back(service: Machine) -> None:
    hung = service.show(UNIT, "MainPID")

    service.run("touch", f"{STATE}/hang")
    service.wait(UNIT, "NRestarts", "1")
    service.run("rm", f"{STATE}/hang")
    service.wait(UNIT, "ActiveState", "active")

    assert service.show(UNIT, "MainPID") != hung
    assert "Watchdog timeout" in service.journal(UNIT)


def test_killed_process_comes_back(service: Machine) -> None:
    service.run("systemctl", "kill", "--signal=KILL", UNIT)

    service.wait(UNIT, "NRestarts", "1")
    service.wait(UNIT, "ActiveState", "active")


@pytest.mark.parametrize("code", [2, 12])
def test_fault_that_needs_a_person_is_not_restarted(service: Machine, code: int) -> None:
    service.write(f"{STATE}/exit", str(code))

    service.wait(UNIT, "ActiveState", "failed")
    assert service.show(UNIT, "ExecMainStatus") == str(code)
    assert service.show(UNIT, "NRestarts") == "0"


def test_other_fault_is_restarted_for_ever(service: Machine) -> None:
    service.write(f"{STATE}/exit", "1")

    service.wait(UNIT, "NRestarts", "7")  # systemd's own default gives up after five
    service.run("rm", f"{STATE}/exit")
    service.wait(UNIT, "ActiveState", "active")


USER = "tester"
USER_DROP_IN = DROP_IN + "Environment=STATE_DIRECTORY=%h/state\n"


@pytest.fixture(scope="module")
def session(machine: Machine) -> Callable[..., str]:
    """Runs a command as a user whose own service manager has the user unit and the stand-in."""
    machine.run("useradd", "--create-home", USER)
    runtime = f"/run/user/{machine.run('id', '-u', USER).strip()}"
    directories = (runtime, f"/home/{USER}/state")
    machine.run("install", "-d", "-m", "700", "-o", USER, "-g", USER, *directories)
    machine.write("/etc/systemd/user/backupd.service.d/probe.conf", USER_DROP_IN)
    manager = next(path for path in MANAGERS if machine.path(path).exists())
    settings = ("--property=Type=notify", "--property=Delegate=yes", f"--uid={USER}")
    where = (f"--setenv=XDG_RUNTIME_DIR={runtime}", f"--setenv=HOME=/home/{USER}")
    machine.run("systemd-run", "--unit=session", *settings, *where, manager, "--user")

    def run(*words: str) -> str:
        drop = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
        return machine.run(*drop, "env", f"XDG_RUNTIME_DIR={runtime}", *words)

    return run


def test_user_unit_starts_confined_and_comes_back(session: Callable[..., str]) -> None:
    show = ("systemctl", "--user", "show", "--value", UNIT, "--property")
    session("systemctl", "--user", "start", UNIT)
    assert session(*show, "StatusText").strip() == "probe is up"
    seen = json.loads(session("cat", f"/home/{USER}/state/report"))
    assert seen["status"] == {"CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    assert not seen["keylog"]

    session("systemctl", "--user", "kill", "--signal=KILL", UNIT)

    end = time.monotonic() + 10
    while (restarts := session(*show, "NRestarts").strip()) != "1" and time.monotonic() < end:
        time.sleep(0.05)
    assert restarts == "1"
