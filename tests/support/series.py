"""An account's exports, folded one after the other by the pure rules."""

from __future__ import annotations

from backupd.export.conversations import parse
from backupd.export.versions import Counts, Fingerprint, Folded, Known, Presence, fingerprint, fold
from tests.support.conversations import line, talk


class History:
    """What is known after each export."""

    def __init__(self) -> None:
        self.series: dict[str, Known] = {}
        self.last: Folded
        self._size = 0

    @classmethod
    def of(cls, size: int) -> History:
        """Return an account of `size` conversations after its first export."""
        made = cls()
        made._size = size
        return made.without(0)

    @property
    def counts(self) -> Counts:
        """The counts of the newest export."""
        return self.last.counts

    def take(self, *slices: bytes, complete: bool | None = True) -> History:
        """Fold in an export of these conversations."""
        export = {}
        for data in slices:
            conversation = parse(data)
            export[conversation.id] = fingerprint(conversation)
        self.last = fold(self.series, export, complete)
        self.series = self.last.series
        return self

    def without(self, lacking: int, complete: bool | None = True) -> History:
        """Fold in an export that lacks the first so many of the account's conversations."""
        there = (talk(*line("a"), name=f"c-{index}") for index in range(lacking, self._size))
        return self.take(*there, complete=complete)

    def head(self, name: str) -> Fingerprint:
        """Return what a reader is shown of a conversation."""
        return self.series[name].head

    def presence(self, name: str) -> Presence:
        """Return where a conversation stands."""
        return self.series[name].presence
