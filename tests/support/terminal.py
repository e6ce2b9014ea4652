"""The program at a pseudo-terminal, with a person who answers, and now and then interrupts."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path


class Terminal:
    """The program at a terminal of its own, answered by what it asks."""

    def __init__(self, *arguments: str | Path, kind: str = "dumb") -> None:
        """Start it on 80 columns; `kind` is what TERM says: a dumb one shows no progress."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backupd", *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": kind,
                 "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )  # fmt: skip
        os.close(slave)
        self.seen = ""
        self._read = 0

    def until(self, pattern: str) -> re.Match[str]:
        """Read until the pattern appears after what was matched before."""
        end = time.monotonic() + 60
        while True:
            found = re.search(pattern, self.seen[self._read :])
            if found:
                self._read += found.end()
                return found
            assert time.monotonic() < end, self.seen
            if select.select([self._master], [], [], 1)[0]:
                self.seen += self._read_some(pattern)

    def _read_some(self, pattern: str) -> str:
        try:
            return os.read(self._master, 4096).decode()
        except OSError as error:  # the other side is closed
            raise AssertionError(f"ended before {pattern!r}: {self.seen}") from error

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._master, b"\x03")

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\n")

    @property
    def lines(self) -> list[str]:
        """What was seen, without colours and movements, a line each."""
        return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", self.seen))

    def ended(self) -> int:
        """Read the rest; return the exit code."""
        try:
            while data := os.read(self._master, 4096):
                self.seen += data.decode()
        except OSError:  # the other side is closed
            pass
        os.close(self._master)
        return self._process.wait(30)
