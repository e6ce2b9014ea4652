"""A day in the life of a link, by a clock that is turned: whatever happens to it, it is tried.

The ledger, the repository and the TLS server are real; only the time is the test's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backupd.demo import mails
from backupd.intake.deadline import status_line
from backupd.ledger.delivery import State
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.scripted_imap import ScriptedImap
from tests.support.stage import exports, until
from tests.support.turned_clock import START, World, turned_world

DAY = timedelta(hours=24)
(EXPORT,) = exports(1)
WALLS = ["broken", "forbidden", "rate-limited", "login-redirect", "challenge"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    with turned_world(tmp_path) as made:
        yield made


def told_at(world: World, start: datetime) -> list[float]:
    """Return how many hours after the start the levels of the deadline were told."""
    return [(one.time - start) / timedelta(hours=1) for one in world.notices("deadline_near")]


@pytest.mark.parametrize("wall", WALLS if FULL else WALLS[:2])
def test_a_server_down_for_23_hours_50_minutes_is_still_saved(world: World, wall: str) -> None:
    world.offer(EXPORT, wall=wall)
    world.receive(EXPORT)
    down = START + DAY - timedelta(minutes=10)
    world.live(down, timedelta(hours=1))
    world.offer(EXPORT)

    world.live(START + DAY)

    stored = world.delivery(EXPORT)
    told = world.notices("stored")[0].time
    print(f"{wall}: {stored.attempts} attempts, stored {START + DAY - told} before the deadline")
    assert stored.state is State.STORED
    assert told < START + DAY


def test_attempts_come_closer_together_as_the_deadline_nears(world: World) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)
    times: list[datetime] = []
    run_due = world.fetcher.run_due

    def noted() -> int:
        made = run_due()
        times.extend([world.clock()] * made)
        return made

    world.fetcher.run_due = noted  # type: ignore[method-assign]
    world.live(START + DAY)

    left = [(START + DAY - before, after - before) for before, after in pairwise(times)]
    last_hour = [wait for remaining, wait in left if remaining <= timedelta(hours=1)]
    noon = [wait for remaining, wait in left if timedelta(hours=9) < remaining <= DAY / 2]
    assert max(noon) > timedelta(minutes=20)
    assert max(last_hour) <= timedelta(minutes=7)
    assert last_hour[-1] <= timedelta(seconds=26)
    assert len(times) < 300


def test_the_person_is_told_at_half_three_quarters_nine_tenths_and_at_the_end(
    world: World,
) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)

    world.live(START + timedelta(hours=40), timedelta(minutes=30))

    assert told_at(world, START) == pytest.approx([12.0, 18.0, 21.6], abs=0.5)
    assert world.events()[-1] == "expired"
    assert "request a new export" in world.notices("expired")[0].body
    end = world.notices("expired")[0].time - START
    assert timedelta(hours=29, minutes=59) <= end <= timedelta(hours=31)
    assert world.delivery(EXPORT).link is None


@pytest.mark.parametrize("hours", [29, 24 * 365], ids=lambda hours: f"{hours} h")
@pytest.mark.parametrize("wall", [None, "broken"])
def test_after_a_suspend_over_the_end_the_link_is_tried_before_it_is_given_up(
    world: World, hours: int, wall: str | None
) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)
    world.live(START + timedelta(hours=2))
    world.offer(EXPORT, wall=wall)
    before = world.delivery(EXPORT).attempts

    world.clock.now = START + timedelta(hours=hours)
    world.tick()
    if wall is not None:
        assert world.delivery(EXPORT).attempts == before + 1
        world.live(world.clock.now + timedelta(hours=3))

    found = world.delivery(EXPORT)
    assert found.state is (State.EXPIRED if wall else State.STORED)
    assert ("deadline_near" in world.events()) is (hours < 30)  # the deadline was slept through
    assert found.link is None


def test_a_machine_that_wakes_up_without_a_network_has_a_while_to_find_it(world: World) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)
    world.clock.now = START + timedelta(days=3)
    world.tick()
    assert world.delivery(EXPORT).state is State.PROVEN

    world.offer(EXPORT)
    world.live(world.clock.now + timedelta(minutes=10))

    assert world.delivery(EXPORT).state is State.STORED


def in_mid_attempt(world: World, action: Callable[[], object]) -> None:
    """Make one attempt, and do something while its download stands still."""
    attempt = threading.Thread(target=world.fetcher.run_due)
    attempt.start()
    try:
        until(lambda: world.delivery(EXPORT).state is State.FETCHING, what="the attempt")
        action()
    finally:
        attempt.join(20)
    assert not attempt.is_alive()


def test_a_leap_while_an_attempt_is_under_way_does_not_end_the_link(world: World) -> None:
    """As when a machine without a clock of its own learns the time in mid-download."""
    world.offer(EXPORT, stall_after=1000)
    world.receive(EXPORT)

    def leap() -> None:
        world.clock.now += timedelta(days=400)

    in_mid_attempt(world, leap)
    assert world.delivery(EXPORT).state is State.PROVEN

    world.offer(EXPORT)
    world.live(world.clock.now + timedelta(minutes=10))
    assert world.delivery(EXPORT).state is State.STORED


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1), timedelta(days=3650)])
def test_a_clock_that_is_set_back_holds_nothing_up(world: World, back: timedelta) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)
    world.tick()
    world.clock.now = START + timedelta(hours=13)
    world.tick()
    told = told_at(world, START)
    world.offer(EXPORT)

    world.clock.now -= back
    world.live(world.clock.now + timedelta(minutes=1))

    assert world.delivery(EXPORT).state is State.STORED
    assert told_at(world, START) == told


def test_a_clock_that_goes_wrong_for_a_minute_costs_nothing(world: World) -> None:
    world.offer(EXPORT, wall="broken")
    world.receive(EXPORT)
    world.live(START + timedelta(hours=1))
    world.clock.now += timedelta(days=20_000)
    world.tick()
    world.clock.now = START + timedelta(hours=1, minutes=1)
    world.offer(EXPORT)

    world.live(START + timedelta(hours=2))

    assert world.delivery(EXPORT).state is State.STORED


DATES = [-48, -25, -5, -1, 0, 1, 5, 25, 24 * 365]


@pytest.mark.parametrize("hours", DATES if FULL else [-5, 5, 24 * 365])
def test_a_date_header_that_is_hours_off_shortens_nothing(world: World, hours: int) -> None:
    """An early Date hurries, a late one puts off the giving up by a day at most."""
    world.offer(EXPORT, wall="broken")
    found = world.receive(EXPORT, date=START + timedelta(hours=hours))
    world.clock.now = START + DAY - timedelta(minutes=20)
    world.live(START + DAY - timedelta(minutes=10))
    world.offer(EXPORT)

    world.live(START + DAY + timedelta(minutes=20))

    assert found.deadline == START + DAY + min(timedelta(hours=hours), timedelta(0))
    assert found.give_up_at is not None
    assert START + timedelta(hours=30) <= found.give_up_at <= START + timedelta(hours=54)
    assert world.delivery(EXPORT).state is State.STORED


ZONES = ["+0000", "-1200", "+1400", "+0530", "-0330"]


@pytest.mark.parametrize("zone", ZONES if FULL else ZONES[1:4])
def test_an_internaldate_of_another_zone_is_the_same_moment(world: World, zone: str) -> None:
    world.offer(EXPORT)
    raw = mails.ready(mails.Envelope(START), mails.estuary_url(EXPORT.file_name, START))
    with ScriptedImap() as server:
        server.zone = zone
        server.deliver(raw, at=START)
        world.clock.now = START + timedelta(hours=1)
        world.read_mailbox(server)

    assert world.delivery(EXPORT).deadline == START + DAY


SWITCHES = [
    ("Europe/Berlin", datetime(2026, 3, 28, 13, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, 13, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, 20, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 3, tzinfo=UTC)),
]


@pytest.mark.parametrize(
    ("zone", "at"), SWITCHES if FULL else SWITCHES[::2], ids=lambda value: str(value)[:20]
)
def test_a_day_on_which_clocks_are_changed_has_24_hours(
    world: World, zone: str, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        world.clock.now = at
        world.offer(EXPORT, wall="broken")
        found = world.receive(EXPORT, date=at.astimezone(ZoneInfo(zone)))
        world.tick()
        for hours in (11.9, 12, 17.9, 18, 21.5, 21.6):
            world.clock.now = at + timedelta(hours=hours)
            world.care.watch_deadlines()
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found.deadline == at + DAY
    assert told_at(world, at) == pytest.approx([12.0, 18.0, 21.6], abs=0.01)


def test_reloads_and_restarts_are_no_attempts(world: World) -> None:
    world.offer(EXPORT, stall_after=1000)
    world.receive(EXPORT)
    for _ in range(3):
        in_mid_attempt(world, world.cancel.set)
        world.stop()
        world.start()
    reloaded = world.delivery(EXPORT)
    part = world.rooms.repository.incoming / f"{reloaded.id}.part"
    world.rooms.deliveries.fetching(reloaded.id, part, world.clock())
    world.stop()  # as a power cut would leave it
    world.start()
    assert (reloaded.attempts, world.delivery(EXPORT).attempts) == (0, 0)

    world.offer(EXPORT)
    world.tick()

    assert world.delivery(EXPORT).state is State.STORED
    assert world.delivery(EXPORT).attempts == 1


@pytest.mark.parametrize("wall", ["forbidden", "expired"])
def test_a_link_that_may_have_died_early_is_told_at_once_as_uncertain_and_tried_on(
    world: World, wall: str
) -> None:
    world.offer(EXPORT, wall=wall)
    world.receive(EXPORT)
    world.tick()
    (told,) = world.notices("sign_in_needed")
    assert world.delivery(EXPORT).state is State.NEEDS_YOU
    assert "If the link does not work there either, it is dead: request" in told.body
    assert ("the link has ended" in told.body) is (wall == "expired")

    world.offer(EXPORT)
    world.live(START + timedelta(hours=2))

    assert world.delivery(EXPORT).state is State.STORED


def test_a_link_whose_own_server_says_that_it_has_ended_is_over_at_once(world: World) -> None:
    world.offer(EXPORT, wall="expired")
    world.receive(EXPORT, azure=True)
    world.tick()

    assert world.delivery(EXPORT).state is State.EXPIRED
    assert "the link's signature has ended" in world.notices("expired")[0].body


def test_the_service_managers_line_says_what_is_pending_and_for_how_long(world: World) -> None:
    def line() -> str:
        rooms = world.rooms
        return status_line(2, rooms.deliveries.pending(), rooms.messages.requests(), world.clock())

    assert line() == "watching 2 mailboxes, nothing pending"
    world.rooms.messages.request(None, START)
    assert line() == "watching 2 mailboxes, nothing pending, 1 export requested"
    world.offer(EXPORT, wall="forbidden")
    world.receive(EXPORT)
    assert line() == "1 delivery pending, nearest link expires in 1 day"
    world.tick()
    world.clock.now += timedelta(hours=20, minutes=30)
    left = "nearest link expires in 3 hours 30 minutes"
    assert line() == f"1 delivery pending, 1 of them for you, {left}"
    world.clock.now += timedelta(hours=5)
    assert line().endswith("nearest link should be dead, tried until it is")


SAMPLED = ("5 min", "-8 h", "10 y")


def test_every_leap_at_every_hour_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server heals with the leap, and the export is saved whatever the clock says then."""
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    leaps = {
        "1 s": timedelta(seconds=1),
        "-1 s": -timedelta(seconds=1),
        "5 min": timedelta(minutes=5),
        "1 h": timedelta(hours=1),
        "-1 h": -timedelta(hours=1),
        "8 h": timedelta(hours=8),
        "-8 h": -timedelta(hours=8),
        "3 d": timedelta(days=3),
        "-3 d": -timedelta(days=3),
        "10 y": timedelta(days=3653),
        "-10 y": -timedelta(days=3653),
    }
    hours = range(0, 30, 3) if FULL else (25,)
    table = campaign("clock leaps")
    for name, leap in leaps.items():
        for hour in hours if FULL or name in SAMPLED else ():
            root = tmp_path / f"{name} {hour}".replace(" ", "_")
            root.mkdir()
            with table.case(name, hour), turned_world(root) as world:
                world.offer(EXPORT, wall="broken")
                world.receive(EXPORT)
                world.tick()
                world.clock.now = START + timedelta(hours=hour) - timedelta(minutes=5)
                world.live(START + timedelta(hours=hour))
                world.clock.now += leap
                world.offer(EXPORT)
                world.live(world.clock.now + timedelta(minutes=45))
                assert world.delivery(EXPORT).state is State.STORED, (name, hour)
