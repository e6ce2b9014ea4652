"""A complete file becomes a snapshot; the person is told (commit order, steps 4 to 9).

In three steps: `begin` stores the file, `prove` rebuilds the export and compares, `end` writes the
ledger and tells. `store` takes them in a row; `backfill` stores one file while the one before is
being proven. A file that breaks a rule of ZIP is quarantined as received. The received file itself
is left alone: the caller removes it, and only after `end` or `store` returned (I4).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from backupd import notice
from backupd.catalog import Catalog, SnapshotSummary
from backupd.errors import BackupdError
from backupd.export import encoders
from backupd.export.archive import ArchiveRefused
from backupd.export.versions import Counts
from backupd.intake.accounts import SHOWN, Account, Accounts
from backupd.intake.matching import Candidate, match
from backupd.intake.rooms import Rooms
from backupd.ledger.delivery import Delivery
from backupd.ledger.notices import NoticeLog
from backupd.store.repository import Added, Origin, Repository, Snapshot

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

UNSURE = timedelta(days=1)
"""An export's own time may be a machine's local one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot that is in the repository, and the delivery that it ended, if any.

    `counts` say what it was to those before it; None if the catalog could not tell. `unreadable`
    conversations of it are stored, and come back with it, but nothing can be said of them.
    """

    added: Added
    delivery: Delivery | None
    counts: Counts | None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """A file whose snapshot is in the repository, but perhaps not proven yet."""

    source: Path
    origin: Origin
    added: Added


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that breaks a rule, kept whole under `path`."""

    rule: str
    detail: str
    path: Path


def store(
    rooms: Rooms,
    source: Path,
    origin: Origin,
    delivery: Delivery | None = None,
    progress: Progress | None = None,
) -> Stored | Quarantined:
    """Store one complete file and tell of it.

    `delivery` is the delivery the file was fetched for; without one, a pending delivery that the
    file fits is looked for and ended.

    Raises:
        RepositoryLocked: another process writes.
        StorageFull, OSError: the repository cannot take it; nothing that was stored is harmed.
    """
    keeper = Keeper(rooms.repository, rooms.catalog, rooms)
    begun = keeper.begin(source, origin, progress, delivery)
    if isinstance(begun, Quarantined):
        return begun
    return keeper.end(keeper.prove(begun, progress), progress, delivery)


class Keeper:
    """Takes files through the three steps; without `rooms` there is no ledger, nobody is told."""

    def __init__(self, repository: Repository, catalog: Catalog, rooms: Rooms | None) -> None:
        self._repository = repository
        self._catalog = catalog
        self._rooms = rooms

    def begin(
        self,
        source: Path,
        origin: Origin,
        progress: Progress | None = None,
        delivery: Delivery | None = None,
    ) -> Begun | Quarantined:
        """Store one complete file.

        Raises:
            RepositoryLocked: another process writes.
            StorageFull, OSError: the repository cannot take it; nothing stored is harmed.
        """
        try:
            added = self._repository.add(source, origin, progress, prove=False)
            return Begun(source, origin, added)
        except ArchiveRefused as refused:
            why = (refused.rule, refused.detail)
            path = self._repository.quarantine(source, *why, origin, progress)
            kept = Quarantined(refused.rule, refused.detail, path)
            if self._rooms is not None:
                _tell_quarantined(self._rooms, origin, kept, delivery)
            return kept

    def prove(self, begun: Begun, progress: Progress | None = None) -> Begun:
        """Rebuild what was stored and compare it; may run in a thread of its own.

        What cannot be rebuilt is stored once more, with more care, and proven.
        """
        added = begun.added
        known = self._repository.find(added.snapshot.id)
        if known.proven_at is not None:  # perhaps only just: the same file may stand twice in a row
            return replace(begun, added=replace(added, snapshot=known))
        started = time.monotonic()
        proven = self._repository.prove(added.snapshot, progress)
        if proven is None:
            return replace(begun, added=self._once_more(begun, progress))
        seconds = added.seconds + time.monotonic() - started
        now = replace(added, snapshot=proven, seconds=seconds, already_stored=False)
        return replace(begun, added=now)

    def _once_more(self, begun: Begun, progress: Progress | None) -> Added:
        added = self._repository.add(begun.source, begun.origin, progress)
        if added.snapshot.sha256 != begun.added.snapshot.sha256:
            raise BackupdError(
                f'prove "{begun.source.name}": what was stored does not come back, and another file'
                " has the name now",
                "hand in the first file again; what lies under the name now is stored as well",
            )
        return added

    def end(
        self, begun: Begun, progress: Progress | None = None, delivery: Delivery | None = None
    ) -> Stored:
        """Bring catalog and ledger up to a proven snapshot, and tell of it.

        `delivery` is the delivery the file was fetched for; without one, a pending delivery that
        the file fits is looked for and ended.
        """
        try:
            self._catalog.sync(self._repository, progress and partial(_reading, progress))
        except BackupdError as error:
            # The catalog is derived: the snapshot is stored, and the next sync makes up for this.
            log.warning("catalog: %s", error.message)
        if self._rooms is not None:
            delivery = delivery or _fitting(self._rooms, begun.origin, begun.added)
            _record(self._rooms, begun.added, delivery)
        summary = _summary(self._catalog, begun.added.snapshot)
        if summary is None:
            return Stored(begun.added, delivery, None)
        return Stored(begun.added, delivery, summary.counts, summary.unreadable)


def _reading(progress: Progress, _slices: int, size: int) -> None:
    """Show that the catalog is being filled; how much there is to read is not known."""
    progress("read", size, 0)


def _fitting(rooms: Rooms, origin: Origin, added: Added) -> Delivery | None:
    snapshot = added.snapshot
    pending = rooms.deliveries.pending()
    if not pending:
        return None
    candidate = Candidate(
        origin.file_name or "",
        snapshot.account_prefix,
        snapshot.exported_at,
        _accounts(rooms).foreign_prefixes(snapshot),
    )
    return match(candidate, pending)


def _accounts(rooms: Rooms) -> Accounts:
    return Accounts(rooms.repository.snapshots(), rooms.settings.accounts.values())


def _record(rooms: Rooms, added: Added, delivery: Delivery | None) -> None:
    """Make the end of the delivery and all that is to be told durable together.

    Everything is read before, so that nobody waits for the ledger while files are read.
    """
    if added.already_stored and delivery is None and _is_told(rooms, added.snapshot):
        return
    now = rooms.clock()
    accounts = _accounts(rooms)
    stored_notice = _stored_notice(rooms, added, delivery, accounts.of(added.snapshot), now)
    findings = (*_findings(rooms, added), *_of_account(accounts, added.snapshot))
    with rooms.database.transaction():
        if delivery is not None:
            rooms.deliveries.stored(delivery.id, added.snapshot.id, now)
        answered = _close_requests(rooms, added.snapshot, delivery, now)
        rooms.tell(notice.answering(stored_notice, answered))
        for one in findings:
            rooms.tell(one)


def _is_told(rooms: Rooms, snapshot: Snapshot) -> bool:
    """Say whether a person knows of a snapshot; a crash after the commit point keeps it untold.

    Who imports is told on the terminal.
    """
    by_hand = snapshot.origin.source == "import"
    return by_hand or NoticeLog(rooms.database).told("stored", snapshot.id)


def _close_requests(
    rooms: Rooms, snapshot: Snapshot, delivery: Delivery | None, now: datetime
) -> tuple[str, ...]:
    """Close what this export can be the answer to; a back-fill answers no later request."""
    if delivery is not None:
        return rooms.messages.close_requests(delivery.mailbox, delivery.id, now)
    made = snapshot.exported_at
    return rooms.messages.close_requests(None, None, now, made + UNSURE if made else None)


def _stored_notice(
    rooms: Rooms, added: Added, delivery: Delivery | None, account: Account, now: datetime
) -> notice.Notice:
    summary = _summary(rooms.catalog, added.snapshot)
    return notice.stored(
        snapshot=added.snapshot.id,
        delivery=delivery.id if delivery else None,
        account=account.label if account.id else None,
        conversations=summary.counts if summary else None,
        size=added.snapshot.size,
        new_bytes=added.new_bytes,
        seconds=added.seconds,
        margin=delivery.deadline - now if delivery and delivery.deadline else None,
    )


def _summary(catalog: Catalog, snapshot: Snapshot) -> SnapshotSummary | None:
    try:
        return catalog.summary(snapshot.id)
    except BackupdError as error:
        log.warning("catalog: %s", error.message)  # derived: the snapshot is told of without counts
        return None


def _findings(rooms: Rooms, added: Added) -> Iterator[notice.Notice]:
    """Yield what was noticed about an export, besides that it is stored."""
    snapshot = added.snapshot
    if added.kept_whole:
        yield notice.kept_whole(snapshot=snapshot.id, size=snapshot.size)
    if snapshot.kept_streams:
        yield notice.kept_streams(
            snapshot=snapshot.id,
            members=snapshot.kept_streams,
            size=snapshot.kept_stream_bytes,
            missing=encoders.missing(),
        )
    if snapshot.incomplete_reasons:
        yield notice.incomplete_export(snapshot=snapshot.id, reasons=snapshot.incomplete_reasons)
    if snapshot.unknown_parts:
        yield notice.unknown_parts(snapshot=snapshot.id, parts=snapshot.unknown_parts)
    summary = _summary(rooms.catalog, snapshot)
    if summary is not None and summary.mass_drop:
        now = summary.counts.total
        yield notice.mass_drop(snapshot=snapshot.id, before=now + summary.missing, now=now)


def _of_account(accounts: Accounts, snapshot: Snapshot) -> Iterator[notice.Notice]:
    """Yield what is to be said of an export whose account was not expected; once for each."""
    found = accounts.stranger(snapshot)
    if found is None:
        return
    label, mailbox = found.account.label, snapshot.origin.mailbox
    if found.expected is not None:
        yield notice.wrong_account(
            snapshot=snapshot.id, expected=found.expected.label, found=label, mailbox=mailbox
        )
    else:
        prefix = snapshot.account_prefix and snapshot.account_prefix[:SHOWN]
        yield notice.new_account(
            snapshot=snapshot.id, account=label, prefix=prefix, mailbox=mailbox
        )


def _tell_quarantined(
    rooms: Rooms, origin: Origin, kept: Quarantined, delivery: Delivery | None
) -> None:
    rooms.tell(
        notice.quarantined(
            rule=kept.rule,
            path=str(kept.path),
            delivery=delivery.id if delivery else None,
            source=origin.source,
            detail=kept.detail,
        )
    )
