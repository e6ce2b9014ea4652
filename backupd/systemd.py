"""Talk to the service manager: readiness, status, watchdog, reload.

The protocol is one datagram of `NAME=VALUE` lines to the socket named by `$NOTIFY_SOCKET`; without
that variable every message is a no-op, so a daemon started by hand says the same things to nobody.
A message that cannot be delivered is dropped: the watchdog is what notices a broken connection.

Source: sd_notify(3), "Standalone Implementations", systemd 252.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_STATUS = 200


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The service manager's end of the conversation; safe to use from several threads.

    `address` is a path, or an abstract name written with a leading `@`; empty means nobody listens.
    `watchdog` is the number of seconds within which a sign of life is expected, None if never.
    """

    address: str = ""
    watchdog: float | None = None

    def pulse(self, longest: float) -> float:
        """Return how often to call `alive`, in seconds: three times for each watchdog interval."""
        return longest if self.watchdog is None else min(longest, self.watchdog / 3)

    def ready(self, status: str = "") -> None:
        """Say that start-up, or a reload, is finished."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """Show one line of free text in `systemctl status`; longer text is cut, control removed."""
        self._send(*_status(text))

    def alive(self) -> None:
        """Feed the watchdog; call it only when every loop of the daemon is alive."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, status: str = "") -> None:
        """Say that the daemon is on its way down."""
        self._send("STOPPING=1", *_status(status))

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(1.0)  # a manager that does not read must not stop the daemon
            try:
                channel.sendto("\n".join(lines).encode(), name)
            except OSError:
                return


def service_manager(environ: Mapping[str, str] = os.environ) -> ServiceManager:
    """Find the service manager that started this process, by its environment variables.

    A watchdog meant for another process (`$WATCHDOG_PID`) or with an unreadable interval is none.
    """
    return ServiceManager(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ))


def _watchdog(environ: Mapping[str, str]) -> float | None:
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _status(text: str) -> tuple[str, ...]:
    line = "".join(character if character.isprintable() else " " for character in text)
    return (f"STATUS={line[:LONGEST_STATUS]}",) if line else ()
