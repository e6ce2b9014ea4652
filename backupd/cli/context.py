"""What every verb is handed: the chosen configuration, the repository, the way to print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from backupd.catalog import Catalog
    from backupd.config import AccountSettings, Settings
    from backupd.credentials import Credentials
    from backupd.ledger.db import Database
    from backupd.store.repository import Access, Repository


def now() -> datetime:
    """Return the wall clock, aware UTC: the one clock of the command line."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """The global options, and what verbs open by them."""

    config_file: Path | None
    repository_path: Path | None
    quiet: bool

    def settings(self) -> Settings:
        """Load the configuration; `--repository` replaces its repository."""
        from backupd.config import load

        settings = load(self._place())
        return settings if self.repository_path is None else _moved(settings, self.repository_path)

    def has_settings(self) -> bool:
        """Say whether there is a configuration file at all."""
        from backupd.errors import ConfigError

        try:
            return self.config_file is not None or self._place().exists()
        except ConfigError:
            return False

    def _place(self) -> Path:
        from backupd.config import locate

        return locate(str(self.config_file) if self.config_file else None, os.environ)

    def needs_settings(self) -> bool:
        """Say whether a store verb works with the configuration: always, unless --repository does.

        With --repository alone, and no configuration named or lying at its usual place, a store
        verb uses the repository by itself.
        """
        return self.repository_path is None or self.has_settings()

    def named_accounts(self) -> tuple[AccountSettings, ...]:
        """Return what the configuration, if there is one, says of accounts."""
        return tuple(self.settings().accounts.values()) if self.has_settings() else ()

    def path(self) -> Path:
        """Return where the repository is."""
        return self.repository_path or self.settings().repository.path

    def credentials(self) -> Credentials:
        """Return the credentials, with the commands of the configuration if there is one."""
        from backupd.credentials import Credentials

        settings = self.settings().credentials if self.has_settings() else {}
        return Credentials(settings, os.environ)

    def access(self) -> Access:
        """Say how the repository is opened: by a credential, else by asking on a terminal."""
        from backupd.cli.passphrase import asker
        from backupd.wiring import repository_access

        place = self.settings().repository if self.has_settings() else None
        return repository_access(place, self.credentials(), os.environ, asker())

    @contextmanager
    def repository(self) -> Iterator[Repository]:
        """Open the repository for reading and close it afterwards."""
        from backupd.store.repository import Repository

        with Repository.open(self.path(), access=self.access()) as repository:
            yield repository

    @contextmanager
    def catalog(self, repository: Repository) -> Iterator[Catalog]:
        """Open the catalog of a repository, brought up to date, and close it afterwards.

        Where it cannot be written, as on a full disk or in a copy that is mounted read-only, it
        lives in memory.
        """
        from backupd.catalog import Catalog
        from backupd.errors import StorageFull

        place = repository.catalog
        with ExitStack() as opened:
            try:
                catalog = Catalog.open(place if place is not None and _may_write(place) else None)
                opened.callback(catalog.close)
                catalog.sync(repository)
            except StorageFull:
                catalog = Catalog.open(None)
                opened.callback(catalog.close)
                catalog.sync(repository)
            yield catalog

    def audit(self, repository: Repository) -> str | None:
        """Compare the catalog's file with the repository and mend it; return what was wrong.

        Where there is none, or none that can be written and so is asked, there is nothing to do.
        """
        from backupd.catalog import Catalog
        from backupd.errors import BackupdError

        place = repository.catalog
        if place is None or not place.is_file() or not _may_write(place):
            return None
        try:
            with closing(Catalog.open(place)) as catalog:
                return catalog.audit(repository)
        except BackupdError as error:  # derived: what it cannot do says nothing of the repository
            self.say(f"the catalog was not compared: {error.message}")
            return None

    @contextmanager
    def ledger(self) -> Iterator[Database]:
        """Open the ledger and close it afterwards."""
        from backupd.ledger.db import open_database

        database = open_database(self.settings().state.path / "ledger.sqlite")
        try:
            yield database
        finally:
            database.close()

    def say(self, text: str) -> None:
        """Write one line for the person, to stderr, unless `--quiet`."""
        if not self.quiet:
            click.echo(text, err=True)


def _may_write(file: Path) -> bool:
    there = file if file.exists() else file.parent
    return os.access(there, os.W_OK) and os.access(file.parent, os.W_OK)


def _moved(settings: Settings, path: Path) -> Settings:
    place = settings.repository.model_copy(update={"path": path})
    return settings.model_copy(update={"repository": place})


def emit_json(value: object) -> None:
    """Write one JSON document to stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=True)
    sys.stdout.write("\n")


def iso(moment: datetime | None) -> str | None:
    """Write a time for `--json`: ISO 8601, UTC, seconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
