"""An export that was asked for is expected: it is missed in time, and one that comes ends that."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.demo import mails
from backupd.errors import ExitCode
from backupd.intake.arrival import Arrivals
from backupd.intake.drop import DropFolders
from backupd.intake.overview import Health
from backupd.intake.storing import store
from backupd.store.repository import Origin
from tests.support.stage import exports
from tests.support.storing import week
from tests.support.turned_clock import START, World, turned_world

DAY = timedelta(days=1)
(EXPORT,) = exports(1)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    with turned_world(tmp_path) as made:
        yield made


def started(world: World, at: datetime, mailbox: str = "personal") -> None:
    raw = mails.started(mails.Envelope(date=at, subject=mails.STARTED))
    Arrivals(world.rooms, lambda: None).found(mailbox, "INBOX", 1, 1, raw, at)


def by_mail(world: World) -> None:
    world.offer(EXPORT)
    world.receive(EXPORT)
    world.tick()


def by_drop_folder(world: World) -> None:
    path = world.offer(EXPORT)
    shutil.copyfile(path, world.root / "drop" / "by-hand.zip")
    drops = DropFolders(world.rooms, threading.Event(), lambda: None)
    drops.scan()
    drops.scan()


def by_import(world: World) -> None:
    path = world.root / "by-hand.zip"
    path.write_bytes(week(1))  # of November 2026
    store(world.rooms, path, Origin(path.name, world.clock(), "import", None, None))


WAYS = [by_mail, by_drop_folder, by_import]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_request_is_missed_after_a_week_across_restarts_and_any_export_ends_that(
    world: World, way: object
) -> None:
    world.clock.now = START if way is not by_import else datetime(2026, 10, 20, tzinfo=UTC)
    asked_at = world.clock.now
    world.rooms.messages.request("personal", asked_at)
    healths = []
    for days in (6.9, 7.1, 8, 20):
        world.clock.now = asked_at + days * DAY
        world.stop()
        world.start()
        world.care.run()
        seen = world.at_a_glance()
        healths.append((seen.health, seen.exit_code))
    assert world.events() == ["requested_not_arrived"]
    assert healths == [(Health.PENDING, ExitCode.OK)] + [(Health.OVERDUE, ExitCode.FINDINGS)] * 3

    if way is by_drop_folder:  # an export from before the request is no answer to it
        world.rooms.messages.close_requests(None, None, world.clock())
        world.rooms.messages.request(None, EXPORT.exported_at - DAY)
    way(world)  # type: ignore[operator]

    assert world.rooms.messages.requests() == []
    assert world.at_a_glance().health is Health.OK
    entry = world.notices("requested_not_arrived")[0]
    assert entry.open is (way is by_drop_folder)


def test_openais_word_and_the_persons_are_one_request_and_a_later_one_takes_its_place(
    world: World,
) -> None:
    mine = world.rooms.messages.request(None, START)
    started(world, START + timedelta(minutes=3))
    world.rooms.messages.request(None, START + DAY)
    (only,) = world.rooms.messages.requests()
    assert (only.id, only.mailbox, only.requested_at) == (mine.id, "personal", START)

    world.clock.now = START + 9 * DAY
    world.care.run()
    world.rooms.messages.request(None, world.clock())

    (later,) = world.rooms.messages.requests()
    assert later.id != mine.id
    assert world.at_a_glance().health is Health.PENDING


def test_a_started_mail_that_is_read_after_its_answer_opens_nothing(world: World) -> None:
    """Folders are read one after the other, not in the order of time."""
    world.clock.now = START + timedelta(hours=1)
    by_mail(world)

    started(world, START)

    assert world.rooms.messages.requests() == []
    assert "export_started" not in world.events()


def test_a_date_in_the_future_does_not_put_off_the_reminder(world: World) -> None:
    raw = mails.started(mails.Envelope(date=START + 365 * DAY, subject=mails.STARTED))
    Arrivals(world.rooms, lambda: None).found("personal", "INBOX", 1, 1, raw, START)

    assert world.rooms.messages.requests()[0].requested_at == START


def test_no_export_for_long_is_told_weekly_until_somebody_asks_and_ends_with_an_export(
    world: World,
) -> None:
    world.care.run()
    for days in (29, 31, 32, 39, 40):
        world.clock.now = START + days * DAY
        world.care.run()
    assert [entry.time - START for entry in world.notices("overdue")] == [31 * DAY, 39 * DAY]
    assert "no export has come yet" in world.notices("overdue")[0].body
    assert world.at_a_glance().health is Health.OVERDUE

    world.rooms.messages.request(None, world.clock())
    world.clock.now += 6 * DAY
    world.care.run()
    assert len(world.notices("overdue")) == 2  # who has asked need not be reminded
    assert world.at_a_glance().health is Health.PENDING

    by_mail(world)
    world.care.run()
    assert world.at_a_glance().health is Health.OK
    world.clock.now += 31 * DAY
    world.care.run()
    assert world.notices("overdue")[-1].time == world.clock()


def backupd(world: World, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "backupd", "--config", str(world.config), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_the_verb_notes_a_request_that_status_shows(world: World) -> None:
    assert "request noted:" in backupd(world, "requested").stderr
    assert "already" in backupd(world, "requested", "--mailbox", "personal").stderr
    assert "personal" in backupd(world, "requested", "--mailbox", "prsonal", code=2).stderr

    shown = backupd(world, "status").stdout

    assert shown.startswith("PENDING")
    assert "requested: " in shown
    assert "(mailbox personal)" in shown
    (request,) = world.rooms.messages.requests()
    assert request.mailbox == "personal"
