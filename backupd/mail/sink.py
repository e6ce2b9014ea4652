"""Where watchers report: the seam between the mail room and whoever acts on mails."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from backupd.errors import BackupdError
from backupd.mail.cursor import Cursor


class NotNow(BackupdError):
    """A mail cannot be judged just now; it is handed over again at the next pass."""

    transient = True


class Sink(Protocol):
    """What a watcher tells and asks; called from its worker thread, one call at a time.

    Several mailboxes may call at once, each with its own name.
    """

    def cursor(self, mailbox: str, folder: str) -> Cursor | None:
        """Return how far a folder was searched."""

    def advance(self, mailbox: str, folder: str, cursor: Cursor) -> None:
        """Remember how far a folder was searched."""

    def known(self, mailbox: str, message_key: str) -> bool:
        """Say whether a message was handed over before, under whatever UID."""

    def found(
        self,
        mailbox: str,
        folder: str,
        uidvalidity: int,
        uid: int,
        raw: bytes,
        received_at: datetime,
    ) -> None:
        """Take a mail; it must be durable when this returns. The same one may come twice.

        Raises:
            NotNow: it must come again; nothing is lost.
        """

    def unreadable(self, mailbox: str, folder: str, uid: int, reason: str) -> None:
        """Tell of a mail that names OpenAI but is too large, or whose body does not come."""

    def unreachable(self, mailbox: str, reason: str, since: datetime) -> None:
        """Tell, at each failed try from the third on, that a mailbox or folder cannot be read."""

    def refused(self, mailbox: str, reason: str) -> None:
        """Tell that a login was refused and will not be tried again by itself."""

    def recovered(self, mailbox: str) -> None:
        """Tell that a mailbox is read: once after the start and once after each trouble."""
