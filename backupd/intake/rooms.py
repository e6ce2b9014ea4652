"""What the pipeline works with, opened once by `wiring` and handed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from backupd.catalog import Catalog
from backupd.config import Settings
from backupd.intake.ways import Ways
from backupd.ledger.db import Database
from backupd.ledger.deliveries import Deliveries
from backupd.ledger.messages import Messages
from backupd.notice import Notice
from backupd.notify.notifier import Notifier
from backupd.store.repository import Repository


@dataclass(frozen=True, slots=True)
class Rooms:
    """The open rooms of one configuration, and the clock (aware UTC)."""

    settings: Settings
    database: Database
    deliveries: Deliveries
    messages: Messages
    repository: Repository
    catalog: Catalog
    notifier: Notifier
    ways: Ways
    clock: Callable[[], datetime]

    def tell(self, notice: Notice) -> None:
        """Publish a notice; joined to the ledger transaction that the caller may hold."""
        self.notifier.publish(notice, self.clock())

    def drop_folder(self, mailbox: str | None) -> str | None:
        """Return where a person puts the exports of a mailbox, if there is such a folder."""
        settings = self.settings.mailboxes.get(mailbox or "")
        return str(settings.drop_folder) if settings and settings.drop_folder else None

    def close(self) -> None:
        """Close what holds files open."""
        self.catalog.close()
        self.repository.close()
        self.database.close()
