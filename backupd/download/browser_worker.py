"""The process in which Chromium is driven: `python -m backupd.download.browser_worker`.

It serves one connection and ends; the service manager, or the daemon, starts another one for the
next. While Chromium works, a second thread watches: it tells the other side that there is life, and
ends everything, Chromium first, when the other side is gone, time is over, or the file too large.
So a browser that hangs is killed, whatever it hangs in.

    --state DIR     where the profiles are
    --fd N          the connection; without it, the listening socket that systemd passes
    --peer USER     who may connect besides our own user
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import select
import shutil
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from backupd.download.browser_kill import kill_descendants
from backupd.download.browser_profile import Profile, Unusable
from backupd.download.browser_talk import (
    Broken,
    Failed,
    Get,
    Keep,
    Look,
    Progress,
    Reply,
    Request,
    SignIn,
    receive_request,
    send,
)

WATCH = 0.2
"""Seconds between two looks of the watching thread."""
BEAT = 1.0
"""Seconds between two signs of life."""
_SYSTEMD_FD = 3
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans of Chromium stay ours, and can be found
_DISTURBING = ("DEBUG", "NODE_OPTIONS", "PWDEBUG", "SSLKEYLOGFILE")


@dataclass
class _Use:
    """One use: what is shared by the thread that works and the one that watches."""

    sock: socket.socket
    seconds: float
    max_size: int
    reserve: int
    state: Path
    incoming: Path | None = None
    work: Path | None = None
    total: int | None = None
    over: threading.Event = field(default_factory=threading.Event)
    speaking: threading.Lock = field(default_factory=threading.Lock)

    def say(self, reply: Reply, fd: int | None = None) -> None:
        """Send a reply; only one thread speaks at a time."""
        with self.speaking:
            send(self.sock, reply, fd)

    def end(self, reply: Reply, fd: int | None = None) -> None:
        """Send the last reply; no sign of life follows it."""
        with self.speaking:
            if not self.over.is_set():
                self.over.set()
                send(self.sock, reply, fd)


def watch(use: _Use) -> None:
    """Tell of life, and end the process when there is a reason to."""
    began, beat = time.monotonic(), 0.0
    while not use.over.wait(WATCH):
        passed = time.monotonic() - began
        try:
            reason = _reason(use, passed)
            if reason is not None:
                _abandon(use, reason)
            if passed - beat >= BEAT:
                beat = passed
                use.say(Progress(_size(use.incoming), use.total))
        except Broken:
            _abandon(use, None)


def _reason(use: _Use, passed: float) -> Failed | None:
    """Return why the use must end now, if it must; Broken if nobody listens any more."""
    if select.select([use.sock], [], [], 0)[0]:
        raise Broken  # the request is all that the other side ever says
    if passed > use.seconds:
        return Failed("network", "the browser took too long")
    size = _size(use.incoming)
    if size > use.max_size:
        return Failed("too-big", "larger than the limit")
    free = shutil.disk_usage(use.state).free
    missing = use.reserve + max((use.total or 0) - size, 0) - free
    if use.incoming is not None and missing > 0:
        return Failed("disk-full", "no room for the download", number=missing)
    return None


def _abandon(use: _Use, reply: Failed | None) -> NoReturn:
    """Say why, kill what runs, remove what it wrote, and end the process."""
    if reply is not None:
        with suppress(Broken):
            use.end(reply)
    kill_descendants(os.getpid())
    for place in (use.incoming, use.work):
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    os._exit(0)


def _size(incoming: Path | None) -> int:
    """Return how many bytes Chromium has written so far."""
    if incoming is None:
        return 0
    with suppress(OSError):
        return sum(entry.stat().st_size for entry in os.scandir(incoming))
    return 0


def serve(sock: socket.socket, state: Path) -> None:
    """Do what the one request of a connection asks."""
    request = receive_request(sock)
    if isinstance(request, Look):
        send(sock, Profile(state, request.profile).known())
        return
    size = (request.max_size, request.reserve) if isinstance(request, Get) else (1 << 40, 0)
    use = _Use(sock, request.seconds, *size, state)
    watcher = threading.Thread(target=watch, args=(use,), daemon=True)
    watcher.start()
    try:
        _work(request, use)
    except Unusable as error:
        use.end(error.reply)
    except ImportError:
        hint = "pip install 'backupd[browser]'"
        use.end(Failed("missing", "the package that drives Chromium is not installed", hint))
    finally:
        use.over.set()
        watcher.join()


def _work(request: Request, use: _Use) -> None:
    from backupd.download import browser

    profile = Profile(use.state, request.profile)
    with profile.opened(os.environ) as place:
        use.incoming, use.work = place.incoming, place.work
        machine = browser.Machine(os.environ, lambda total: setattr(use, "total", total))
        if isinstance(request, Keep):
            use.end(browser.keep(place, request, machine))
        elif isinstance(request, SignIn):
            use.end(browser.sign_in(place, request, machine))
        elif isinstance(request, Get):
            reply, path = browser.get(profile, place, request, machine)
            if path is None:
                use.end(reply)
                return
            with path.open("rb") as file:
                use.end(reply, file.fileno())


def admit(sock: socket.socket, peer: str | None) -> bool:
    """Say whether who connected is our own user, root, or the one named."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    allowed = {0, os.geteuid()}
    if peer is not None:
        with suppress(KeyError):
            allowed.add(pwd.getpwnam(peer).pw_uid)
    return uid in allowed


def main(words: list[str]) -> int:
    """Serve one connection."""
    parser = argparse.ArgumentParser(prog="browser_worker")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--peer")
    given = parser.parse_args(words)
    os.umask(0o077)
    for name in _DISTURBING:
        os.environ.pop(name, None)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    sock = _connection(given.fd)
    with sock:
        if not admit(sock, given.peer):
            return 1
        with suppress(Broken):
            serve(sock, given.state)
    return 0


def _connection(fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    with socket.socket(fileno=_SYSTEMD_FD) as listening:
        return listening.accept()[0]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
