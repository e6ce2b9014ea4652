"""The ledger's SQLite file: opening, migrations, transactions.

The ledger is primary for deliveries, cursors, remembered messages, notices and the outbox; it is
the only file that may hold a signed link, and the link is erased once it is used or dead (I6).
It is an ordinary SQLite file in WAL mode with `synchronous=FULL`, mode 0600 in a 0700 directory.
One connection is shared by all threads of a process behind a re-entrant lock.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backupd.errors import BackupdError, RepositoryRefused

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE deliveries (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        mailbox TEXT, folder TEXT, uidvalidity INTEGER, uid INTEGER, message_id TEXT,
        sender TEXT, proof TEXT,
        link TEXT, era TEXT, host TEXT, file_name TEXT, account TEXT,
        mail_at TEXT, deadline TEXT, give_up_at TEXT,
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at TEXT,
        outcome TEXT, detail TEXT, alarm INTEGER NOT NULL DEFAULT 0,
        part TEXT, sha256 TEXT, size INTEGER, snapshot TEXT
    );
    CREATE INDEX deliveries_state ON deliveries (state);
    CREATE TABLE messages (
        mailbox TEXT NOT NULL, message_key TEXT NOT NULL, seen_at TEXT NOT NULL,
        verdict TEXT NOT NULL, delivery TEXT,
        PRIMARY KEY (mailbox, message_key)
    );
    CREATE TABLE cursors (
        mailbox TEXT NOT NULL, folder TEXT NOT NULL,
        uidvalidity INTEGER NOT NULL, last_uid INTEGER NOT NULL, updated_at TEXT NOT NULL,
        PRIMARY KEY (mailbox, folder)
    );
    CREATE TABLE requests (
        id TEXT PRIMARY KEY, mailbox TEXT, requested_at TEXT NOT NULL, closed_at TEXT, delivery TEXT
    );
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at TEXT NOT NULL);
    CREATE TABLE notices (
        id INTEGER PRIMARY KEY, time TEXT NOT NULL, severity TEXT NOT NULL, event TEXT NOT NULL,
        title TEXT NOT NULL, body TEXT NOT NULL, delivery TEXT, snapshot TEXT,
        fault TEXT, fields TEXT NOT NULL, repeats INTEGER NOT NULL DEFAULT 0, last_at TEXT NOT NULL,
        open INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX notices_fault ON notices (fault, open);
    CREATE TABLE outbox (
        notice INTEGER NOT NULL REFERENCES notices (id), channel TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at TEXT NOT NULL, sent_at TEXT,
        PRIMARY KEY (notice, channel)
    );
    """,
)


class LedgerFailed(BackupdError):
    """The ledger cannot be read or written now; what was durable before still is."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerFailed(f"use ledger: {error}", _hint(error)) from error


def _hint(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return "let the user that runs backupd write there, or name another place in [state] path"
    if isinstance(error, sqlite3.OperationalError):
        return "look at the disk that holds the state directory: is it full, or read-only?"
    return (
        "the file is damaged: bring it back from a copy, or move it away; backupd then begins a new"
        " one and reads the mails of the last days again; stored exports are not touched"
    )


class Database:
    """One open ledger file. Thread-safe; `transaction` is atomic and durable."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._after: list[Callable[[], None]] = []

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction; nested blocks join the outermost one.

        Raises:
            LedgerFailed: nothing of the block is recorded.
        """
        with _translated(), self._joined() as connection:
            yield connection

    @contextmanager
    def _joined(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._after.clear()
                if self._connection.in_transaction:  # a failed COMMIT may have rolled back itself
                    self._connection.execute("ROLLBACK")
                raise
            actions, self._after = self._after, []
        for action in actions:
            action()

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once what this thread has under way is durable; never after a rollback.

        Without a transaction it runs at once. It must not raise.
        """
        with self._lock:
            if self._connection.in_transaction:
                self._after.append(action)
                return
        action()

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Return all rows of one reading statement."""
        with _translated(), self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        """Return the first row of one reading statement, or None."""
        with _translated(), self._lock:
            found: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        with self._lock:
            self._connection.close()


def open_database(path: Path) -> Database:
    """Open the ledger at `path`, made with its directory if absent, migrated to the newest schema.

    Raises:
        RepositoryRefused: the file is newer than this program.
        BackupdError: the file cannot be opened or is not a ledger.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        connection = _connect(path)
    except (OSError, sqlite3.Error) as error:
        cause = (error.strerror or "failed").lower() if isinstance(error, OSError) else error
        raise BackupdError(f'open ledger "{path}": {cause}', _hint(error)) from error
    return Database(connection)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # I6: an erased link leaves no trace
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        connection.execute("ROLLBACK")
        raise RepositoryRefused(
            f'open ledger "{path}": schema {version} is newer than this program '
            f"({len(MIGRATIONS)})",
            "upgrade backupd",
        )
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):
            if statement.strip():
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    connection.execute("COMMIT")
