"""Alarms of a delivery's window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupd.intake.deadline import alarm_due

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = START + timedelta(hours=24)


@pytest.mark.parametrize(
    ("hours", "told", "due"),
    [
        (11.9, 0, None),
        (12, 0, 50),
        (12, 50, None),
        (18, 50, 75),
        (21.7, 75, 90),
        (23.9, 90, None),
        (24, 90, None),
        (24, 0, 90),
        (29, 75, 90),
        (30, 90, None),
    ],
)
def test_each_level_is_due_once(hours: float, told: int, due: int | None) -> None:
    assert alarm_due(START, END, told, START + timedelta(hours=hours)) == due


def test_after_a_long_sleep_only_the_highest_level_is_due() -> None:
    assert alarm_due(START, END, 0, START + timedelta(hours=23)) == 90


def test_a_window_of_no_length_raises_no_alarm() -> None:
    assert alarm_due(START, START, 0, START) is None
