"""Whether a catalog still says what was written into it.

SQLite notices a page that makes no sense, not a number that is another one. So everything is
compared: rows that come from the repository with their hashes and with its snapshots, and what is
folded from them with a second fold. Every function works inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from backupd.catalog.folding import fold_again
from backupd.catalog.histories import unpack_members
from backupd.catalog.ingest import seal
from backupd.catalog.queries import count_unreadable
from backupd.export.marks import content_digest, unpack_marks
from backupd.export.versions import Fingerprint

_CONVERSATION = "(SELECT id FROM conversations WHERE key = {}.conversation)"
_FINGERPRINT = "(SELECT digest FROM prints WHERE key = {}.print)"
_SLICE = "(SELECT id FROM slices WHERE key = {}.slice)"
_SNAPSHOT = "(SELECT id FROM snapshots WHERE key = {})"
# All that is folded, in words that do not depend on the keys of histories.
_FOLDED = (
    "SELECT id, total, new, changed, metadata_changed, unchanged, gone, mass_drop, missing"
    " FROM snapshots ORDER BY id",
    f"SELECT account, {_CONVERSATION.format('h')}, presence, {_SLICE.format('h')},"
    f" {_FINGERPRINT.format('h')}, head, latest, versions, metadata, title,"
    f" {_SNAPSHOT.format('first')}, {_SNAPSHOT.format('last')}, {_SNAPSHOT.format('gone_at')}"
    " FROM histories h ORDER BY 1, 2",
    f"SELECT h.account, {_CONVERSATION.format('h')}, number, {_FINGERPRINT.format('v')},"
    f" {_SLICE.format('v')}, {_SNAPSHOT.format('v.first')}, {_SNAPSHOT.format('v.last')},"
    " change, added, lost, altered, moved"
    " FROM versions v LEFT JOIN histories h ON h.key = v.history ORDER BY 1, 2, 3",
    f"SELECT {_SNAPSHOT.format('e.snapshot')}, h.account, {_CONVERSATION.format('h')}, change"
    " FROM events e LEFT JOIN histories h ON h.key = e.history ORDER BY 1, 2, 3",
    f"SELECT h.account, {_CONVERSATION.format('h')}, t.mark, p.head FROM placed p"
    " LEFT JOIN turns t ON t.key = p.turn LEFT JOIN histories h ON h.key = p.history"
    " ORDER BY 1, 2, 3",
    f"SELECT h.account, {_CONVERSATION.format('h')}, t.title FROM titles t"
    " LEFT JOIN histories h ON h.key = t.rowid ORDER BY 1, 2",
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the repository says of a snapshot.

    `facts` are account, at, received, id and complete as in a row; `slices` are ids, in order.
    """

    id: str
    facts: tuple[str, str, str, str, int | None]
    slices: Sequence[bytes]


def flaw_of_rows(connection: sqlite3.Connection, expected: Iterable[Expected]) -> str | None:
    """Return what is wrong with what is not folded, None if nothing is.

    Snapshots that are not in the catalog (yet) are passed over: `sync` says why.
    """
    if [row[0] for row in connection.execute("PRAGMA integrity_check(1)")] != ["ok"]:
        return "its file is damaged"
    if any(not _is_whole(*row) for row in connection.execute("SELECT * FROM prints")):
        return "a fingerprint is damaged"
    rows = connection.execute(
        "SELECT s.id, c.id, p.digest, s.metadata, s.created, s.updated, s.seal,"
        " s.conversation IS p.conversation FROM slices s"
        " LEFT JOIN conversations c ON c.key = s.conversation"
        " LEFT JOIN prints p ON p.key = s.print"
    )
    if any(not same or seal(*said) != mark for *said, mark, same in rows):
        return "what it says of a conversation is damaged"
    if not all(_agrees(connection, each) for each in expected):
        return "what it says of a snapshot is damaged"
    return None


def flaw_of_fold(connection: sqlite3.Connection) -> str | None:
    """Fold everything again; return what was wrong before, None if nothing was.

    What was right stays as it was, not a byte is written.
    """
    before = _digest(connection)
    connection.execute("SAVEPOINT fold")
    for table in ("versions", "events", "placed", "titles", "histories"):
        connection.execute(f"DELETE FROM {table}")
    accounts = connection.execute("SELECT DISTINCT account FROM snapshots ORDER BY 1").fetchall()
    for (account,) in accounts:
        fold_again(connection, account)
    same = _digest(connection) == before
    if same:
        connection.execute("ROLLBACK TO fold")
    connection.execute("RELEASE fold")
    return None if same else "its counts or histories are damaged"


def _is_whole(
    _key: int, _conversation: int, digest: bytes, content: bytes, marks: bytes, kept: int
) -> bool:
    """Whether a row of `prints` is what follows from its marks."""
    found = Fingerprint(
        content_digest(marks), b"{}", marks, sum(m.kept for m in unpack_marks(marks))
    )
    return (found.digest, found.content, found.kept) == (digest, content, kept)


def _agrees(connection: sqlite3.Connection, expected: Expected) -> bool:
    row = connection.execute(
        "SELECT account, at, received, id, complete, members, unreadable FROM snapshots"
        " WHERE id = ? AND gone_slices IS NULL",
        (expected.id,),
    ).fetchone()
    if row is None:
        return True
    *facts, members, unreadable = row
    keys = list(unpack_members(members))
    find = "SELECT id FROM slices WHERE key = ?"
    ids = [connection.execute(find, (key,)).fetchone() for key in keys]
    return (
        tuple(facts) == expected.facts
        and ids == [(name,) for name in expected.slices]
        and unreadable == count_unreadable(connection, keys)
    )


def _digest(connection: sqlite3.Connection) -> bytes:
    digest = blake2b(digest_size=16)
    for statement in _FOLDED:
        for row in connection.execute(statement):
            digest.update(repr(row).encode())
    return digest.digest()
