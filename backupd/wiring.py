"""Opens what the configuration names; the one place where rooms are put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from backupd.catalog import Catalog
from backupd.config import Settings
from backupd.credentials import Credentials
from backupd.intake.rooms import Rooms
from backupd.intake.storing import Keeper
from backupd.ledger.db import Database, open_database
from backupd.ledger.deliveries import Deliveries
from backupd.ledger.messages import Messages
from backupd.ledger.notices import NoticeLog
from backupd.notify.channels import open_channels
from backupd.notify.journal import open_journal
from backupd.notify.notifier import Notifier
from backupd.store.repository import Repository

Clock = Callable[[], datetime]


def open_rooms(settings: Settings, clock: Clock) -> tuple[Rooms, Credentials]:
    """Open ledger, repository, catalog and notifier.

    Raises:
        RepositoryMissing: there is no repository yet; `backupd init` makes one.
        BackupdError: the ledger cannot be opened.
    """
    credentials = Credentials(settings.credentials, os.environ)
    with ExitStack() as undo:
        repository = Repository.open(settings.repository.path)
        undo.callback(repository.close)
        database = open_database(settings.state.path / "ledger.sqlite")
        undo.callback(database.close)
        catalog = Catalog.open(repository.cache / "catalog.sqlite")
        rooms = Rooms(
            settings=settings,
            database=database,
            deliveries=Deliveries(database),
            messages=Messages(database),
            repository=repository,
            catalog=catalog,
            notifier=open_notifier(settings, database, credentials),
            clock=clock,
        )
        undo.pop_all()
    return rooms, credentials


@contextmanager
def open_keep(settings: Settings | None, path: Path, clock: Clock) -> Iterator[Keeper]:
    """Open what `import` needs: with settings everything, else the repository at `path` alone."""
    if settings is not None:
        rooms, _credentials = open_rooms(settings, clock)
        try:
            yield Keeper(rooms.repository, rooms.catalog, rooms)
        finally:
            rooms.close()
        return
    with ExitStack() as stack:
        repository = Repository.open(path)
        stack.callback(repository.close)
        catalog = Catalog.open(repository.cache / "catalog.sqlite")
        stack.callback(catalog.close)
        yield Keeper(repository, catalog, None)


def open_notifier(settings: Settings, database: Database, credentials: Credentials) -> Notifier:
    """Open the journal, the notice log and every configured channel."""
    return Notifier(
        NoticeLog(database), open_journal(), open_channels(settings.notify, credentials)
    )
