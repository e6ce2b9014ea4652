"""A loop of the daemon does not die unseen, and the clock's jumps are noticed."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.daemon import loops
from backupd.daemon.instance import only_instance
from backupd.daemon.jobs import Jobs
from backupd.daemon.loops import Loop
from backupd.errors import RepositoryLocked


def test_a_loop_that_fails_is_told_of_and_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "RESTART_PAUSE", 0.01)
    stop, done = threading.Event(), threading.Event()
    failures: list[tuple[str, str]] = []

    def work() -> None:
        if len(failures) < 2:
            raise ValueError("broken")
        done.set()
        stop.wait()

    loop = Loop("mail", work, stop, lambda name, e: failures.append((name, str(e))))
    loop.start()

    assert done.wait(5)
    assert failures == [("mail", "broken")] * 2
    stop.set()
    assert loop.join(5)


def test_a_loop_that_ended_is_infinitely_old() -> None:
    stop = threading.Event()
    loop = Loop("fetch", lambda: None, stop, lambda *_: None)
    loop.start()
    loop.join(5)

    assert loop.age() == float("inf")


def test_the_works_own_sign_of_life_counts() -> None:
    stop = threading.Event()
    beat = time.monotonic() + 1000
    loop = Loop("mail", stop.wait, stop, lambda *_: None, lambda: beat)
    loop.start()

    assert loop.age() < 0
    stop.set()
    loop.join(5)


def test_a_job_that_raises_is_handed_on_and_runs_again() -> None:
    failed, again = threading.Event(), threading.Event()
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise OSError("once")
        again.set()

    jobs = Jobs(lambda name, _error: failed.set() if name == "care" else None)
    jobs.every("care", timedelta(seconds=0.05), work)
    jobs.start()

    assert failed.wait(5)
    assert again.wait(5)
    jobs.stop()


def test_a_second_daemon_is_refused_with_the_process_named(tmp_path: Path) -> None:
    with (
        only_instance(tmp_path),
        pytest.raises(RepositoryLocked, match="process"),
        only_instance(tmp_path),
    ):
        pass
    with only_instance(tmp_path):
        pass
