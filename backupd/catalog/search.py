"""Search: full text over the turns and the titles, filtered, ranked, with the line that matched.

Rank: BM25, doubled where the title of the conversation matches as well, and up to half as much
again the younger the turn is. A title that matches is a hit of its own, unless a filter asks for
what only turns have.

Of words that very many turns have, the RANKED turns that were taken in last are ranked: nobody
reads further, and ranking each of them would take as long as there are turns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backupd.catalog.query import Query, understand
from backupd.catalog.snippets import snippet
from backupd.catalog.values import Hit, Hits, Wanted
from backupd.catalog.words import fold
from backupd.export.marks import turns_in
from backupd.export.versions import Presence

_YEAR = 365.25 * 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UPDATED = "(SELECT updated FROM slices WHERE key = h.slice)"
_SAID = f"ifnull(t.created, {_UPDATED})"
RANKED = 2_000
_TITLED = "SELECT rowid FROM titles WHERE titles MATCH :match"
_TURNS = (
    "SELECT score * {fresh} * (1 + (h.key IN ({titled}))) AS score, h.key, t.key FROM"
    " (SELECT bm25(words) AS score, t.key AS turn, p.history"
    " FROM words CROSS JOIN turns t ON t.key = words.rowid CROSS JOIN placed p ON p.turn = t.key"
    " CROSS JOIN histories h ON h.key = p.history WHERE words MATCH :match AND {where}"
    " ORDER BY words.rowid DESC LIMIT {ranked}) AS found"
    " JOIN turns t ON t.key = found.turn JOIN histories h ON h.key = found.history"
    " ORDER BY 1, t.key LIMIT :limit"
)
_TITLES = (
    "SELECT 2 * bm25(titles) * {fresh} AS score, h.key, NULL"
    " FROM titles JOIN histories h ON h.key = titles.rowid WHERE titles MATCH :match AND {where}"
    " ORDER BY score, h.key LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """What is known of a history, and of its versions in the order of time."""

    conversation: str
    account: str
    title: str | None
    gone: bool
    versions: tuple[_Span, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """Which turns a version has, and from which snapshot to which, with the time of the last."""

    marks: set[bytes]
    first: tuple[str, str]
    last: tuple[str, str]


def search(connection: sqlite3.Connection, wanted: Wanted, now: datetime) -> Hits:
    """Return the best hits.

    Raises:
        QueryRefused: the query cannot be understood.
    """
    query = understand(wanted.query)
    values = _values(wanted, query, now)
    found = _ranked(connection, _TURNS, _turn_filters(wanted), _SAID, values)
    if not (wanted.role or wanted.model or wanted.has_asset):
        found += _ranked(connection, _TITLES, _filters(wanted, _UPDATED), _UPDATED, values)
    found.sort(key=lambda row: row[0])
    finder = _Finder(connection, query)
    hits = tuple(finder.hit(history, turn) for _, history, turn in found[: wanted.limit])
    return Hits(hits, len(found) > wanted.limit)


def _values(wanted: Wanted, query: Query, now: datetime) -> dict[str, object]:
    return {
        "match": query.match,
        "limit": wanted.limit + 1,
        "now": now.timestamp(),
        "role": wanted.role,
        "model": fold(wanted.model or ""),
        "title": fold(wanted.title or ""),
        "since": wanted.since.timestamp() if wanted.since else None,
        "until": wanted.until.timestamp() if wanted.until else None,
    }


def _ranked(
    connection: sqlite3.Connection, sql: str, where: str, at: str, values: dict[str, object]
) -> list[tuple[float, int, int | None]]:
    fresh = f"(1 + 0.5 / (1 + max(0, :now - ifnull({at}, 0)) / {_YEAR}))"
    statement = sql.format(fresh=fresh, titled=_TITLED, where=where, ranked=RANKED)
    return connection.execute(statement, values).fetchall()


def _turn_filters(wanted: Wanted) -> str:
    parts = [_filters(wanted, _SAID), "t.role = :role" if wanted.role else "t.kept"]
    if not wanted.every_version:
        parts.append("p.head")
    if wanted.model:
        parts.append("instr(lower(t.model), :model)")
    if wanted.has_asset:
        parts.append("t.assets")
    return " AND ".join(parts)


def _filters(wanted: Wanted, at: str) -> str:
    """Return the conditions that hold for turns and titles alike; `at` is their time."""
    parts = ["1"]
    if wanted.since:
        parts.append(f"{at} >= :since")
    if wanted.until:
        parts.append(f"{at} < :until")
    if wanted.title:
        parts.append("instr(fold(ifnull(h.title, '')), :title)")
    if wanted.gone:
        parts.append(f"h.presence = {int(Presence.GONE)}")
    return " AND ".join(parts)


class _Finder:
    """Turns keys into hits; what is known of a history is read once."""

    def __init__(self, connection: sqlite3.Connection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self._places: dict[int, _Place] = {}

    def hit(self, history: int, turn: int | None) -> Hit:
        place = self._places.get(history) or self._read(history)
        self._places[history] = place
        if turn is None:
            return self._title(place)
        mark, message, role, model, created, text, head = self._connection.execute(
            "SELECT mark, message, role, model, created, text, head FROM turns"
            " JOIN texts ON texts.key = turns.key JOIN placed ON turn = turns.key"
            " WHERE turns.key = ? AND history = ?",
            (turn, history),
        ).fetchone()
        line, marks = snippet(text, self._query.terms)
        spans = [span for span in place.versions if mark in span.marks]
        said = None if created is None else _EPOCH + timedelta(seconds=created)
        return Hit(
            place.conversation, place.account, place.title, message, role, model, said,
            line, marks, *_ends(spans), bool(head), place.gone,
        )  # fmt: skip

    def _title(self, place: _Place) -> Hit:
        line, marks = snippet(place.title or "", self._query.terms)
        return Hit(
            place.conversation, place.account, place.title, None, None, None, None,
            line, marks, *_ends(place.versions), current=True, gone=place.gone,
        )  # fmt: skip

    def _read(self, history: int) -> _Place:
        row = self._connection.execute(
            "SELECT conversations.id, account, title, presence FROM histories"
            " JOIN conversations ON conversations.key = conversation WHERE histories.key = ?",
            (history,),
        ).fetchone()
        rows = self._connection.execute(
            "SELECT marks, first.at, first.id, last.at, last.id FROM versions v"
            " JOIN prints ON prints.key = v.print JOIN snapshots first ON first.key = v.first"
            " JOIN snapshots last ON last.key = coalesce(v.last, (SELECT key FROM snapshots"
            " WHERE account = ? AND gone_slices IS NULL ORDER BY at DESC, received DESC, id DESC"
            " LIMIT 1), v.first) WHERE v.history = ?",
            (row[1], history),
        )
        spans = (_Span(turns_in(marks), (a, b), (c, d)) for marks, a, b, c, d in rows)
        name, account, title, presence = row
        return _Place(name, account, title, presence == Presence.GONE, tuple(spans))


def _ends(spans: Sequence[_Span]) -> tuple[str, str, datetime]:
    """Return the first and the last snapshot of some versions, and when the last was made."""
    first, last = min(span.first for span in spans), max(span.last for span in spans)
    return first[1], last[1], datetime.fromisoformat(last[0])
