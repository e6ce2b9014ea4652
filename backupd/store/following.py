"""Expect an export to hold what the one before held, in the same order, so that little is parsed.

Most conversations of a weekly export are those of the week before, byte for byte. Each is expected
where it stood then, behind the same neighbour, and recognised by the hash that is its name (I2).
`chat.html` is expected to show the conversations in the order of this export, each made from its
object by the transform that made it the last time; length and hash of the outcome are remembered.

Expectations are hints: what does not come as expected is parsed, and the order taken up again from
there. A wrong memory would make a wrong recipe, which the proof that ends every addition finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from backupd.store.hints import Newest, Page

ObjectId = Callable[[bytes], bytes]


class Following:
    """Foresees the conversations of an earlier export; `before` are its objects in their order."""

    def __init__(
        self, newest: Iterable[Newest], object_id: ObjectId, before: Iterable[bytes]
    ) -> None:
        known = {each.object: each for each in newest}
        order = [name for name in before if name in known]
        self._known = known
        self._object_id = object_id
        self._after = dict(pairwise(order))
        self._next = known[order[0]] if order else None
        self.found: Newest | None = None

    def size(self) -> int:
        """Return the length of the object that may come next."""
        return self._next.size if self._next else 0

    def confirm(self, data: bytes) -> bool:
        """Return whether this is the object; the one behind it is expected then."""
        if self._next is None or self._object_id(data) != self._next.object:
            return False
        self.found = self._next
        self._next = self._known.get(self._after.get(self._next.object, b""))
        return True

    def passed(self, earlier: bytes | None) -> None:
        """Take up the order behind the earlier version of a conversation that came otherwise."""
        if earlier is not None and earlier in self._after:
            self._next = self._known[self._after[earlier]]


class Pages:
    """Foresees the pieces of `chat.html`; `conversation` gives the nth object of this export."""

    def __init__(
        self,
        pages: Iterable[Page],
        object_id: ObjectId,
        conversation: Callable[[int], bytes | None],
    ) -> None:
        self._known = {page.object: page for page in pages}
        self._object_id = object_id
        self._conversation = conversation
        self._number = 0
        self._next: Page | None = None
        self.found: Page | None = None

    def size(self) -> int:
        """Return the length of the piece that may come next."""
        self._next = self._known.get(self._conversation(self._number) or b"")
        return self._next.size if self._next else 0

    def confirm(self, data: bytes) -> bool:
        """Return whether this is the piece; the next conversation's is expected then."""
        if self._next is None or self._object_id(data) != self._next.outcome:
            return False
        self.found = self._next
        self._number += 1
        return True

    def passed(self, number: int | None) -> None:
        """Go on behind the conversation with this number, which came otherwise."""
        if number is not None:
            self._number = number + 1
