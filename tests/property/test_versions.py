"""Laws of versions: what an exporter does is never a change, what a person does always is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export.versions import Change, Fingerprint, Known, compare, observe
from tests.support import FULL
from tests.support.conversations import Json, root, seen, turn

EXAMPLES = 2_000 if FULL else 100
KEPT = ("user", "assistant")


@dataclass(frozen=True)
class Spoken:
    """One turn of an invented tree: whose, where, and whether 2026 still writes it."""

    above: int
    role: str
    kind: str = "text"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        return self.role in KEPT and self.kind == "text" and not self.extra


@st.composite
def trees(draw: st.DrawFn) -> list[Spoken]:
    """A tree of up to twelve turns, parents before children, of all sorts."""
    sorts = st.sampled_from([
        ("user", "text", {}),
        ("assistant", "text", {}),
        ("system", "text", {}),
        ("tool", "execution_output", {}),
        ("assistant", "thoughts", {}),
        ("user", "user_editable_context", {}),
        ("assistant", "text", {"metadata": {"is_visually_hidden_from_conversation": True}}),
        ("assistant", "code", {"recipient": "python"}),
    ])  # fmt: skip
    size = draw(st.integers(1, 12))
    return [Spoken(draw(st.integers(-1, index - 1)), *draw(sorts)) for index in range(size)]


def full(tree: list[Spoken]) -> list[Json]:
    """Write all turns, as until early 2026."""
    nodes = [root()]
    for index, item in enumerate(tree):
        parent = "root" if item.above < 0 else f"n{item.above}"
        words = f"words {index}"
        content: Json = {"content_type": item.kind, "text": words}
        if item.kind == "text":
            content = {"content_type": "text", "parts": [words]}
        fields = {"content": content} | item.extra
        nodes.append(turn(f"n{index}", parent, role=item.role, **fields))
    return nodes


def reduced(tree: list[Spoken]) -> list[Json]:
    """Write kept turns only, below the next kept ancestor, without what 2026 dropped."""
    nodes = [root()]
    for index, item in enumerate(tree):
        above = item.above
        while above >= 0 and not tree[above].kept:
            above = tree[above].above
        if item.kept:
            parent = "root" if above < 0 else f"n{above}"
            node = turn(f"n{index}", parent, f"words {index}", item.role)
            for name in ("recipient", "create_time"):
                del node["message"][name]
            nodes.append(node)
    return nodes


@given(trees(), st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES, deadline=None)
def test_order_of_nodes_is_nothing(tree: list[Spoken], random: Any) -> None:
    nodes = full(tree)
    shuffled = nodes.copy()
    random.shuffle(shuffled)

    assert seen(*nodes) == seen(*shuffled)


@given(trees())
@settings(max_examples=EXAMPLES, deadline=None)
def test_pruned_schema_is_no_change_either_way(tree: list[Spoken]) -> None:
    rich, poor = seen(*full(tree)), seen(*reduced(tree))

    assert rich.content == poor.content
    assert compare(rich, poor) in (Change.UNCHANGED, Change.POORER)
    assert (compare(rich, poor) is Change.POORER) == any(not item.kept for item in tree)
    assert compare(poor, rich) is Change.UNCHANGED


@given(trees(), st.sampled_from(KEPT), st.integers(-1, 11))
@settings(max_examples=EXAMPLES, deadline=None)
def test_turn_added_or_taken_is_a_change_across_eras(
    tree: list[Spoken], role: str, above: int
) -> None:
    more = [*tree, Spoken(min(above, len(tree) - 1), role)]

    for write in (full, reduced):
        for rewrite in (full, reduced):
            assert compare(seen(*write(tree)), seen(*rewrite(more))) is Change.CHANGED
            assert compare(seen(*write(more)), seen(*rewrite(tree))) is Change.CHANGED


@given(trees(), st.integers(0, 11))
@settings(max_examples=EXAMPLES, deadline=None)
def test_head_never_loses_a_turn_to_a_mere_part_of_itself(tree: list[Spoken], cut: int) -> None:
    whole, part = seen(*full(tree)), seen(*full(tree[:cut]))
    known = Known(whole, whole, whole.metadata)

    assert observe(known, part).known.head == whole


@given(trees(), st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=6))
@settings(max_examples=EXAMPLES, deadline=None)
def test_same_state_again_is_never_a_change(
    tree: list[Spoken], states: list[tuple[int, int]]
) -> None:
    """Whatever led there, and however poor the form in which it comes again."""
    known: Known | None = None
    for length, edit in states:
        state = [*tree[:length], *[Spoken(-1, "user")] * edit]
        first: Fingerprint = seen(*full(state))
        known = observe(known, first).known
        again = observe(known, seen(*reduced(state)))

        assert again.change in (Change.UNCHANGED, Change.POORER)
        known = again.known
