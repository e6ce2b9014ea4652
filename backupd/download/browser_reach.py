"""Where the browser is, and how to ask it: the unit's socket, or a child process of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backupd.download.browser_kill import kill_descendants
from backupd.download.browser_talk import Broken, Request, send

SOCKET = Path("backupd-browser") / "socket"
"""Where the unit listens, below the directory of what lives until the next boot."""
SYSTEM_SOCKET = Path("/run") / SOCKET
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_ENDING = 0.8
_PASSED_ON = (
    "PATH",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
    "HOME",
    "LANG",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "BACKUPD_CHROMIUM_SANDBOX",
)


@dataclass(frozen=True, slots=True)
class Browser:
    """Where the browser is: the unit that has one of `sockets`, else a child.

    The child keeps its profiles in `state`; the unit has a place of its own for them.
    """

    state: Path
    environ: Mapping[str, str]
    sockets: tuple[Path, ...] = ()

    @property
    def unit(self) -> Path | None:
        """Return the socket of the unit, if there is one that is open to us."""
        return next((path for path in self.sockets if os.access(path, os.W_OK)), None)

    @property
    def has_display(self) -> bool:
        """Say whether a window can be opened for a person."""
        shown = any(self.environ.get(name) for name in DISPLAYS)
        return shown and self.unit != SYSTEM_SOCKET  # the system's unit has no screen

    @contextmanager
    def asked(self, request: Request) -> Iterator[socket.socket]:
        """Send a request; lend the connection, and end what serves it with the block.

        Raises:
            Broken: nobody is there.
        """
        with self._connected() as sock:
            send(sock, request)
            yield sock

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        unit = self.unit
        if unit is None:
            with self._child() as sock:
                yield sock
            return
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(unit))
            except OSError as error:
                raise Broken from error
            yield sock

    @contextmanager
    def _child(self) -> Iterator[socket.socket]:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                child = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "backupd.download.browser_worker"),
                        *("--state", str(self.state), "--fd", str(theirs.fileno())),
                    ],
                    env={name: self.environ[name] for name in _PASSED_ON if name in self.environ},
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # Chromium's own words may hold the URL
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            try:
                yield ours
            finally:
                ours.close()  # it ends by this, and Chromium with it
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_ENDING)
    except subprocess.TimeoutExpired:
        kill_descendants(child.pid)
        child.kill()
        child.wait()


def browser(state: Path, environ: Mapping[str, str]) -> Browser:
    """Say where the browser of a state directory is: the system's unit, the user's, or a child."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    user = (Path(runtime) / SOCKET,) if runtime else ()
    return Browser(state / "browser", environ, (SYSTEM_SOCKET, *user))
