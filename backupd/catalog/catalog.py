"""The catalog of a repository: kept in step with its snapshots, asked by everything that reads.

`sync` brings in the snapshots that the catalog does not know and takes out those that are no
more. Only slices that were never seen are read and parsed. A snapshot that is newer than all
others of its account is folded in as one step; an older one (back-fill), or one taken out, makes
the account's history be folded again from the fingerprints, without reading the repository.

Derived: nothing here is lost when the file is deleted, and a file that is damaged or of another
schema is begun anew, which a log line says.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from backupd.catalog import audit, queries
from backupd.catalog.comparing import between, slice_at
from backupd.catalog.database import CatalogDamaged, CatalogFile
from backupd.catalog.folding import Account, fold, fold_again
from backupd.catalog.histories import pack_members
from backupd.catalog.ingest import ingest, known_slices
from backupd.catalog.search import search
from backupd.catalog.sweeping import sweep
from backupd.catalog.values import (
    ConversationChange,
    ConversationRow,
    ForgottenFacts,
    Hits,
    S,
    SnapshotFacts,
    SnapshotSummary,
    Source,
    Synced,
    VersionRow,
    Wanted,
)
from backupd.errors import RepositoryDamaged
from backupd.export.versions import Counts, Presence

log = logging.getLogger("backupd.catalog")
Progress = Callable[[int, int], None]
# What reading rows can end in when their bytes are not what was written.
_NONSENSE = (KeyError, IndexError, TypeError, struct.error, msgspec.DecodeError, UnicodeError)
EVERYWHERE = frozenset(Presence)
_GONE = "(gone_slices IS NOT NULL)"
_RECALLED = "account, at, received, id, complete, members, gone_slices"


class Catalog:
    """One open catalog. Thread-safe; several processes may use one file."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    @classmethod
    def open(cls, path: Path | None) -> Catalog:
        """Open the catalog at `path`, made if absent; None keeps it in memory.

        Raises:
            BackupdError: the file cannot be opened or made.
        """
        return cls(CatalogFile(path))

    def close(self) -> None:
        """Close the file; the object cannot be used afterwards."""
        self._file.close()

    def reset(self) -> None:
        """Throw everything away; the next `sync` makes it again."""
        self._file.empty()

    def sync(self, source: Source[S], progress: Progress | None = None) -> Synced:
        """Bring the catalog in step with the snapshots of `source`.

        `progress` is told (slices read, bytes read) now and then, within one snapshot. A snapshot
        whose slices cannot all be read is left out, and named in the result.

        Raises:
            CatalogBusy: another process writes for too long; what is done so far is kept.
            StorageFull, BackupdError: the file cannot be written.
        """
        try:
            return self._sync(source, progress)
        except CatalogDamaged:
            pass
        except _NONSENSE as error:
            self._file.begin_anew(f"it holds nonsense ({type(error).__name__})")
        return self._sync(source, progress)

    def audit(self, source: Source[S]) -> str | None:
        """Compare what is written here with `source`, and make anew what is not right.

        Returns in a few words what was wrong, None if nothing was. SQLite keeps no checksums: a
        bit that turned on the disk would otherwise be answered as it is. No slice is read again
        unless something was wrong; memory does not grow with the catalog.

        Raises:
            CatalogBusy, StorageFull, BackupdError: as for `sync`.
        """
        self.sync(source)
        flaw = self._flaw_of_rows(source)
        if flaw is not None:
            self._file.begin_anew(flaw)
            self.sync(source)
            return flaw
        try:
            with self._file.writing() as connection:
                return audit.flaw_of_fold(connection)
        except CatalogDamaged as error:
            self.sync(source)
            return error.message

    def counts(self, snapshot: str) -> Counts | None:
        """Return the counts of a snapshot, None if the catalog does not know it (yet)."""
        found = self.summary(snapshot)
        return found.counts if found is not None else None

    def summary(self, snapshot: str) -> SnapshotSummary | None:
        """Return what a snapshot was to those before it, None if it is not known (yet)."""
        with self._file.reading() as connection:
            return queries.summary(connection, snapshot)

    def changes(self, snapshot: str) -> tuple[ConversationChange, ...]:
        """Return what a snapshot changed, conversation by conversation, ordered by id."""
        with self._file.reading() as connection:
            return queries.changes(connection, snapshot)

    def gone(self, snapshot: str) -> tuple[ConversationChange, ...]:
        """Return the conversations that a snapshot was the first to show as gone."""
        return tuple(item for item in self.changes(snapshot) if item.change == "gone")

    def conversations(
        self, account: str | None = None, presence: frozenset[Presence] = EVERYWHERE
    ) -> tuple[ConversationRow, ...]:
        """Return conversations, the one updated last first; `account` None means all accounts."""
        with self._file.reading() as connection:
            return queries.conversations(connection, account, presence)

    def versions(self, account: str, conversation: str) -> tuple[VersionRow, ...]:
        """Return the versions of one conversation, the oldest first; empty if it is unknown."""
        with self._file.reading() as connection:
            return queries.versions(connection, account, conversation)

    def slice_at(self, snapshot: str, conversation: str) -> bytes | None:
        """Return the slice of a conversation as a snapshot has it, None if it has not."""
        with self._file.reading() as connection:
            return slice_at(connection, snapshot, conversation)

    def between(self, one: str, other: str) -> tuple[ConversationChange, ...]:
        """Return in which conversations a snapshot differs from another, ordered by id."""
        with self._file.reading() as connection:
            return between(connection, one, other)

    def search(self, wanted: Wanted, now: datetime) -> Hits:
        """Return the best hits of a search; `now` tells what is recent.

        Raises:
            QueryRefused: the query cannot be understood.
        """
        with self._file.reading() as connection:
            return search(connection, wanted, now)

    def _flaw_of_rows(self, source: Source[S]) -> str | None:
        try:
            with self._file.snapshot() as connection:
                return audit.flaw_of_rows(connection, _expected(source))
        except _NONSENSE as error:
            return f"it holds nonsense ({type(error).__name__})"
        except CatalogDamaged as error:
            return error.message

    def _sync(self, source: Source[S], progress: Progress | None) -> Synced:
        wanted = {snapshot.id: snapshot for snapshot in source.snapshots()}
        with self._file.reading() as connection:
            rows = connection.execute("SELECT id FROM snapshots WHERE gone_slices IS NULL")
            known = {row[0] for row in rows}
        self._forget(known - wanted.keys())
        self._recall(source)
        if known - wanted.keys():
            with self._file.writing() as connection:
                sweep(connection)
        done = Synced()
        for snapshot in sorted((wanted[name] for name in wanted.keys() - known), key=_order):
            try:
                count, size = self._take(source, snapshot, progress)
            except RepositoryDamaged as error:
                log.error("catalog: snapshot %s is left out: %s", snapshot.id, error)  # noqa: TRY400
                done = replace(done, damaged=(*done.damaged, snapshot.id))
                continue
            done = Synced(done.snapshots + 1, done.slices + count, done.size + size, done.damaged)
        self._refold()
        return done

    def _take(self, source: Source[S], snapshot: S, progress: Progress | None) -> tuple[int, int]:
        """Bring in one snapshot: first its slices, then, in one transaction, what it means."""
        ids = list(dict.fromkeys(source.conversation_ids(snapshot)))
        keys = known_slices(self._file, ids)
        missing = [name for name in ids if name not in keys]
        count, size = ingest(self._file, source.read_many(missing), progress or _silent)
        keys |= known_slices(self._file, missing)
        if len(keys) < len(ids):
            raise RepositoryDamaged(
                f"read slices: {len(ids) - len(keys)} of {len(ids)} are lost",
                "run check --read-data, which names what is damaged",
            )
        with self._file.writing() as connection:
            _insert(connection, snapshot, [keys[name] for name in ids])
        return count, size

    def _forget(self, names: set[str]) -> None:
        """Take out snapshots, and fold again what is left of their accounts."""
        if not names:
            return
        with self._file.writing() as connection:
            accounts: set[str] = set()
            for name in names:
                accounts.update(
                    row[0]
                    for row in connection.execute(
                        "DELETE FROM snapshots WHERE id = ? RETURNING account", (name,)
                    ).fetchall()
                )
            for account in sorted(accounts):
                fold_again(connection, account)

    def _recall(self, source: Source[S]) -> None:
        """Bring in what stays of forgotten snapshots; their accounts are then folded again."""
        forgotten = sorted(source.forgotten(), key=_order)
        ids = {name for each in forgotten for name in each.slices}
        keys = known_slices(self._file, ids)
        ingest(self._file, source.read_many(ids - keys.keys()), _silent)
        keys = known_slices(self._file, ids)
        rows = [_forgotten_row(each, keys) for each in forgotten]
        with self._file.writing() as connection:
            known = connection.execute(
                f"SELECT {_RECALLED} FROM snapshots WHERE {_GONE}"
            ).fetchall()
            if sorted(known) == sorted(rows):
                return
            connection.execute(f"DELETE FROM snapshots WHERE {_GONE}")
            connection.executemany(
                f"INSERT INTO snapshots ({_RECALLED}, unreadable) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                rows,
            )
            for account in {row[0] for row in (*known, *rows)}:
                connection.execute(
                    "UPDATE snapshots SET total = NULL WHERE account = ?", (account,)
                )

    def _refold(self) -> None:
        """Fold again every account that has a snapshot without counts."""
        pending = f"SELECT DISTINCT account FROM snapshots WHERE total IS NULL AND NOT {_GONE}"
        with self._file.reading() as connection:
            accounts = connection.execute(pending).fetchall()
        if not accounts:
            return
        with self._file.writing() as connection:
            for (account,) in connection.execute(pending).fetchall():
                log.info("catalog: history of an account folded again")
                fold_again(connection, account)


def _forgotten_row(snapshot: ForgottenFacts, keys: dict[bytes, int]) -> tuple[object, ...]:
    """Return the row of a forgotten snapshot; slices that cannot be read are left out."""
    complete = None if snapshot.complete is None else int(snapshot.complete)
    there = [name for name in snapshot.slices if name in keys]
    members = pack_members(keys[name] for name in there)
    gone = pack_members(keys[name] for name in there if name in snapshot.gone)
    return account_of(snapshot), *_order(snapshot), complete, members, gone


def _insert(connection: sqlite3.Connection, snapshot: SnapshotFacts, members: list[int]) -> None:
    """Write a snapshot's row and, if it is the newest of its account, fold it in."""
    name = account_of(snapshot)
    newest = connection.execute(
        f"SELECT key, at, received, id, total FROM snapshots WHERE account = ? AND NOT {_GONE}"
        " ORDER BY at DESC, received DESC, id DESC LIMIT 1",
        (name,),
    ).fetchone()
    unreadable = queries.count_unreadable(connection, members)
    order = _order(snapshot)
    row = connection.execute(
        "INSERT OR IGNORE INTO snapshots (account, at, received, id, complete, members, unreadable)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING key",
        (*_facts(snapshot), pack_members(members), unreadable),
    ).fetchone()
    if row is None:
        return  # another process was quicker
    if unreadable:
        log.warning(
            "catalog: snapshot %s: %d slices are no readable conversations", order[2], unreadable
        )
    if newest is None and _recalls(connection, name):
        return  # what was before it is folded in first, by `_refold`
    if newest is None or (newest[1:4] < order and newest[4] is not None):
        account = Account(connection, name, newest[0] if newest else None)
        fold(connection, account, row[0])
        account.settle()


def _recalls(connection: sqlite3.Connection, account: str) -> bool:
    sql = f"SELECT 1 FROM snapshots WHERE account = ? AND {_GONE} LIMIT 1"
    return connection.execute(sql, (account,)).fetchone() is not None


def account_of(snapshot: SnapshotFacts) -> str:
    """Return the name under which a snapshot's history is kept; "" where nobody can tell."""
    return snapshot.account or snapshot.account_prefix or ""


def _expected(source: Source[S]) -> Iterator[audit.Expected]:
    """Yield what the rows must say; a snapshot that cannot be read, or is no more, is left out."""
    for snapshot in source.snapshots():
        try:
            ids = tuple(dict.fromkeys(source.conversation_ids(snapshot)))
        except RepositoryDamaged:
            continue
        yield audit.Expected(snapshot.id, _facts(snapshot), ids)


def _facts(snapshot: SnapshotFacts) -> tuple[str, str, str, str, int | None]:
    """Return what a row says of its snapshot: account, at, received, id, complete."""
    complete = None if snapshot.complete is None else int(snapshot.complete)
    return account_of(snapshot), *_order(snapshot), complete


def _order(snapshot: SnapshotFacts) -> tuple[str, str, str]:
    """Return what orders the snapshots of an account: by export, then arrival, then id."""
    exported = snapshot.exported_at or snapshot.received_at
    return _text(exported), _text(snapshot.received_at), snapshot.id


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _silent(_slices: int, _size: int) -> None:
    pass
