"""The real daemon under reloads that cannot be used and a repository that others hold."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.demo.imap import DemoImap
from tests.support.stage import Stage, demo_stage, exports, just_now, until

Staged = tuple[Stage, DemoImap]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    with demo_stage(tmp_path) as both:
        yield both


def test_a_reload_to_what_cannot_be_opened_keeps_the_old_settings(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    with stage.daemon() as daemon:
        until(lambda: "service_started" in stage.events(), 20, "the start")
        good = stage.config.read_text()
        for number, other in enumerate(
            (good.replace('/repository"', '/nowhere"'), good.replace('/state"', '/other-state"')),
            start=1,
        ):
            stage.config.write_text(other)
            daemon.send_signal(signal.SIGHUP)
            until(lambda n=number: stage.events().count("reload_failed") == n, 20, "the complaint")
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: "stored" in stage.events(), 30, "the export")
        assert daemon.poll() is None


def test_the_daemon_starts_reloads_and_fetches_while_others_write(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    held = os.open(stage.root / "repository" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    with stage.daemon() as daemon:
        until(lambda: "service_started" in stage.events(), 20, "the start")
        daemon.send_signal(signal.SIGHUP)
        until(lambda: stage.events().count("service_started") == 2, 20, "the reload")
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: stage.ledger("SELECT 1 FROM deliveries WHERE state = 'fetched'"), 20, "it")
        assert daemon.poll() is None
    os.close(held)
    stage.run("poll")

    assert stage.events().count("stored") == 1


def test_a_channel_that_never_answers_holds_up_nothing(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"json://127.0.0.1:{mute.getsockname()[1]}/canary-hook"
        stage.configure(imap.port, extra=f'[[notify]]\nurl = "{url}"\n')
        with stage.daemon() as daemon:
            until(lambda: "service_started" in stage.events(), 20, "the start")
            imap.deliver(stage.ready_mail(export), just_now())
            until(lambda: "stored" in stage.events(), 10, "the export")
            began = time.monotonic()
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(10) == 0
            assert time.monotonic() - began < 5

    assert "canary-hook" not in stage.log_text()
