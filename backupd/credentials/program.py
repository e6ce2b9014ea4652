"""Run a program for a secret: no shell, a time limit, bounded output, nothing of it in an error."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LONGEST_OUTPUT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. `output` may be a secret and is not shown; it is cut at 64 KiB + 1."""

    status: int
    output: bytes = field(repr=False)
    timed_out: bool


class Programs:
    """Runs programs; those that run can be ended from another thread. Thread-safe."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False
        self._lock = threading.Lock()

    def run(
        self, argv: Sequence[str], given: bytes, limit: float, environ: Mapping[str, str]
    ) -> Ended:
        """Run `argv` with `given` on stdin for at most `limit` seconds; stderr is thrown away.

        The program gets a session of its own, so that what it started is ended with it.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            if self._closed:
                return Ended(-1, b"", timed_out=True)
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environ),
                start_new_session=True,
            )
            self._running.add(process)
        late = threading.Event()
        timer = threading.Timer(limit, _end_late, (process, late))
        timer.daemon = True
        timer.start()
        try:
            output = _talk(process, given)
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(process)
        return Ended(process.returncode, output, timed_out=late.is_set())

    def close(self) -> None:
        """End what runs; later runs count as timed out at once."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        for process in running:
            _end(process)


def _talk(process: subprocess.Popen[bytes], given: bytes) -> bytes:
    """Hand over stdin, read stdout up to its bound, and wait for the end."""
    with process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        try:
            process.stdin.write(given)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it does not read what it is given; its status tells the rest
        output = process.stdout.read(LONGEST_OUTPUT + 1)
        if len(output) > LONGEST_OUTPUT:
            _end(process)
    return output


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and what it started; it is its own process group since its start."""
    if process.returncode is not None:
        return  # reaped: the number may belong to somebody else by now
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
