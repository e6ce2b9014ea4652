"""When the next attempt is made."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from backupd.download.plan import next_attempt, spacing

START = datetime(2026, 9, 7, 10, 0, tzinfo=UTC)
DEADLINE = START + timedelta(hours=24)
GIVE_UP = DEADLINE + timedelta(hours=6)
RNG = random.Random(7)


def following(now: datetime, attempts: int, wish: timedelta | None = None) -> datetime | None:
    return next_attempt(now, START, DEADLINE, GIVE_UP, attempts, wish, RNG)


def test_first_attempt_is_made_at_once() -> None:
    assert following(START, 0) == START


def test_first_retry_comes_within_seconds() -> None:
    due = following(START, 1)

    assert due is not None
    assert due - START <= timedelta(seconds=15)


def test_wish_of_the_server_is_honoured() -> None:
    due = following(START, 1, timedelta(hours=2))

    assert due == START + timedelta(hours=2)


def test_wish_beyond_the_deadline_leaves_another_chance() -> None:
    due = following(START, 1, timedelta(hours=24))

    assert due == START + timedelta(hours=12)


def test_attempts_go_on_after_the_deadline_until_given_up() -> None:
    now, made = START, 1
    times = [now]
    while (due := following(now, made)) is not None:
        now, made = due, made + 1
        times.append(now)

    assert times[-1] <= GIVE_UP
    assert any(time > DEADLINE for time in times)
    assert 60 < len(times) < 300
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= timedelta(minutes=38)
    near = [time for time in times if DEADLINE - timedelta(minutes=30) < time <= DEADLINE]
    assert len(near) >= 8


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=400)])
def test_nothing_is_planned_once_given_up(late: timedelta) -> None:
    assert following(GIVE_UP + late, 3) is None


def test_spacing_grows_from_the_start_and_shrinks_towards_the_end() -> None:
    far = timedelta(hours=24)

    assert [spacing(far, n).total_seconds() for n in (1, 2, 3, 4, 9, 99)] == [
        10, 20, 40, 80, 1800, 1800,
    ]  # fmt: skip
    assert [spacing(timedelta(minutes=m), 99).total_seconds() for m in (120, 60, 12, 3, 0)] == [
        600, 300, 60, 20, 20,
    ]  # fmt: skip
