"""The SQLite file of the object index: its tables, how it is opened, made anew and given up."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

VERSION = 2
_SCHEMA = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, sequence INTEGER NOT NULL,
    size INTEGER NOT NULL);
CREATE TABLE frames (id INTEGER PRIMARY KEY AUTOINCREMENT, pack INTEGER NOT NULL,
    name BLOB NOT NULL, kind INTEGER NOT NULL, codec INTEGER NOT NULL, offset INTEGER NOT NULL,
    length INTEGER NOT NULL, raw INTEGER NOT NULL, checksum BLOB NOT NULL, prefix BLOB NOT NULL,
    depth INTEGER NOT NULL);
CREATE INDEX frames_name ON frames (name);
CREATE TABLE objects (id BLOB PRIMARY KEY, frame INTEGER NOT NULL, offset INTEGER NOT NULL,
    length INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE heads (kind INTEGER, key BLOB, object BLOB NOT NULL, PRIMARY KEY (kind, key))
    WITHOUT ROWID;
CREATE TABLE memo (stream BLOB PRIMARY KEY, snapshot BLOB NOT NULL, member INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE pages (object BLOB PRIMARY KEY, transform INTEGER NOT NULL, size INTEGER NOT NULL,
    outcome BLOB NOT NULL) WITHOUT ROWID;
"""
TABLES = ("packs", "frames", "objects", "heads", "memo", "pages")


def open_or_make(file: Path) -> sqlite3.Connection:
    """Open the index in `file`; a damaged one is made anew, one that cannot be opened replaced by
    an empty one in memory."""
    with suppress(OSError):  # then SQLite says why
        file.parent.mkdir(mode=0o700, exist_ok=True)  # a copy may come without it
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        return _prepare(_connect(str(file)))
    except sqlite3.OperationalError:
        return in_memory()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        remove(file)
        return _prepare(_connect(str(file)))


def in_memory() -> sqlite3.Connection:
    """Return an empty index without a file."""
    return _prepare(_connect(":memory:"))


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Return whether SQLite says that the file is not what it wrote, or quotes what is no text."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_sound(connection: sqlite3.Connection) -> bool:
    """Return whether SQLite finds nothing wrong with the whole file."""
    try:
        answer: str = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error:
        return False
    return answer == "ok"


def remove(file: Path) -> None:
    """Remove the file and what SQLite keeps beside it, as far as it goes."""
    with suppress(OSError):
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=30, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            _create(connection)
        connection.execute("SELECT count(*) FROM packs").fetchone()
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        connection.execute("ROLLBACK")  # another process was faster
        return
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
