"""One account's snapshots, folded into histories, versions and events.

The rules are those of `export.versions`; this module only spares the work for what is the same
slice, or the same fingerprint, as last time, and keeps the books in the tables. It works inside
the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from backupd.catalog.histories import (
    History,
    Prints,
    Seen,
    Versions,
    load_histories,
    save_histories,
    seen_slices,
    title_of,
    unpack_members,
)
from backupd.catalog.texts import displace, entitle, place
from backupd.export.marks import Difference
from backupd.export.versions import (
    Change,
    Counts,
    Known,
    Observed,
    Presence,
    absence,
    merge_metadata,
    observe,
    tally,
)

_QUIET = (Change.UNCHANGED, Change.POORER)


@dataclass(frozen=True, slots=True)
class Taken:
    """What one snapshot was to those before it."""

    counts: Counts
    mass_drop: bool
    missing: int


class Account:
    """An account's histories in memory while snapshots are folded in, oldest first."""

    def __init__(self, connection: sqlite3.Connection, name: str, newest: int | None) -> None:
        """Load what is known; `newest` is the key of the snapshot folded in last, if any."""
        self._connection = connection
        self._name = name
        self._newest = newest
        self._prints = Prints(connection)
        self._versions = Versions(connection)
        self._histories = {row.conversation: row for row in load_histories(connection, name)}
        highest = connection.execute("SELECT max(key) FROM histories").fetchone()[0]
        self._next_key: int = (highest or 0) + 1
        self._touched: dict[int, History] = {}
        self._changes: dict[int, Change] = {}
        self._unsettled: dict[int, History] = {}

    def take(self, snapshot: int, members: Iterable[int], complete: bool | None) -> Taken:
        """Fold in one snapshot, newer than all before, and write what changed."""
        self._touched, self._changes = {}, {}
        there = [item for item in self._histories.values() if item.presence <= Presence.MISSING]
        same, others = self._split(members)
        present = {*same, *others}
        for seen in others.values():
            self._observe(snapshot, seen)
        missing = [item for item in there if item.conversation not in present]
        verdict = absence(len(there), len(missing), complete)
        gone = self._mark_absent(snapshot, present, missing, verdict)
        self._write(snapshot, gone)
        self._newest = snapshot
        counts = tally(len(present), self._changes.values(), len(gone))
        return Taken(counts, verdict is Presence.HELD, len(missing))

    def recall(self, snapshot: int, members: Iterable[int], gone: Iterable[int]) -> None:
        """Fold in what stays of a forgotten snapshot: what it had, nothing of what it lacked.

        `gone` are those of its slices whose conversations were gone when it was forgotten; a later
        snapshot that has one of them brings it back.
        """
        self._touched, self._changes = {}, {}
        lost = set(gone)
        states = sorted(seen_slices(self._connection, members), key=lambda seen: seen.worth)
        for seen in states:
            self._observe(snapshot, seen)
        for seen in states:
            history = self._histories[seen.conversation]
            if seen.slice in lost and history.presence is Presence.PRESENT:
                self._versions.end(history, snapshot)
                history.presence, history.last = Presence.GONE, snapshot
        save_histories(self._connection, self._name, self._touched.values())
        self._newest = snapshot

    def settle(self) -> None:
        """Make what the snapshots taken so far say searchable; call once after the last of them."""
        for history in self._unsettled.values():
            place(self._connection, history.key, history.conversation, history.head)
        titles = [(item.key, title_of(item.metadata)) for item in self._unsettled.values()]
        entitle(self._connection, titles)
        self._unsettled = {}

    def _split(self, members: Iterable[int]) -> tuple[set[int], dict[int, Seen]]:
        """Return the conversations whose slice is the one seen last, and the others.

        A conversation that occurs twice in an export counts once, with its richest state.
        """
        here = {
            item.slice: item.conversation
            for item in self._histories.values()
            if item.presence is Presence.PRESENT
        }
        keys = list(members)
        same = {here[key] for key in keys if key in here}
        found = list(seen_slices(self._connection, (key for key in keys if key not in here)))
        twice = same.intersection(item.conversation for item in found)
        found += seen_slices(self._connection, [self._histories[name].slice for name in twice])
        found.sort(key=lambda seen: seen.worth)
        return same - twice, {seen.conversation: seen for seen in found}

    def _observe(self, snapshot: int, seen: Seen) -> None:
        history = self._histories.get(seen.conversation)
        if history is None:
            self._begin(snapshot, seen)
            return
        self._touched[history.key] = history
        history.slice = seen.slice
        if seen.print == history.print:
            history.metadata, renamed = merge_metadata(history.metadata, seen.metadata)
            change = Change.METADATA_CHANGED if renamed else Change.UNCHANGED
            if renamed:
                self._unsettled[history.key] = history
        else:
            change = self._compare(snapshot, history, seen)
        if history.presence is not Presence.PRESENT:
            history.presence, history.last, history.gone_at = Presence.PRESENT, None, None
            self._versions.resume(history)
        if change not in _QUIET:
            self._changes[history.conversation] = change

    def _begin(self, snapshot: int, seen: Seen) -> None:
        history = History(
            key=self._next_key,
            conversation=seen.conversation,
            presence=Presence.PRESENT,
            slice=seen.slice,
            print=seen.print,
            head=1,
            latest=1,
            versions=0,
            metadata=seen.metadata,
            first=snapshot,
        )
        self._next_key += 1
        self._histories[seen.conversation] = history
        self._touched[history.key] = self._unsettled[history.key] = history
        self._versions.add(history, seen, snapshot, Change.NEW, Difference(added=seen.kept))
        self._changes[seen.conversation] = Change.NEW

    def _compare(self, snapshot: int, history: History, seen: Seen) -> Change:
        self._unsettled[history.key] = history
        latest = head = self._prints.get(history.print)
        if history.head != history.latest:
            head = self._prints.get(self._versions.print_of(history, history.head))
        new = replace(self._prints.get(seen.print), metadata=seen.metadata)
        observed = observe(Known(head, latest, history.metadata), new)
        history.metadata = observed.known.metadata
        if observed.change is Change.CHANGED:
            self._versions.end(history, self._newest)
            history.latest = self._number(snapshot, history, seen, observed)
            self._versions.resume(history)
            if observed.known.head is not head or observed.to_head:
                history.head = history.latest
        if observed.known.latest is new:
            history.print = seen.print
        elif observed.to_head:
            history.print = self._versions.print_of(history, history.head)
        self._enrich(history, seen)
        return observed.change

    def _number(self, snapshot: int, history: History, seen: Seen, observed: Observed) -> int:
        """Return the number of the version that has this content: an older one, or a new one."""
        if observed.to_head:
            return history.head
        older = self._versions.find(history, self._prints.get(seen.print).content)
        if older is not None:
            return older
        return self._versions.add(history, seen, snapshot, observed.change, observed.difference)

    def _enrich(self, history: History, seen: Seen) -> None:
        """Let the state just seen stand for its version if none was richer."""
        best = self._prints.get(self._versions.print_of(history, history.latest))
        if (seen.kept, seen.turns) > best.richness:
            self._versions.enrich(history, history.latest, seen)

    def _mark_absent(
        self, snapshot: int, present: set[int], missing: list[History], verdict: Presence
    ) -> list[History]:
        """Give the missing their verdict; return those that this snapshot makes gone."""
        for history in missing:
            self._touched[history.key] = history
            if history.presence is Presence.PRESENT:
                self._versions.end(history, self._newest)
                history.last = self._newest
            history.presence = verdict
        if verdict is not Presence.GONE:
            return []
        held = [item for item in self._histories.values() if item.presence is Presence.HELD]
        gone = missing + [item for item in held if item.conversation not in present]
        for history in gone:
            self._touched[history.key] = history
            history.presence, history.gone_at = Presence.GONE, snapshot
        return gone

    def _write(self, snapshot: int, gone: list[History]) -> None:
        save_histories(self._connection, self._name, self._touched.values())
        events = [
            (snapshot, self._histories[conversation].key, change.value)
            for conversation, change in self._changes.items()
        ]
        events += [(snapshot, history.key, "gone") for history in gone]
        self._connection.executemany(
            "INSERT INTO events (snapshot, history, change) VALUES (?, ?, ?)", events
        )


def fold_again(connection: sqlite3.Connection, name: str) -> None:
    """Throw an account's histories away and fold its snapshots again, the oldest first."""
    displace(connection, name)
    mine = "(SELECT key FROM histories WHERE account = ?)"
    connection.execute(f"DELETE FROM versions WHERE history IN {mine}", (name,))
    connection.execute(f"DELETE FROM events WHERE history IN {mine}", (name,))
    connection.execute("DELETE FROM histories WHERE account = ?", (name,))
    account = Account(connection, name, None)
    rows = connection.execute(
        "SELECT key, members, gone_slices FROM snapshots WHERE account = ?"
        " ORDER BY at, received, id",
        (name,),
    ).fetchall()
    for key, members, gone in rows:
        if gone is None:
            fold(connection, account, key)
        else:
            account.recall(key, unpack_members(members), unpack_members(gone))
    account.settle()


def fold(connection: sqlite3.Connection, account: Account, key: int) -> None:
    """Fold in one snapshot, newer than all before, and write its counts."""
    members, complete = connection.execute(
        "SELECT members, complete FROM snapshots WHERE key = ?", (key,)
    ).fetchone()
    taken = account.take(key, unpack_members(members), None if complete is None else bool(complete))
    counts = taken.counts
    connection.execute(
        "UPDATE snapshots SET total = ?, new = ?, changed = ?, metadata_changed = ?,"
        " unchanged = ?, gone = ?, mass_drop = ?, missing = ? WHERE key = ?",
        (counts.total, counts.new, counts.changed, counts.metadata_changed,
         counts.unchanged, counts.gone, taken.mass_drop, taken.missing, key),
    )  # fmt: skip
