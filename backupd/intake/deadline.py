"""How far a delivery is through its window, and which alarm is due. Pure.

The window runs from the mail's time to the deadline. A person is told at half, three quarters and
nine tenths of it; a level that was passed while the machine slept is told late, but only the
highest one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

LEVELS = (50, 75, 90)
"""Per cent of the window at which a waiting delivery is told of."""


def alarm_due(start: datetime, deadline: datetime, told: int, now: datetime) -> int | None:
    """Return the highest level reached and not yet told, or None.

    `told` is the highest level told before, 0 for none. Past the deadline there is no level left:
    the expiry has a notice of its own.
    """
    window = deadline - start
    if window <= timedelta(0) or now >= deadline:
        return None
    passed = 100 * (now - start) / window
    reached = [level for level in LEVELS if passed >= level and level > told]
    return max(reached) if reached else None
