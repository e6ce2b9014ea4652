"""How far a delivery is through its window, and which alarm is due. Pure.

The window runs from the mail's time to the deadline. A person is told at half, three quarters and
nine tenths of it; a level that was passed while the machine slept is told late, but only the
highest one, and that also after the deadline: the link may be alive until it was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from backupd.ledger.delivery import Delivery, State
from backupd.ledger.messages import Request
from backupd.notice import span

LEVELS = (50, 75, 90)
"""Per cent of the window at which a waiting delivery is told of."""
LAST_CHANCE = timedelta(minutes=30)
"""So long a link is tried once its time is over: the clock may have leapt over the end of it, and
a machine that wakes up may have no network yet."""
WALL_RETRY = timedelta(hours=1)
WALL_SHORTEST = timedelta(minutes=5)
WALL_SHARE = 6
"""So often, at least, a wall is tried in what is left, as far as the shortest pause allows."""
TRANSFER = timedelta(hours=6)
"""An attempt may take at least so long: a transfer that works is not broken off by the clock."""


def alarm_due(start: datetime, deadline: datetime, told: int, now: datetime) -> int | None:
    """Return the highest level reached and not yet told, or None.

    `told` is the highest level told before, 0 for none.
    """
    window = deadline - start
    if window <= timedelta(0):
        return None
    passed = 100 * (now - start) / window
    reached = [level for level in LEVELS if passed >= level and level > told]
    return max(reached) if reached else None


def wall_pause(delivery: Delivery, now: datetime) -> timedelta:
    """Return how long to leave a wall alone that may be a passing one; less towards the end."""
    ends = [at for at in (delivery.deadline, delivery.give_up_at) if at is not None and at > now]
    left = min(ends) - now if ends else timedelta(0)
    return min(WALL_RETRY, max(left / WALL_SHARE, WALL_SHORTEST))


def status_line(
    mailboxes: int, pending: Sequence[Delivery], requests: Sequence[Request], now: datetime
) -> str:
    """Say in one line what is on its way and how long there is; for the service manager."""
    if not pending:
        asked = f", {_some(len(requests), 'export')} requested" if requests else ""
        return f"watching {_some(mailboxes, 'mailbox', 'mailboxes')}, nothing pending{asked}"
    needy = sum(delivery.state is State.NEEDS_YOU for delivery in pending)
    parts = [f"{_some(len(pending), 'delivery', 'deliveries')} pending"]
    if needy:
        parts.append(f"{needy} of them for you")
    deadlines = [delivery.deadline for delivery in pending if delivery.deadline]
    if deadlines and min(deadlines) > now:
        parts.append(f"nearest link expires in {span(min(deadlines) - now)}")
    elif deadlines:
        parts.append("nearest link should be dead, tried until it is")
    return ", ".join(parts)


def _some(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
