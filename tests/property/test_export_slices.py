"""Whatever comes in comes out: slices and glue put together are the input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export import slices
from backupd.export.slices import Foreseen, Glue, Piece, Slice, split_html, split_json
from tests.support import FULL

EXAMPLES = 5000 if FULL else 100
Split = Callable[[Iterable[bytes]], Iterator[Piece]]

texts = st.text(max_size=20) | st.sampled_from(["\ud800", "}, {", "}];\n", "\\", '"', "😀", "\x00"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
conversations = st.fixed_dictionaries(
    {"title": st.none() | texts, "mapping": st.dictionaries(texts, values, max_size=4)},
    optional={"id": st.uuids().map(str), "conversation_id": st.uuids().map(str)},
)
styles = st.sampled_from(
    [
        {},
        {"indent": 2, "sort_keys": True},
        {"separators": (",", ":")},
        {"ensure_ascii": True, "indent": "\t"},
    ]
)
fragments = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\\ud83d", b"\\u", b" ", b"\n", b"1",
         b"-", b"null", b"nul", b'{"id":"a"}', b'{"id": "b"}, ', b"\xff", b"\xef\xbb\xbf", b"\0",
         b"jsonData = ", b"1e9"]
    ),
    max_size=60,
).map(b"".join)  # fmt: skip


def cut_up(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Yield `data` in chunks of these sizes, over and over."""
    position = number = 0
    while position < len(data):
        size = sizes[number % len(sizes)]
        yield data[position : position + size]
        position += size
        number += 1


sizes = st.lists(st.integers(1, 300), min_size=1, max_size=5)


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of bytes instead of megabytes, so that small examples reach every branch."""
    monkeypatch.setattr(slices, "WINDOW", 128)
    monkeypatch.setattr(slices, "MAX_WINDOW", 4096)
    monkeypatch.setattr(slices, "_NEAR_END", 40)
    monkeypatch.setattr(slices, "_FIRST_SHADOW", 32)
    monkeypatch.setattr(slices, "_MAX_SHADOW", 8192)


@pytest.mark.parametrize("split", [split_json, split_html])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=2000) | fragments, sizes=sizes)
def test_any_bytes_come_out_whole(split: Split, data: bytes, sizes: list[int]) -> None:
    assert b"".join(piece.data for piece in split(cut_up(data, sizes))) == data


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    items=st.lists(conversations, max_size=8),
    style=styles,
    sizes=sizes,
    around=st.sampled_from([(b"", b""), (b" \n", b"\n"), (b"\xef\xbb\xbf", b"")]),
)
def test_every_conversation_of_a_valid_file_is_a_slice(
    items: list[dict[str, object]],
    style: dict[str, object],
    sizes: list[int],
    around: tuple[bytes, bytes],
) -> None:
    data = around[0] + json.dumps(items, **style).encode() + around[1]  # type: ignore[arg-type]
    pieces = list(split_json(cut_up(data, sizes)))
    found = [piece for piece in pieces if isinstance(piece, Slice)]

    assert b"".join(piece.data for piece in pieces) == data
    fits = [json.dumps(item, **style) for item in items]  # type: ignore[arg-type]
    if max(map(len, fits), default=0) < 2000:
        assert [json.loads(piece.data) for piece in found] == items
        expected = [item.get("conversation_id") or item.get("id") for item in items]
        assert [piece.conversation_id for piece in found] == expected


class Expecting:
    """Expects elements in a given order, whether they come or not."""

    def __init__(self, elements: list[bytes]) -> None:
        self._elements = elements

    def size(self) -> int:
        return len(self._elements[0]) if self._elements else 0

    def confirm(self, data: bytes) -> bool:
        right = bool(self._elements) and data == self._elements[0]
        if right:
            del self._elements[0]
        return right


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    items=st.lists(conversations, max_size=8),
    style=styles,
    sizes=sizes,
    expected=st.lists(st.integers(0, 7) | st.binary(min_size=1, max_size=200), max_size=8),
)
def test_what_is_expected_changes_no_cut(
    items: list[dict[str, object]],
    style: dict[str, object],
    sizes: list[int],
    expected: list[int | bytes],
) -> None:
    data = json.dumps(items, **style).encode()  # type: ignore[arg-type]
    plain = list(split_json(cut_up(data, sizes)))
    elements = [piece.data for piece in plain if isinstance(piece, Slice)]
    foresight = Expecting(
        [e if isinstance(e, bytes) else elements[e % len(elements)] for e in expected]
        if elements
        else []
    )

    pieces = list(split_json(cut_up(data, sizes), foresight))

    assert b"".join(piece.data for piece in pieces) == data
    assert [piece.data for piece in pieces if not isinstance(piece, Glue)] == elements


@settings(max_examples=EXAMPLES, deadline=None)
@given(items=st.lists(conversations, min_size=1, max_size=8), style=styles, sizes=sizes)
def test_what_comes_as_expected_is_not_parsed(
    items: list[dict[str, object]], style: dict[str, object], sizes: list[int]
) -> None:
    data = json.dumps(items, **style).encode()  # type: ignore[arg-type]
    elements = [p.data for p in split_json(cut_up(data, sizes)) if isinstance(p, Slice)]
    pieces = list(split_json(cut_up(data, sizes), Expecting(list(elements))))

    if max(map(len, elements), default=0) <= slices.WINDOW:
        assert [piece.data for piece in pieces if isinstance(piece, Foreseen)] == elements


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    items=st.lists(conversations, min_size=1, max_size=5),
    style=styles,
    sizes=sizes,
    where=st.floats(0, 1),
    change=st.binary(max_size=3),
)
def test_damaged_files_come_out_whole(
    items: list[dict[str, object]],
    style: dict[str, object],
    sizes: list[int],
    where: float,
    change: bytes,
) -> None:
    good = json.dumps(items, **style).encode()  # type: ignore[arg-type]
    at = int(where * len(good))
    data = b"var jsonData = " + good[:at] + change + good[at + 1 :] + b";</script>"
    pieces = list(split_html(cut_up(data, sizes)))

    assert b"".join(piece.data for piece in pieces) == data


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=300) | fragments)
def test_an_id_is_a_short_word_or_none(data: bytes) -> None:
    found = slices.conversation_id(data)

    assert found is None or (0 < len(found) <= 200 and found.isprintable())
