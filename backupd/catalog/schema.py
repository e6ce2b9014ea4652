"""The catalog's tables. Any change here raises SCHEMA: an older file is then made anew.

`snapshots.members` is the export's membership: the keys of its slices, four bytes each in little
endian, in the export's order. Everything under `histories` is the fold of an account's snapshots
in the order of time and can be computed again from `snapshots`, `slices` and `prints` alone,
without reading the repository.

A row of `snapshots` whose `gone_slices` is not NULL stands for a snapshot that was forgotten: its
`members` are only the slices that stay, `gone_slices` those of them whose conversations were gone
then. Such a row tells what was there, never what was not, and has no counts.

`slices.seal` is a hash of what its row says, and of what it points at: SQLite has no checksums, and
a slice is not read twice. `audit` compares it.

A `last` that is NULL means "up to the account's newest snapshot": an export that changes nothing
writes nothing but its own row. `versions.print` and `.slice` are the richest state that has the
version's content; `histories.print` is what the next export is compared with.

A row of `turns` is one turn with one wording, whatever the number of slices that have it: `mark` is
the beginning of its mark (`export.marks`), `kept` whether every era writes it. Its text is in
`texts`, and its words in `words`, under the same key. `placed` says in which histories some version
has the turn, and whether that is the head. `titles` has the words of the histories' titles.
"""

from __future__ import annotations

from backupd.catalog.words import TOKENIZER

APPLICATION_ID = 0x62_6B_70_63  # "bkpc"
SCHEMA = 4

TABLES = (
    """CREATE TABLE snapshots (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
        at TEXT NOT NULL, received TEXT NOT NULL, complete INTEGER, members BLOB NOT NULL,
        unreadable INTEGER NOT NULL, gone_slices BLOB,
        total INTEGER, new INTEGER, changed INTEGER, metadata_changed INTEGER, unchanged INTEGER,
        gone INTEGER, mass_drop INTEGER, missing INTEGER
    )""",
    "CREATE INDEX snapshots_order ON snapshots (account, at, received, id)",
    "CREATE TABLE conversations (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
    """CREATE TABLE prints (
        key INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, digest BLOB NOT NULL,
        content BLOB NOT NULL, marks BLOB NOT NULL, kept INTEGER NOT NULL,
        UNIQUE (conversation, digest)
    )""",
    """CREATE TABLE slices (
        key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, conversation INTEGER, print INTEGER,
        metadata BLOB, created REAL, updated REAL, seal BLOB NOT NULL
    )""",
    """CREATE TABLE histories (
        key INTEGER PRIMARY KEY, account TEXT NOT NULL, conversation INTEGER NOT NULL,
        presence INTEGER NOT NULL, slice INTEGER NOT NULL, print INTEGER NOT NULL,
        head INTEGER NOT NULL, latest INTEGER NOT NULL, versions INTEGER NOT NULL,
        metadata BLOB NOT NULL, title TEXT,
        first INTEGER NOT NULL, last INTEGER, gone_at INTEGER,
        UNIQUE (account, conversation)
    )""",
    "CREATE INDEX histories_conversation ON histories (conversation)",
    """CREATE TABLE versions (
        history INTEGER NOT NULL, number INTEGER NOT NULL, print INTEGER NOT NULL,
        slice INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER,
        change TEXT NOT NULL, added INTEGER NOT NULL, lost INTEGER NOT NULL,
        altered INTEGER NOT NULL, moved INTEGER NOT NULL,
        PRIMARY KEY (history, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE events (
        snapshot INTEGER NOT NULL, history INTEGER NOT NULL, change TEXT NOT NULL,
        PRIMARY KEY (snapshot, history)
    ) WITHOUT ROWID""",
    """CREATE TABLE turns (
        key INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, mark BLOB NOT NULL,
        message TEXT NOT NULL, role TEXT NOT NULL, kept INTEGER NOT NULL, model TEXT,
        created REAL, assets INTEGER NOT NULL,
        UNIQUE (conversation, mark)
    )""",
    "CREATE TABLE texts (key INTEGER PRIMARY KEY, text TEXT NOT NULL)",
    f"CREATE VIRTUAL TABLE words USING fts5 (text, content='', tokenize=\"{TOKENIZER}\")",
    f'CREATE VIRTUAL TABLE titles USING fts5 (title, tokenize="{TOKENIZER}")',
    """CREATE TABLE placed (
        turn INTEGER NOT NULL, history INTEGER NOT NULL, head INTEGER NOT NULL,
        PRIMARY KEY (turn, history)
    ) WITHOUT ROWID""",
)
