"""No bytes make the reader of conversations fail in any way but one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backupd.export.conversations import Conversation, ConversationUnreadable, parse
from backupd.export.versions import Change, compare, fingerprint
from tests.support import FULL
from tests.support.conversations import line, root, talk, turn

EXAMPLES = 2_000 if FULL else 100
KEYS = [
    "mapping", "id", "conversation_id", "title", "message", "author", "role", "content", "parts",
    "content_type", "metadata", "attachments", "asset_pointer", "parent", "create_time", "text",
    "recipient", "current_node", "is_archived", "pinned_time", "thoughts", "audio_asset_pointer",
]  # fmt: skip
WORDS = ["text", "multimodal_text", "thoughts", "user", "assistant", "n", "all", "\ud83d", "é\0"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=30,
)
SAMPLE = talk(
    root(),
    turn("q", "root", metadata={"attachments": [{"id": "file-Ab"}]}),
    turn("a", "q", role="assistant", content={"content_type": "thoughts", "thoughts": [{}]}),
    is_starred=True,
    pinned_time=5.5,
)


def check(data: bytes) -> Conversation | None:
    """Parse; on success everything that is built on it must work too."""
    try:
        conversation = parse(data)
    except ConversationUnreadable:
        return None
    state = fingerprint(conversation)
    assert compare(state, state) is Change.UNCHANGED
    json.dumps([item.text for item in conversation.turns]).encode("ascii")
    "".join(item.text for item in conversation.turns).encode("utf-8")
    return conversation


@given(st.binary(max_size=200))
@example(b'{"id":"x","mapping":{"\xff":{}}}')
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(st.integers(0, len(SAMPLE) - 1), st.binary(min_size=1, max_size=4), st.booleans())
@settings(max_examples=3 * EXAMPLES, deadline=None)
def test_any_change_of_real_bytes(at: int, new: bytes, insert: bool) -> None:
    check(SAMPLE[:at] + new + SAMPLE[at if insert else at + len(new) :])


@given(VALUES, VALUES, VALUES)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_any_values_in_any_place(message: Any, field: Any, node: Any) -> None:
    mapping = {"n": node, "m": {"message": message, "parent": "n"}, "o": {"message": {"id": field}}}
    whole = {"mapping": mapping, "id": "x", "title": field, "create_time": field, "voice": message}
    found = check(json.dumps(whole).encode())

    assert found is not None and found.id == "x"


@given(VALUES, VALUES, VALUES)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_any_content(content: Any, part: Any, meta: Any) -> None:
    mixed = {"content_type": "multimodal_text", "parts": [part, "words", content]}
    nodes = [
        turn("a", None, content=content, metadata=meta),
        turn("b", "a", content=mixed, author=meta),
    ]
    found = check(talk(*nodes))

    assert found is not None and len(found.turns) == 2


@given(st.text(st.characters(), max_size=40), st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=EXAMPLES, deadline=None)
def test_text_is_read_as_it_was_written(title: str, text: str) -> None:
    """Lone surrogates aside, which nothing can hold, whatever the escapes and the layout."""
    nodes = [root(), turn("q", "root", text or "x")]
    compact = json.loads(talk(*nodes, title=title))
    for layout in (
        json.dumps(compact, indent=2, sort_keys=True),
        json.dumps(compact, ensure_ascii=False, separators=(",", ":")),
    ):
        found = parse(layout.encode("utf-8", "replace" if title.isascii() else "surrogatepass"))
        assert found.turns[0].text == (text or "x")


def test_long_line_of_quotes_ends() -> None:
    """Hostile to backtracking: an unended string of escapes, a hundred thousand times."""
    check(b'{"mapping": NaN, "id": ' + b'"\\' * 100_000)
    check(talk(*line("q")) + b'"\\"' * 100_000)
