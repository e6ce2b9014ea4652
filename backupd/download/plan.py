"""When to try again: quick at first, patient in between, denser as the deadline nears. Pure.

Rules: an attempt is never planned past `give_up_at`; the mean spacing never grows while the
deadline comes nearer; the server's wish to wait is honoured as far as the link's life allows.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

FIRST = timedelta(seconds=10)
"""Mean wait after the first failure; doubles with each further one."""
LONGEST = timedelta(minutes=30)
SHORTEST = timedelta(seconds=20)
"""The spacing shrinks no further than this, however near the deadline is."""
SHARE = 12
"""At least about this many attempts fit into what is left at any time."""
JITTER = 0.25
_DOUBLINGS = 16


def next_attempt(
    now: datetime,
    first_try: datetime,
    deadline: datetime,
    give_up_at: datetime,
    attempts: int,
    retry_after: timedelta | None,
    rng: random.Random,
) -> datetime | None:
    """Plan the attempt that follows `attempts` failed ones, or None when there is none left.

    All times are aware UTC. With no attempt made yet the answer is `first_try`, or `now` if that
    has passed. After `deadline` the spacing is measured against `give_up_at`.
    """
    if now >= give_up_at:
        return None
    if attempts <= 0:
        due = max(now, first_try)
        return due if due <= give_up_at else None
    end = deadline if now < deadline else give_up_at
    wait = _jittered(spacing(min(end, give_up_at) - now, attempts), rng)
    if retry_after is not None:
        wait = max(wait, _bearable(retry_after, end - now))
    return now + wait if wait <= give_up_at - now else None


def spacing(left: timedelta, attempts: int) -> timedelta:
    """Return the mean wait with `left` until the end, after `attempts` (at least 1) failures."""
    growing = FIRST * (1 << min(attempts - 1, _DOUBLINGS))
    return min(growing, LONGEST, max(left / SHARE, SHORTEST))


def _bearable(wish: timedelta, left: timedelta) -> timedelta:
    """Cut a server's wish to half of what is left, so that there is always one more chance."""
    return min(wish, left / 2)


def _jittered(mean: timedelta, rng: random.Random) -> timedelta:
    return mean * rng.uniform(1 - JITTER, 1 + JITTER)
