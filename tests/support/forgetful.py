"""The program with fsync taken out, as a negative control: a power cut must then lose exports.

SQLite's syncs go too: one of them would commit the file system's journal and so make durable what
the program itself only promised.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from backupd.__main__ import main


def _forget(descriptor: int) -> None:
    """Promise durability and do nothing for it."""


class _Connection(sqlite3.Connection):
    """A connection that never syncs, whatever it is told."""

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        """Execute a statement; a setting of `synchronous` becomes OFF."""
        forgetful = sql.upper().startswith("PRAGMA SYNCHRONOUS")
        return super().execute("PRAGMA synchronous=OFF" if forgetful else sql, *more)


def _connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    connection = _really_connect(*arguments, factory=_Connection, **options)
    connection.execute("PRAGMA synchronous=OFF")
    return connection


_really_connect = sqlite3.connect
if __name__ == "__main__":
    os.fsync = _forget
    sqlite3.connect = _connect
    main()
