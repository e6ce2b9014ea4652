"""The branches of a conversation as a reader sees them: kept turns only, one end each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from backupd.export.conversations import Conversation, Turn
from backupd.export.tree import NONE, nearest_ancestors

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tree:
    """The kept turns of a conversation by id, and which kept turn each of them follows.

    `ends` are the last turns of the branches, the branch begun first being the first; `current` is
    the number, from 1, of the branch that was open, 0 if there is no kept turn.
    """

    turns: dict[str, Turn]
    above: dict[str, str | None]
    ends: tuple[str, ...]
    current: int

    def branch(self, number: int) -> tuple[Turn, ...]:
        """Return the turns of a branch, from the beginning; `number` counts from 1."""
        path: list[Turn] = []
        name: str | None = self.ends[number - 1]
        passed: set[str] = set()
        while name is not None and name not in passed:  # a broken tree may hold a cycle
            passed.add(name)
            path.append(self.turns[name])
            name = self.above[name]
        return tuple(reversed(path))


def grow(conversation: Conversation) -> Tree:
    """Return the tree of a conversation's kept turns."""
    everything = conversation.turns
    position = {turn.id: index for index, turn in enumerate(everything)}
    parents = [NONE if one.parent is None else position.get(one.parent, NONE) for one in everything]
    found = nearest_ancestors(parents, [turn.kept for turn in everything])
    kept = sorted((turn for turn in everything if turn.kept), key=_age)
    above = {
        turn.id: everything[parent].id if parent != NONE else None
        for turn, parent in zip(everything, found, strict=True)
    }
    inner = {above[turn.id] for turn in kept}
    ends = tuple(turn.id for turn in kept if turn.id not in inner)
    if kept and not ends:  # nothing but a cycle
        ends = (kept[-1].id,)
    turns = {turn.id: turn for turn in kept}
    return Tree(
        turns, {name: above[name] for name in turns}, ends, _open(conversation, above, ends)
    )


def _open(conversation: Conversation, above: dict[str, str | None], ends: tuple[str, ...]) -> int:
    """Return the number of the branch that was open: the newest that passes the current turn."""
    wanted = conversation.current
    kept = {turn.id for turn in conversation.turns if turn.kept}
    if wanted is not None and wanted not in kept:
        wanted = above.get(wanted)
    passed: set[str] = set()  # of all branches looked at: what they share need not be walked again
    for number in range(len(ends), 0, -1):
        name: str | None = ends[number - 1]
        while name is not None and name not in passed:
            if name == wanted:
                return number
            passed.add(name)
            name = above[name]
    return len(ends)


def _age(turn: Turn) -> tuple[datetime, str]:
    return turn.created or _EARLIEST, turn.id
