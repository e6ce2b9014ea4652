"""What a real Dovecot does wrong, at the start, in IDLE and in the middle of a fetch."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from backupd.mail.watcher import Pace, Watcher
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.dovecot import Account, Dovecot
from tests.support.mail_sink import MemorySink, export_mail, now
from tests.support.watching import watching

PACE = Pace(idle=5, settle=0.2, tick=0.5, rest=0.3, retry=0.1, retry_most=1)
HOLD = 1.0
FOLDER = "Exports"
BULK = 20
"""Mails of 250 kB that are being fetched when a fault strikes there."""


class Scene:
    """One account that is watched, and what happens to it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.sink = MemorySink(time.monotonic)
        with account.client() as client:
            client.create_folder(FOLDER)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the account for a block."""
        settings = self.account.settings(folders=(FOLDER,), connect_timeout=1.0, read_timeout=1.0)
        secret = self.account.password
        watcher = Watcher(
            "test", settings, lambda: secret, self.sink, now, timedelta(seconds=2), pace=PACE
        )
        with watching(watcher):
            yield

    def deliver(self, padding: int = 0) -> None:
        self.account.deliver(export_mail(padding=padding), FOLDER)


Act = Callable[[Scene], None]


def kick(scene: Scene) -> None:
    """End the account's connections again and again, for as long as the fault lasts."""
    end = time.monotonic() + HOLD
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):  # nobody is connected
            scene.account.kick()


def stop(scene: Scene) -> None:
    scene.account.server.signal(signal.SIGSTOP)


def go_on(scene: Scene) -> None:
    scene.account.server.signal(signal.SIGCONT)


def crash(scene: Scene) -> None:
    scene.account.server.crash()


def restart(scene: Scene) -> None:
    scene.account.server.restart()


def roll(scene: Scene) -> None:
    scene.account.doveadm("mailbox", "update", "--uid-validity", "4242", FOLDER)


def rename(name: str) -> Act:
    def act(scene: Scene) -> None:
        with scene.account.client() as client:
            client.rename_folder(FOLDER, name)

    return act


def rename_back(name: str) -> Act:
    def act(scene: Scene) -> None:
        with scene.account.client() as client:
            client.rename_folder(name, FOLDER)

    return act


def nothing(scene: Scene) -> None:
    pass


KINDS: dict[str, tuple[Act, Act]] = {
    "kick": (kick, nothing),
    "SIGSTOP": (stop, go_on),
    "crash": (crash, restart),
    "UIDVALIDITY rolls": (roll, nothing),
    "folder renamed": (rename("Old"), rename_back("Old")),
    "folder renamed beyond ASCII": (rename("Entwürfe"), rename_back("Entwürfe")),
}
POSITIONS = ("start", "IDLE", "fetch")
SAMPLE = [("kick", "fetch"), ("folder renamed", "start")]
CASES = [(kind, position) for kind in KINDS for position in POSITIONS]


class WithoutIdle(Dovecot):
    """A server that offers no IDLE."""

    extra = "\nimap_capability = IMAP4rev1 LITERAL+ SPECIAL-USE UIDPLUS\n"


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as running:
        yield running


@pytest.mark.parametrize(("kind", "position"), CASES if FULL else SAMPLE)
def test_a_fault_of_a_real_server_is_survived(dovecot: Dovecot, kind: str, position: str) -> None:
    scene, (strike, mend) = Scene(dovecot.account()), KINDS[kind]
    mails = BULK if position == "fetch" else 1
    with campaign("IMAP faults, Dovecot (T8)").case(kind, position):
        if position == "start":
            scene.deliver()
            starting = threading.Timer(0.0, strike, [scene])
            starting.start()
            if kind != "kick":
                starting.join()
        if position == "fetch":
            with scene.account.client() as client:
                for _ in range(BULK):
                    client.append(FOLDER, export_mail(padding=250_000))
        with scene.watched():
            if position == "IDLE":
                scene.sink.wait(lambda sink: "recovered" in sink.events)
                time.sleep(PACE.settle + 0.2)  # it waits in IDLE by now
                strike(scene)
            if position == "fetch":
                scene.sink.wait(lambda sink: len(sink.found_mails) >= 2)
                strike(scene)
            time.sleep(HOLD)  # the fault lasts
            mend(scene)
            mended = time.monotonic()
            if position == "IDLE":
                scene.deliver()
            scene.sink.wait(lambda sink: len(sink.found_mails) == mails)
            scene.deliver()
            scene.sink.wait(lambda sink: len(sink.found_mails) == mails + 1, 10)
            assert scene.sink.found_mails[-1].at - mended < 10
            if position == "start":
                starting.join()
        assert len({mail.raw for mail in scene.sink.found_mails}) == mails + 1
        assert "refused" not in scene.sink.events


def test_a_dovecot_without_idle_is_polled() -> None:
    with WithoutIdle() as server:
        scene = Scene(server.account())
        with scene.account.client() as client:
            assert not client.has_capability("IDLE")
        with campaign("IMAP faults, Dovecot (T8)").case("no IDLE", "start"), scene.watched():
            scene.sink.wait(lambda sink: "recovered" in sink.events)
            scene.deliver()
            scene.sink.wait(lambda sink: len(sink.found_mails) == 1, 10)
