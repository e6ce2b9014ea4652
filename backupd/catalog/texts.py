"""What is searched: the turns' texts, stored once, and where each of them belongs.

Texts come in with their slices (`remember_turns`), before anybody knows what the slices mean; the
fold then says which of them are in a version of a history, and in its head (`place`). A text that
is in no version is never found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from backupd.catalog.words import searchable
from backupd.export.conversations import Conversation
from backupd.export.marks import mark_of, turns_in

_LONGEST = 2_000_000
"""So many characters of one turn are searched: far more than a person or an answer ever writes."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One turn with a text or an asset, as it will be remembered."""

    mark: bytes
    message: str
    role: str
    kept: bool
    model: str | None
    created: float | None
    assets: bool
    text: str


def spoken(conversation: Conversation) -> tuple[Spoken, ...]:
    """Return the turns of a conversation that say or show something."""
    return tuple(
        Spoken(
            mark_of(turn),
            turn.id,
            turn.role,
            turn.kept,
            turn.model,
            None if turn.created is None else turn.created.timestamp(),
            bool(turn.assets),
            turn.text[:_LONGEST],
        )
        for turn in conversation.turns
        if turn.text or turn.assets
    )


def remember_turns(
    connection: sqlite3.Connection, conversation: int, turns: Iterable[Spoken]
) -> None:
    """Write the turns that are not there yet; one that some era calls hidden counts as hidden."""
    for turn in turns:
        row = connection.execute(
            "INSERT OR IGNORE INTO turns"
            " (conversation, mark, message, role, kept, model, created, assets)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING key",
            (conversation, turn.mark, turn.message, turn.role, turn.kept, turn.model,
             turn.created, turn.assets),
        ).fetchone()  # fmt: skip
        if row is not None:
            text = turn.text.encode("utf-8", "replace").decode()
            connection.execute("INSERT INTO texts VALUES (?, ?)", (row[0], text))
            words = searchable(text)
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (row[0], words))
        elif not turn.kept:
            connection.execute(
                "UPDATE turns SET kept = 0 WHERE conversation = ? AND mark = ? AND kept",
                (conversation, turn.mark),
            )


def place(connection: sqlite3.Connection, history: int, conversation: int, head: int) -> None:
    """Say which turns are in the versions of a history, the head being number `head`."""
    rows = connection.execute(
        "SELECT number, marks FROM versions JOIN prints ON prints.key = print WHERE history = ?",
        (history,),
    )
    states = {number: turns_in(marks) for number, marks in rows}
    shown, any_version = states[head], set[bytes]().union(*states.values())
    turns = connection.execute(
        "SELECT key, mark FROM turns WHERE conversation = ?", (conversation,)
    ).fetchall()
    connection.execute(
        "DELETE FROM placed WHERE history = ?"
        " AND turn IN (SELECT key FROM turns WHERE conversation = ?)",
        (history, conversation),
    )
    connection.executemany(
        "INSERT INTO placed VALUES (?, ?, ?)",
        ((key, history, mark in shown) for key, mark in turns if mark in any_version),
    )


def entitle(connection: sqlite3.Connection, titles: Iterable[tuple[int, str | None]]) -> None:
    """Make the titles of histories searchable."""
    connection.executemany(
        "INSERT OR REPLACE INTO titles (rowid, title) VALUES (?, ?)",
        ((key, searchable(title or "")) for key, title in titles),
    )


def displace(connection: sqlite3.Connection, account: str) -> None:
    """Forget where the texts of an account belong; its histories are about to be folded again."""
    mine = "(SELECT key FROM histories WHERE account = ?)"
    connection.execute(f"DELETE FROM placed WHERE history IN {mine}", (account,))
    connection.execute(f"DELETE FROM titles WHERE rowid IN {mine}", (account,))
