"""`backupd demo`: the main job, done by the real daemon before the eyes of a person.

Ends by itself, leaves nothing behind, and returns 0 only if every step happened.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from backupd.demo.report import Report
from backupd.demo.stage import Stage, open_stage
from backupd.demo.story import Story
from backupd.errors import ExitCode

_TAIL = 15


def run_demo(stream: TextIO | None = None) -> int:
    """Show everything on `stream` (default stdout) and return the exit code."""
    report = Report(stream or sys.stdout)
    start = time.monotonic()
    with _ended_by_sigterm(), open_stage() as stage:
        root = stage.root
        report.plain(
            "backupd demo: the real daemon, a mail server and a download server, all on this "
            f"machine.\nNothing of yours is read or changed; all files lie in {root}.\n"
        )
        code = play(report, stage)
    seconds = time.monotonic() - start
    left = "something is left in" if root.exists() else "nothing is left of"
    report.plain(f"\n{seconds:.0f} s; {left} {root}")
    return code


def play(report: Report, stage: Stage) -> int:
    """Show the story on an open stage, up to the first step that does not happen."""
    steps = Story(stage).steps()
    for number, step in enumerate(steps, 1):
        if not report.show(number, len(steps), step):
            missing = len(steps) - number
            report.plain(f"\nThe demo stops here; {missing} further steps were not tried.")
            _show_log(report, stage)
            return ExitCode.FAILED
    report.plain(f"\nAll {len(steps)} steps happened.")
    return ExitCode.OK


def _show_log(report: Report, stage: Stage) -> None:
    if stage.log.exists():
        report.plain("The daemon's last lines:")
        for line in stage.log.read_text("utf-8", "replace").splitlines()[-_TAIL:]:
            report.say(line)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that servers, daemon and files are cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
