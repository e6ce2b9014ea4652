"""The service manager's protocol, spoken to a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.systemd import LONGEST_STATUS, ServiceManager, service_manager


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A bound notify socket and its address as it would stand in $NOTIFY_SOCKET."""
    if request.param == "path":
        address = name = str(tmp_path / "notify")
    else:
        address = f"@backupd-test-{os.getpid()}-{time.monotonic_ns()}"
        name = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name)
        bound.settimeout(5)
        yield address, bound


def heard(bound: socket.socket) -> list[str]:
    return bound.recv(4096).decode().split("\n")


def test_every_message_reaches_the_socket(listener: tuple[str, socket.socket]) -> None:
    address, bound = listener
    manager = service_manager({"NOTIFY_SOCKET": address})

    manager.ready("next poll in 5 min")
    assert heard(bound) == ["READY=1", "STATUS=next poll in 5 min"]
    manager.ready()
    assert heard(bound) == ["READY=1"]
    manager.status("fetching")
    assert heard(bound) == ["STATUS=fetching"]
    manager.alive()
    assert heard(bound) == ["WATCHDOG=1"]
    manager.stopping("download kept")
    assert heard(bound) == ["STOPPING=1", "STATUS=download kept"]


def test_reload_carries_the_monotonic_time(listener: tuple[str, socket.socket]) -> None:
    address, bound = listener
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    ServiceManager(address).reloading()

    first, second = heard(bound)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= after


def test_status_text_cannot_add_lines_of_its_own(listener: tuple[str, socket.socket]) -> None:
    address, bound = listener

    ServiceManager(address).status("mail from x\nSTOPPING=1\x1b[31m" + "y" * 500)

    (line,) = heard(bound)
    assert line.startswith("STATUS=mail from x STOPPING=1 [31m")
    assert len(line) == len("STATUS=") + LONGEST_STATUS


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    service_manager({}).ready()
    service_manager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()
    ServiceManager("@backupd-nobody-is-there").stopping()


def test_a_full_socket_does_not_stop_the_daemon(listener: tuple[str, socket.socket]) -> None:
    address, _ = listener
    name = "\0" + address[1:] if address.startswith("@") else address
    began = time.monotonic()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler,
        contextlib.suppress(BlockingIOError),
    ):
        filler.setblocking(False)
        while True:
            filler.sendto(b"x", name)

    ServiceManager(address).alive()

    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(os.getpid())}, 180.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], seconds: float | None) -> None:
    assert service_manager(environ).watchdog == seconds


@pytest.mark.parametrize(("watchdog", "seconds"), [(None, 30.0), (180.0, 30.0), (6.0, 2.0)])
def test_signs_of_life_come_well_within_the_interval(
    watchdog: float | None, seconds: float
) -> None:
    assert ServiceManager("", watchdog).pulse(30.0) == seconds
