"""Which conversation, and which state of it, a person means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backupd.errors import RepositoryDamaged, UsageError
from backupd.notice import plain

if TYPE_CHECKING:
    from backupd.catalog import Catalog, ConversationRow, VersionRow
    from backupd.export.conversations import Conversation
    from backupd.store.repository import Repository

_SUGGESTED = 8


@dataclass(frozen=True, slots=True)
class Archive:
    """What reading verbs read from."""

    repository: Repository
    catalog: Catalog

    def find(self, selector: str) -> ConversationRow:
        """Return the conversation meant by an id, or a unique beginning of one.

        Raises:
            UsageError: it means none, or several; the hint names what comes near.
        """
        rows = self.catalog.conversations()
        exact = [row for row in rows if row.id == selector]
        found = exact or [row for row in rows if selector and row.id.startswith(selector)]
        if len({row.id for row in found}) == 1:
            return found[0]
        shown = plain(selector, 60)
        if found:
            raise UsageError(
                f'find conversation "{shown}": {len(found)} ids begin so', _suggestion(found)
            )
        named = [row for row in rows if row.title and selector.lower() in row.title.lower()]
        raise UsageError(f'find conversation "{shown}": no id begins so', _suggestion(named))

    def versions(self, row: ConversationRow) -> tuple[VersionRow, ...]:
        """Return the versions of a conversation, the oldest first."""
        return self.catalog.versions(row.account, row.id)

    def version(self, row: ConversationRow, number: int | None) -> VersionRow:
        """Return a version by its number; None means the one that is shown by default.

        Raises:
            UsageError: there is no version of that number.
        """
        versions = self.versions(row)
        for item in versions:
            if item.number == number or (number is None and item.head):
                return item
        raise UsageError(
            f"find version {number} of conversation {row.id}: it has {len(versions)}",
            f"backupd history {row.id} lists them",
        )

    def at(self, row: ConversationRow, selector: str) -> bytes:
        """Return the slice of a conversation as a snapshot has it.

        Raises:
            UsageError: there is no such snapshot, or it has no such conversation.
        """
        snapshot = self.repository.find(selector)
        found = self.catalog.slice_at(snapshot.id, row.id)
        if found is None:
            raise UsageError(
                f"find conversation {row.id}: snapshot {snapshot.id[:12]} does not have it",
                f"backupd history {row.id} says where it is",
            )
        return found

    def read(self, slice_id: bytes) -> Conversation:
        """Read one state of a conversation.

        Raises:
            RepositoryDamaged: its bytes are lost.
        """
        from backupd.export.conversations import parse

        for _, data in self.repository.read_many([slice_id]):
            return parse(data)
        raise RepositoryDamaged("read conversation: its bytes are not there")


def _suggestion(rows: Sequence[ConversationRow]) -> str:
    """Name the conversations that may be meant."""
    if not rows:
        return "backupd search finds conversations by their words, and shows their ids"
    names = [f'{row.id} "{plain(row.title, 40)}"' for row in rows[:_SUGGESTED]]
    more = f", and {len(rows) - _SUGGESTED} more" if len(rows) > _SUGGESTED else ""
    return f"name one by its id: {', '.join(names)}{more}"
