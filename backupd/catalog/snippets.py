"""The line of a text that shows why it was found. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from backupd.catalog.query import Term
from backupd.catalog.words import fold, pattern

_BEFORE, _AFTER = 60, 140
_SEARCHED = 200_000
"""So many characters are looked through for a match; a snippet of a longer text may miss it."""


def snippet(text: str, terms: Sequence[Term]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return about two hundred characters around the first match, on one line, and the matches."""
    text = text[:_SEARCHED]
    patterns = [pattern(term.text, prefix=term.prefix) for term in terms]
    folded = fold(text)
    places = [found.start() for one in patterns if (found := one.search(folded))]
    line = _cut(text, min(places, default=0))
    return line, _matches(fold(line), patterns)


def _cut(text: str, at: int) -> str:
    """Return the surroundings of a place, cut between words where there are any."""
    begin, end = max(0, at - _BEFORE), min(len(text), at + _AFTER)
    if begin and (space := text.find(" ", begin, at)) >= 0:
        begin = space + 1
    if end < len(text) and (space := text.rfind(" ", at + _BEFORE, end)) >= 0:
        end = space
    line = " ".join(text[begin:end].split())
    return f"{'… ' if begin else ''}{line}{' …' if end < len(text) else ''}"


def _matches(folded: str, patterns: Sequence[re.Pattern[str]]) -> tuple[tuple[int, int], ...]:
    """Return all matches in a line, in order, none overlapping."""
    spans = sorted(found.span() for one in patterns for found in one.finditer(folded))
    kept: list[tuple[int, int]] = []
    for begin, end in spans:
        if end > begin and (not kept or begin >= kept[-1][1]):
            kept.append((begin, end))
    return tuple(kept)
