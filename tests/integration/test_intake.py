"""The pipeline's duties on an open ledger and repository, by a clock that the test turns."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.intake.care import Care
from backupd.intake.fetching import Fetcher
from backupd.intake.overview import Health, Overview, overview
from backupd.intake.rooms import Rooms
from backupd.intake.storing import store
from backupd.ledger.delivery import State
from backupd.ledger.notices import NoticeLog
from backupd.store.repository import Origin, Repository
from backupd.wiring import open_rooms
from tests.support.storing import week
from tests.unit.test_ledger import opening

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rooms(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rooms]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    config = tmp_path / "config.toml"
    config.write_text(
        f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"\n'
    )
    Repository.create(tmp_path / "repository").close()
    opened, credentials = open_rooms(load(config), clock)
    yield opened
    credentials.close()
    opened.close()


def events(rooms: Rooms) -> list[str]:
    return [entry.event for entry in NoticeLog(rooms.database).list()]


def hand_in(rooms: Rooms, directory: Path, number: int = 1) -> None:
    path = directory / "export.zip"
    path.write_bytes(week(number))
    store(rooms, path, Origin(path.name, rooms.clock(), "import", None, None))


def care_of(rooms: Rooms) -> Care:
    return Care(rooms, fetcher_of(rooms), lambda: None)


def fetcher_of(rooms: Rooms) -> Fetcher:
    return Fetcher(rooms, threading.Event(), lambda: None)


def at_a_glance(rooms: Rooms) -> Overview:
    return overview(
        rooms.settings, rooms.deliveries, rooms.messages, rooms.repository, rooms.clock()
    )


def test_a_first_start_is_no_check_and_the_first_check_comes_an_interval_later(
    rooms: Rooms, clock: Clock, tmp_path: Path
) -> None:
    hand_in(rooms, tmp_path)
    care_of(rooms).run()
    assert at_a_glance(rooms).last_check_at is None

    clock.now = START + timedelta(days=7)
    care_of(rooms).run()

    assert at_a_glance(rooms).last_check_at == clock.now
    assert at_a_glance(rooms).last_drill_at is None
    assert events(rooms) == ["stored", "check_result"]


def test_what_nobody_tries_any_more_is_given_up_but_not_under_an_attempt(
    rooms: Rooms, clock: Clock, tmp_path: Path
) -> None:
    waiting = rooms.deliveries.open(opening("a.zip", START), START)
    rooms.deliveries.quarantined(waiting.id, "damaged", START)
    busy = rooms.deliveries.open(opening("b.zip", START), START)
    rooms.deliveries.fetching(busy.id, tmp_path / "b.part", START)
    clock.now = START + timedelta(hours=6)

    care_of(rooms).watch_deadlines()

    states = [rooms.deliveries.get(delivery.id).state for delivery in (waiting, busy)]
    assert states == [State.EXPIRED, State.FETCHING]
    assert events(rooms) == ["expired"]


def test_a_fetched_file_that_cannot_be_stored_is_kept_tried_again_and_told_of_once(
    rooms: Rooms, tmp_path: Path
) -> None:
    part = rooms.repository.incoming / "a.part"
    part.write_bytes(week(1))
    delivery = rooms.deliveries.open(opening("a.zip"), START)
    rooms.deliveries.fetching(delivery.id, part, START)
    rooms.deliveries.fetched(delivery.id, "00", part.stat().st_size, START)
    packs = tmp_path / "repository" / "packs"
    packs.rename(tmp_path / "away")
    packs.write_bytes(b"in the way")

    fetcher_of(rooms).run_due()
    rooms.deliveries.postpone(delivery.id, START, START)
    fetcher_of(rooms).run_due()

    assert rooms.deliveries.get(delivery.id).state is State.FETCHED
    assert part.exists()
    assert events(rooms) == ["not_stored"]

    packs.unlink()
    (tmp_path / "away").rename(packs)
    rooms.deliveries.postpone(delivery.id, START, START)
    fetcher_of(rooms).run_due()
    assert rooms.deliveries.get(delivery.id).state is State.STORED
    assert not part.exists()


def test_a_missed_export_needs_action_until_another_one_is_stored(
    rooms: Rooms, clock: Clock, tmp_path: Path
) -> None:
    delivery = rooms.deliveries.open(opening(), clock())
    clock.now += timedelta(hours=31)
    fetcher_of(rooms).expire(delivery, "status 403, after the deadline")
    missed = at_a_glance(rooms)
    assert rooms.deliveries.get(delivery.id).state is State.EXPIRED

    clock.now += timedelta(hours=1)
    hand_in(rooms, tmp_path)

    assert (missed.health, missed.missed_at) == (Health.ACTION_NEEDED, START + timedelta(hours=31))
    assert at_a_glance(rooms).health is Health.OK


def test_the_same_zip_again_leaves_a_request_open(rooms: Rooms, tmp_path: Path) -> None:
    hand_in(rooms, tmp_path)
    rooms.messages.request("personal", START)

    hand_in(rooms, tmp_path)

    assert len(rooms.messages.requests()) == 1


def test_an_export_from_before_a_request_leaves_it_open(rooms: Rooms, tmp_path: Path) -> None:
    rooms.messages.request("personal", datetime(2026, 11, 3, tzinfo=UTC))
    hand_in(rooms, tmp_path, 1)
    assert len(rooms.messages.requests()) == 1

    hand_in(rooms, tmp_path, 3)

    assert rooms.messages.requests() == []


def test_after_a_crash_between_snapshot_and_ledger_everything_is_still_told(
    rooms: Rooms, tmp_path: Path
) -> None:
    part = rooms.repository.incoming / "a.part"
    with zipfile.ZipFile(part, "w") as archive:
        archive.writestr("user.json", '{"id": "user-abc"}')
    delivery = rooms.deliveries.open(opening("a.zip"), START)
    rooms.deliveries.fetching(delivery.id, part, START)
    rooms.deliveries.fetched(delivery.id, "00", part.stat().st_size, START)
    rooms.repository.add(part, Origin("a.zip", START, "mail", delivery.id, "personal"))

    fetcher_of(rooms).run_due()

    assert rooms.deliveries.get(delivery.id).state is State.STORED
    assert events(rooms) == ["stored", "incomplete_export"]
