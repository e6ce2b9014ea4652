"""The catalog's SQLite file: opening, transactions, and making it anew when it is no good.

The file is derived, so the answer to damage, to another schema and to deletion is the same: begin
with an empty file, and let the next `sync` fill it. Two processes may use one file (WAL); one that
finds its file replaced or deleted under its hands opens the new one before the next operation.
Replacing is done under `<file>.lock`, and only if the file is still the one found to be bad.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from backupd.catalog.schema import APPLICATION_ID, SCHEMA, TABLES
from backupd.catalog.words import fold
from backupd.errors import BackupdError, StorageFull

CACHE_KIB = 16 * 1024
log = logging.getLogger("backupd.catalog")
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# What cannot come from a sound file and a sound program.
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
)
# What SQLite raises; of a damaged schema it quotes words that need not be text.
_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)


class CatalogBusy(BackupdError):
    """Another process is writing to the catalog for too long."""

    transient = True


class CatalogDamaged(BackupdError):
    """The catalog was no good and has been emptied; the next `sync` fills it again."""

    transient = True


class CatalogFile:
    """One open catalog. Thread-safe; `path` None keeps everything in memory."""

    def __init__(self, path: Path | None, timeout: float = 30.0) -> None:
        """Open the file, made with its directory if absent; one that is no good is replaced.

        Raises:
            BackupdError: the file cannot be opened or made.
        """
        self.path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        with self._lock:
            self._open()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for statements that read."""
        with self._lock:
            connection = self._current()
            try:
                yield connection
            except _FAILURES as error:
                raise self._translated(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for statements that all read the same moment's rows."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def begin_anew(self, reason: str) -> None:
        """Throw the contents away, which are no good, and say so in the log."""
        with self._lock:
            log.warning("catalog: begun anew: %s", reason)
            self.empty()

    def empty(self) -> None:
        """Go on with an empty file, as if the old one had been deleted."""
        with self._lock:
            self._replace()
            self._open()

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _current(self) -> sqlite3.Connection:
        """Return the connection to the file that is at `path` now."""
        if self._connection is None:
            raise BackupdError("read catalog: it is closed", "open it again")
        if self.path is not None and _identity(self.path) != self._identity:
            log.info("catalog: the file was replaced or deleted; opened again")
            self._open()
        return self._connection

    def _open(self) -> None:
        try:
            self._connect()
        except _FAILURES as error:
            if _code(error) not in _DAMAGE:
                raise self._translated(error) from error
            log.warning("catalog: begun anew: %s", error)
            self._replace()
            self._connect()

    def _connect(self) -> None:
        """Open `path`, and fill it with empty tables unless it has those of this program."""
        if self._connection is not None:
            self._connection.close()
        self._connection = connection = self._opened()
        _write_ahead(connection, self._timeout)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.create_function("fold", 1, fold, deterministic=True)
        if _stamp(connection) is None:
            _create(connection)
        if _stamp(connection) != (APPLICATION_ID, SCHEMA):
            log.info("catalog: made by another version; begun anew")
            self._replace()
            self._connect()

    def _opened(self) -> sqlite3.Connection:
        if self.path is None:
            return _plain_connection(":memory:", self._timeout)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self.path, flags, 0o600))
        except OSError as error:
            raise BackupdError(
                f'open catalog "{self.path}": {error.strerror}',
                "check the permissions of the repository's cache directory",
            ) from error
        # Taken before SQLite opens the file: if it is replaced in between, the next operation
        # sees another identity and opens again.
        self._identity = _identity(self.path)
        return _plain_connection(str(self.path), self._timeout)

    def _replace(self) -> None:
        """Remove the file, unless somebody else has replaced it already."""
        if self._connection is not None:
            self._connection.close()
        if self.path is None:
            return
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with closing(os.fdopen(descriptor, "rb")):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _identity(self.path) == self._identity:
                    for suffix in ("", "-wal", "-shm", "-journal"):
                        self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise BackupdError(
                f'replace catalog "{self.path}": {error.strerror}',
                "delete the file by hand; it is made again from the repository",
            ) from error

    def _translated(self, error: Exception) -> BackupdError:
        code = _code(error)
        if code in _BUSY:
            return CatalogBusy("use catalog: another process is writing", "try again in a moment")
        if code == sqlite3.SQLITE_FULL:
            return StorageFull("write catalog: disk full", "free some space and try again")
        if code not in _DAMAGE:
            return BackupdError(f"use catalog: {error}", "check the disk the repository is on")
        self.begin_anew(str(error))
        return CatalogDamaged("read catalog: it was damaged", "it is rebuilt at the next sync")


def _plain_connection(name: str, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(name, timeout=timeout, isolation_level=None, check_same_thread=False)


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Switch a new file to WAL; where several begin at once, SQLite refuses without waiting."""
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) not in _BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _stamp(connection) is None:  # nobody else was quicker
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")


def _code(error: Exception) -> int:
    """Return SQLite's primary result code; an error of Python's own counts as SQLITE_ERROR."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _stamp(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return (application id, schema) of a file, None for one without any tables."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return None
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return application, version


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
