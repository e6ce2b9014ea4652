"""What is told of two states of a conversation is what the comparison of versions counts."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export.branches import grow
from backupd.export.changes import changes
from backupd.export.conversations import Conversation
from backupd.export.marks import difference, pack_marks
from tests.support import FULL
from tests.support.conversations import read, root, turn

EXAMPLES = 5_000 if FULL else 150
NAMES = "abcdefg"


@dataclass(frozen=True)
class Node:
    """One turn: whom it follows (itself and nobody included), what it says, who says it."""

    parent: str | None
    text: str
    role: str


NODES = st.builds(
    Node,
    st.none() | st.sampled_from([*NAMES, "root", "nobody"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["user", "assistant", "system"]),
)
STATES = st.dictionaries(st.sampled_from(NAMES), NODES, max_size=len(NAMES))


def conversation(state: dict[str, Node]) -> Conversation:
    nodes = [turn(name, node.parent, node.text, node.role) for name, node in state.items()]
    return read(root(), *nodes)


@given(STATES, STATES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_turns_told_are_turns_counted(one: dict[str, Node], other: dict[str, Node]) -> None:
    """Even of trees with cycles and parents that are not there."""
    before, after = conversation(one), conversation(other)
    counted = difference(pack_marks(before.turns), pack_marks(after.turns))

    told = changes(before, after)

    assert (len(told.added), len(told.removed), len(told.edited)) == (
        counted.added, counted.lost, counted.altered,
    )  # fmt: skip
    assert {turn.id for turn in told.branches} <= {turn.id for turn in told.added}


@given(STATES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_branches_show_turns_once_each_and_end_where_nobody_follows(state: dict[str, Node]) -> None:
    tree = grow(conversation(state))
    kept = {name for name, node in state.items() if node.role != "system"}

    assert set(tree.turns) == kept
    assert bool(tree.ends) == bool(kept) == bool(tree.current)
    for number, end in enumerate(tree.ends, 1):
        path = [turn.id for turn in tree.branch(number)]
        assert path[-1] == end
        assert len(set(path)) == len(path)


def test_a_long_conversation_with_many_ends_is_quick_enough() -> None:
    """Ten thousand turns: beside each of a long line one that nobody followed."""
    nodes = [root()]
    for number in range(5_000):
        last = f"t{number - 1}" if number else "root"
        nodes += [turn(f"t{number}", last), turn(f"x{number}", last)]
    tree = grow(read(*nodes, current_node="x0"))

    assert len(tree.ends) == 5_001
    assert [turn.id for turn in tree.branch(tree.current)] == ["x0"]
    assert max(len(tree.branch(number)) for number in (1, 2, 5_001)) >= 5_000
