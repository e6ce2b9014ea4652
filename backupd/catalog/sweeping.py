"""What the catalog drops when snapshots are forgotten: words that nothing stored has any more."""

from __future__ import annotations

import sqlite3

from backupd.catalog.histories import unpack_members
from backupd.catalog.words import searchable
from backupd.export.marks import turns_in


def sweep(connection: sqlite3.Connection) -> None:
    """Remove the slices that no snapshot has any more, and the texts that only they had."""
    members = connection.execute("SELECT members FROM snapshots")
    used = {key for (packed,) in members for key in unpack_members(packed)}
    slices = connection.execute("SELECT key, conversation FROM slices").fetchall()
    unused = [(key, conversation) for key, conversation in slices if key not in used]
    connection.executemany("DELETE FROM slices WHERE key = ?", ((key,) for key, _ in unused))
    for conversation in {conversation for _, conversation in unused if conversation is not None}:
        _sweep_turns(connection, conversation)


def _sweep_turns(connection: sqlite3.Connection, conversation: int) -> None:
    states = connection.execute(
        "SELECT marks FROM prints WHERE conversation = ?"
        " AND key IN (SELECT print FROM slices WHERE conversation = prints.conversation)",
        (conversation,),
    )
    needed = set[bytes]().union(*(turns_in(marks) for (marks,) in states))
    turns = connection.execute(
        "SELECT turns.key, mark, text FROM turns JOIN texts ON texts.key = turns.key"
        " WHERE conversation = ?",
        (conversation,),
    ).fetchall()
    for key, mark, text in turns:
        if mark not in needed:
            # A table without contents must be told which words it is to forget.
            forget = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
            connection.execute(forget, (key, searchable(text)))
            for table, column in (("texts", "key"), ("turns", "key"), ("placed", "turn")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (key,))
