"""The demo is a test too: the real daemon, all steps, and nothing left behind."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from backupd.demo import run
from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.imap import DemoImap
from backupd.demo.report import Report, Step, expect
from backupd.demo.stage import Stage


def _start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "backupd", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUTF8": "1"},
    )


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_demo_shows_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with _start(tmp_path) as demo:
        said, _ = demo.communicate(timeout=120)

    assert demo.returncode == 0, said
    assert said.count("✓") == 10
    assert "✗" not in said
    assert "All 10 steps happened." in said
    assert not list(tmp_path.iterdir())
    daemon = re.search(r"process (\d+)", said)
    assert daemon and not _is_alive(int(daemon[1]))


def test_demo_ended_early_takes_its_daemon_and_files_along(tmp_path: Path) -> None:
    with _start(tmp_path) as demo:
        assert demo.stdout is not None
        daemon = next(found for line in demo.stdout if (found := re.search(r"process (\d+)", line)))
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=30)

    assert demo.returncode not in (0, -signal.SIGTERM)
    assert not list(tmp_path.iterdir())
    assert not _is_alive(int(daemon[1]))


def test_step_that_does_not_happen_is_not_ticked() -> None:
    stream = io.StringIO()
    report = Report(stream)

    def act() -> Iterator[str]:
        yield "something was seen"
        expect(False, "but not what was claimed")

    shown = report.show(1, 2, Step("A claim", act))

    assert not shown
    assert "not shown: but not what was claimed" in stream.getvalue()


def test_demo_fails_when_the_program_does(tmp_path: Path) -> None:
    """A stage whose program cannot run stands for any fault: exit code 1, and no daemon left."""
    stream = io.StringIO()
    (tmp_path / "config.toml").write_text("[repository]\npath = 7\n")
    authority = Authority()
    with (
        DownloadServer(authority) as downloads,
        DemoImap(authority.server_context("localhost"), "me@example.org", "x") as imap,
    ):
        code = run.play(Report(stream), Stage(tmp_path, imap, downloads))

    assert code == 1
    assert "1/10" in stream.getvalue()
    assert "9 further steps were not tried" in stream.getvalue()
