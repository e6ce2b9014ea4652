"""What a person did between two states of a conversation, turn by turn. Pure.

The rules are those of `export.marks`: only kept turns count, and a turn that one state merely hides
is no change.
"""

from __future__ import annotations

from dataclasses import dataclass

from backupd.export.branches import Tree, grow
from backupd.export.conversations import Conversation, Turn


@dataclass(frozen=True, slots=True)
class Edited:
    """One turn that says something else."""

    before: Turn
    after: Turn


@dataclass(frozen=True, slots=True)
class TurnChanges:
    """What became of the turns; each in the order of time.

    `branches` are those of `added` that begin a branch: what they follow had a successor before.
    `moved` turns follow another turn than before.
    """

    added: tuple[Turn, ...]
    edited: tuple[Edited, ...]
    removed: tuple[Turn, ...]
    moved: tuple[Turn, ...]
    branches: tuple[Turn, ...]

    @property
    def none(self) -> bool:
        """Tell whether every kept turn is as it was."""
        return not (self.added or self.edited or self.removed or self.moved)


def changes(before: Conversation, after: Conversation) -> TurnChanges:
    """Compare two states of one conversation."""
    old, new = grow(before), grow(after)
    was = {turn.id: turn for turn in before.turns}
    now = {turn.id: turn for turn in after.turns}
    both = [name for name in new.turns if name in old.turns]
    added = tuple(turn for turn in new.turns.values() if _is_missing(turn, was.get(turn.id)))
    continued = set(old.above.values())
    return TurnChanges(
        added=added,
        edited=tuple(
            Edited(old.turns[name], new.turns[name])
            for name in both
            if old.turns[name].digest != new.turns[name].digest
        ),
        removed=tuple(turn for turn in old.turns.values() if _is_missing(turn, now.get(turn.id))),
        moved=tuple(
            new.turns[name] for name in both if _among(old, name, new) != _among(new, name, old)
        ),
        branches=tuple(
            turn
            for turn in added
            if (above := new.above[turn.id]) in continued and (above is None or above in old.turns)
        ),
    )


def _is_missing(turn: Turn, other: Turn | None) -> bool:
    """Tell whether a kept turn is not to be found on the other side."""
    return other is None or (not other.kept and other.digest != turn.digest)


def _among(tree: Tree, name: str, other: Tree) -> str | None:
    """Return the nearest turn above that both trees have."""
    above = tree.above[name]
    passed: set[str] = set()
    while above is not None and above not in other.turns and above not in passed:
        passed.add(above)
        above = tree.above[above]
    return above
