"""Say spans, sizes and counts in words, and make outside text harmless. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_WORD = re.compile(r"\S+")
_STEPS = ((86400, "day"), (3600, "hour"), (60, "minute"))
_LONGEST = 10_000


def plain(text: str | None, limit: int = 200) -> str:
    """Return outside text as one printable line without addresses, `limit` characters at most.

    Controls, line ends, direction marks and lone surrogates are written as escapes, so that a
    mail cannot draw a notice of its own.
    """
    shown = _WORD.sub(_without_address, (text or "")[:_LONGEST])
    safe = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown).strip()
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def _without_address(word: re.Match[str]) -> str:
    """Return a word, or a remark in its place if it has a scheme or a query."""
    text = word[0]
    addressed = "://" in text or ("=" in text and ("?" in text or "&" in text))
    return "(address left out)" if addressed else text


def cause(text: str | None) -> str:
    """Return an outside reason as the end of a sentence: harmless, without a final stop."""
    return plain(text, 300).rstrip(". ") or "no reason was given"


def shorten(name: str | None) -> str:
    """Return a file name that fits a line: its beginning and its end."""
    safe = plain(name, _LONGEST)
    return safe if len(safe) <= 48 else f"{safe[:16]}…{safe[-28:]}"


def short(identity: str) -> str:
    """Return the beginning of an id: enough to select by, to be copied as it stands."""
    return plain(identity[:12])


def span(length: timedelta) -> str:
    """Say a length of time in its two largest units: "1 day 4 hours", "12 minutes"."""
    seconds = int(length.total_seconds())
    if seconds < 60:
        return "less than a minute" if seconds >= 0 else "no time"
    numbers = []
    for length_of_one, name in _STEPS:
        number, seconds = divmod(seconds, length_of_one)
        numbers.append((number, name))
    first = next(index for index, (number, _) in enumerate(numbers) if number)
    two = numbers[first : first + 2]
    return " ".join(count(number, name) for number, name in two if number)


def within(left: timedelta) -> str:
    """Say by when something must be done: "within 3 hours", or "at once" when time is up."""
    return f"within {span(left)}" if left > timedelta(0) else "at once"


def moment(at: datetime) -> str:
    """Say a moment: "2026-11-24 04:40 UTC"; it stays true however late it is read."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, noun: str) -> str:
    """Say a number of things: "1 day", "2,000 days"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def amount(number: int) -> str:
    """Say a number of bytes in decimal units: "999 bytes", "1.2 GB"."""
    if number < 1000:
        return count(number, "byte")
    value, units = float(number), ["kB", "MB", "GB", "TB"]
    value /= 1000
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:,.1f} {units[0]}"


def listing(items: tuple[str, ...], most: int = 5) -> str:
    """Say outside items as indented lines, `most` of them, and how many more there are."""
    lines = [f"  - {plain(item)}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  - and {len(items) - most} more")
    return "\n".join(lines)
