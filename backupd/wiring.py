"""Opens what the configuration names; the one place where rooms are put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from backupd.catalog import Catalog
from backupd.config import RepositorySettings, Settings
from backupd.credentials import CredentialMissing, Credentials
from backupd.intake.rooms import Rooms
from backupd.intake.storing import Keeper
from backupd.intake.ways import Ways
from backupd.ledger.db import Database, open_database
from backupd.ledger.deliveries import Deliveries
from backupd.ledger.messages import Messages
from backupd.ledger.notices import NoticeLog
from backupd.notify.channels import open_channels
from backupd.notify.journal import open_journal
from backupd.notify.notifier import Notifier
from backupd.store.repository import Access, Repository

Clock = Callable[[], datetime]
Ask = Callable[[str], str]
DEFAULT_CREDENTIAL = "repository"
"""The credential that holds the passphrase, unless [repository] names another."""
_SYSTEM_RUNTIME = Path("/run/backupd")


def passphrase_name(settings: RepositorySettings | None) -> str:
    """Return the name of the credential that holds the repository's passphrase."""
    return (settings.credential if settings else None) or DEFAULT_CREDENTIAL


def repository_access(
    settings: RepositorySettings | None,
    credentials: Credentials,
    environ: Mapping[str, str],
    ask: Ask | None = None,
) -> Access:
    """Say how to open the repository; `ask` is asked for a passphrase that no credential holds."""
    name = passphrase_name(settings)

    def passphrase() -> str:
        try:
            return credentials.get(name)
        except CredentialMissing:
            if ask is None:
                raise
            return ask("passphrase of the repository")

    return Access(
        passphrase=passphrase,
        cache=settings.cache if settings else "auto",
        runtime=_runtime_directories(environ),
        expect_encrypted=settings is not None and settings.credential is not None,
    )


def _runtime_directories(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where systemd lets us keep what may live until the next boot, the best first."""
    found = [Path(part) for part in environ.get("RUNTIME_DIRECTORY", "").split(":") if part]
    if session := environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(session) / "backupd")
    if _SYSTEM_RUNTIME.is_dir():
        found.append(_SYSTEM_RUNTIME)
    return tuple(found)


def open_rooms(
    settings: Settings, clock: Clock, ask: Ask | None = None
) -> tuple[Rooms, Credentials]:
    """Open ledger, repository, catalog and notifier.

    Raises:
        RepositoryMissing: there is no repository yet; `backupd init` makes one.
        CredentialError: the repository is encrypted, and nothing has its passphrase.
        BackupdError: the ledger cannot be opened.
    """
    credentials = Credentials(settings.credentials, os.environ)
    with ExitStack() as undo:
        undo.callback(credentials.close)
        access = repository_access(settings.repository, credentials, os.environ, ask)
        repository = Repository.open(settings.repository.path, access=access)
        undo.callback(repository.close)
        database = open_database(settings.state.path / "ledger.sqlite")
        undo.callback(database.close)
        catalog, messages = Catalog.open(repository.catalog), Messages(database)
        rooms = Rooms(
            settings=settings,
            database=database,
            deliveries=Deliveries(database),
            messages=messages,
            repository=repository,
            catalog=catalog,
            notifier=open_notifier(settings, database, credentials),
            ways=Ways(settings, credentials, messages),
            clock=clock,
        )
        undo.pop_all()
    return rooms, credentials


@contextmanager
def open_keep(
    settings: Settings | None, path: Path, clock: Clock, ask: Ask | None = None
) -> Iterator[Keeper]:
    """Open what `import` needs: with settings everything, else the repository at `path` alone."""
    if settings is not None:
        rooms, _credentials = open_rooms(settings, clock, ask)
        try:
            yield Keeper(rooms.repository, rooms.catalog, rooms)
        finally:
            rooms.close()
        return
    with ExitStack() as stack:
        credentials = Credentials({}, os.environ)
        stack.callback(credentials.close)
        access = repository_access(None, credentials, os.environ, ask)
        repository = Repository.open(path, access=access)
        stack.callback(repository.close)
        catalog = Catalog.open(repository.catalog)
        stack.callback(catalog.close)
        yield Keeper(repository, catalog, None)


def open_notifier(settings: Settings, database: Database, credentials: Credentials) -> Notifier:
    """Open the journal, the notice log and every configured channel."""
    return Notifier(
        NoticeLog(database), open_journal(), open_channels(settings.notify, credentials)
    )
