"""The daemon in its unit downloads by Chromium in a unit of its own, under a booted systemd."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.integration.test_systemd_daemon import CONFIG, as_service, configure, wait_for_snapshots
from tests.support import needs
from tests.support.sessions import COOKIE, cookie_file, cookie_row
from tests.support.systemd_boot import HOME, PYTHON, Machine, booted, has_user_namespaces

UNIT = "backupd-browser.service"
SOCKET = "backupd-browser.socket"
Ask = Callable[[str], str]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needs("dovecot", "chromium", "certutil")
    with booted(tmp_path_factory.mktemp("machine")) as one:
        if not has_user_namespaces(one):
            # The kernel forbids them in a chroot, and Chromium's sandbox is made of them.
            drop_in = f"/etc/systemd/system/{UNIT}.d/here.conf"
            one.write(drop_in, "[Service]\nEnvironment=BACKUPD_CHROMIUM_SANDBOX=off\n")
        one.run("systemctl", "daemon-reload")
        one.run("systemctl", "start", SOCKET)
        yield one


@pytest.fixture(scope="module")
def world(machine: Machine) -> Iterator[Ask]:
    command = ("env", f"PYTHONPATH={HOME / 'source'}", PYTHON, "-m", "tests.support.browser_world")
    with machine.talk(*command) as ask:
        configure(machine, json.loads(ask("where")))
        config = machine.path(CONFIG).read_text()
        as_service(machine, "init")
        machine.write(CONFIG, config.replace("[download]", '[download]\nsession = "browser"'))
        yield lambda line: str(json.loads(ask(line))["sha256"])


def test_export_comes_through_the_browser_of_another_unit(machine: Machine, world: Ask) -> None:
    login = ("runuser", "-u", "backupd", "--", "backupd", "session", "login", "--cookies", "-")
    machine.run(*login, given=cookie_file(cookie_row()))
    assert "browser: ready" in as_service(machine, "session", "test")
    assert machine.show(UNIT, "StartLimitIntervalUSec") == "0"  # no number of requests ends it
    machine.start("backupd.service")
    sha256 = world("one export, please")

    snapshots = wait_for_snapshots(machine, 1)

    assert [snapshot["sha256"] for snapshot in snapshots] == [sha256]
    machine.run("systemctl", "stop", "backupd.service")
    everything = machine.run("journalctl", "--all", "--output=json")
    assert "sig=" not in everything
    assert COOKIE not in everything


def test_browser_has_gone_and_left_no_link_behind(machine: Machine, world: Ask) -> None:
    machine.wait(UNIT, "ActiveState", "inactive")

    assert machine.show(UNIT, "Result") == "success"
    state = "/var/lib/backupd-browser"
    assert machine.run("stat", "--format=%U %a", state).split() == ["backupd-browser", "700"]
    assert machine.run("grep", "-rl", "sig=", state, check=False) == ""
    assert machine.run("ls", state).split() == ["download"]
    assert machine.run("sh", "-c", "ls /run/backupd-browser-work 2>/dev/null", check=False) == ""


def test_nobody_else_may_ask(machine: Machine) -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/backupd-browser/socket')"
    )
    refused = machine.run(
        *("runuser", "-u", "nobody", "--", "sh", "-c", f'python3 -c "{ask}" 2>&1'), check=False
    )

    assert "PermissionError" in refused
