"""What to search for in a folder, and how far one has got: pure arithmetic on UIDs.

A cursor is (UIDVALIDITY, last UID seen). The rules, which must all stay here:

- UIDs mean nothing once UIDVALIDITY has changed: search the last 8 days again. An export may take
  7 days and its link dies after one; messages already handled are known by their Message-ID.
- UIDs that went backwards under the same UIDVALIDITY are treated as such a change.
- `UID n:*` always answers with the last message, even if it is older than n: drop what is older.
- A message that could not be read yet holds the cursor back, whatever came after it.
- A search may miss what has only just come: indexes lag, and some servers answer OK without an
  answer. So the UIDs just below the cursor are searched again each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

LOOK_BACK = timedelta(days=8)
OVERLAP = 200
"""So many UIDs below the cursor are searched again; what is known of them is not fetched again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a folder was searched: every UID up to `last_uid` needs no second look."""

    uidvalidity: int
    last_uid: int


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """One search: from `first_uid` on, or everything received `since` that day when it is set.

    `seen` is the last UID of the cursor that it begins at.
    """

    first_uid: int
    since: date | None
    rolled: bool = False
    seen: int = 0

    def wanted(self, uids: Iterable[int]) -> list[int]:
        """Return the UIDs of an answer that were asked for, ascending, each once."""
        return sorted({uid for uid in uids if uid >= self.first_uid})


def plan(cursor: Cursor | None, uidvalidity: int, uidnext: int | None, today: date) -> SearchPlan:
    """Plan the search of a folder that now has this UIDVALIDITY and, if known, UIDNEXT.

    First contact, also with a folder that was empty, and a changed UIDVALIDITY (`rolled`) look back
    8 days; otherwise from a little before the cursor on.
    """
    if cursor is None or cursor.last_uid < 1:
        return SearchPlan(1, today - LOOK_BACK)
    went_back = uidnext is not None and uidnext <= cursor.last_uid
    if cursor.uidvalidity != uidvalidity or went_back:
        return SearchPlan(1, today - LOOK_BACK, rolled=True)
    first = max(cursor.last_uid + 1 - OVERLAP, 1)
    return SearchPlan(first, None, seen=cursor.last_uid)


def advance(
    searched: SearchPlan,
    uidvalidity: int,
    uidnext: int | None,
    handled: Iterable[int],
    unfinished: Iterable[int] = (),
) -> Cursor:
    """Return the cursor after a search was worked off.

    `uidnext` must have been known *before* the search. `unfinished` are UIDs to be looked at again:
    the cursor stays below the lowest.
    """
    reached = max((searched.seen, (uidnext or 1) - 1, *handled))
    return Cursor(uidvalidity, min((reached, *(uid - 1 for uid in unfinished))))
