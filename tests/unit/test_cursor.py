"""UID arithmetic: nothing is skipped, nothing old is taken for new."""

from __future__ import annotations

from datetime import date

import pytest

from backupd.mail.cursor import Cursor, SearchPlan, advance, plan

TODAY = date(2026, 11, 23)
BACK = date(2026, 11, 15)


@pytest.mark.parametrize(
    ("cursor", "uidvalidity", "uidnext", "wanted"),
    [
        (None, 7, 100, SearchPlan(1, BACK)),
        (None, 7, None, SearchPlan(1, BACK)),
        (Cursor(7, 0), 7, 1, SearchPlan(1, BACK)),
        (Cursor(7, 99), 7, 100, SearchPlan(1, None, seen=99)),
        (Cursor(7, 999), 7, 1000, SearchPlan(800, None, seen=999)),
        (Cursor(7, 999), 7, None, SearchPlan(800, None, seen=999)),
        (Cursor(7, 999), 7, 5000, SearchPlan(800, None, seen=999)),
        (Cursor(7, 99), 8, 500, SearchPlan(1, BACK, rolled=True)),
        (Cursor(7, 99), 8, 3, SearchPlan(1, BACK, rolled=True)),
        (Cursor(7, 99), 7, 50, SearchPlan(1, BACK, rolled=True)),
    ],
)
def test_plans(
    cursor: Cursor | None, uidvalidity: int, uidnext: int | None, wanted: SearchPlan
) -> None:
    assert plan(cursor, uidvalidity, uidnext, TODAY) == wanted


def test_the_last_message_that_a_star_brings_is_dropped() -> None:
    assert SearchPlan(103, None).wanted([102]) == []
    assert SearchPlan(103, None).wanted([110, 103, 102, 110]) == [103, 110]


@pytest.mark.parametrize(
    ("seen", "uidnext", "handled", "unfinished", "reached"),
    [
        (0, 100, [], [], 99),
        (0, None, [], [], 0),
        (0, None, [5, 9], [], 9),
        (99, 100, [], [], 99),
        (99, 100, [104], [], 104),
        (99, 110, [104], [], 109),
        (99, 110, [101, 104, 107], [104], 103),
        (99, 110, [101, 104, 107], [107, 104], 103),
        (99, 110, [98], [98], 97),
        (99, None, [], [], 99),
        (0, 100, [1], [1], 0),
    ],
)
def test_how_far_a_search_got(
    seen: int, uidnext: int | None, handled: list[int], unfinished: list[int], reached: int
) -> None:
    cursor = advance(SearchPlan(1, None, seen=seen), 7, uidnext, handled, unfinished)

    assert cursor == Cursor(7, reached)
