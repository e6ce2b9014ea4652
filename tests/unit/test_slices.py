"""Cutting conversations files into slices and glue."""

from __future__ import annotations

import itertools
import json
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from backupd.export import slices
from backupd.export.slices import Glue, Piece, Slice, split_html, split_json
from tests.support import FULL

Split = Callable[[Iterable[bytes]], Iterator[Piece]]


def cut(data: bytes, split: Split = split_json, size: int = 65_536) -> list[Slice]:
    """Cut `data`, check that nothing is lost, and return the slices."""
    pieces = list(split(data[at : at + size] for at in range(0, len(data), size)))
    assert b"".join(piece.data for piece in pieces) == data
    return [piece for piece in pieces if isinstance(piece, Slice)]


def conversation(number: int, text: str = "hello") -> dict[str, Any]:
    """Return a conversation with what could be taken for the beginning of another one."""
    node = {"id": f"n{number}", "message": {"parts": [text, '}, {"title": "x"'], "x": None}}
    links = [{"title": "a", "create_time": 1.0}, {"title": "b", "create_time": 2.0}]
    return {
        "title": None if number % 3 == 0 else f"Title {number}",
        "create_time": 1.5e9 + number,
        "mapping": {"n": node, "links": links},
        "conversation_id": f"6600{number:04x}-0000-4000-8000-000000000000",
        "id": f"id-{number}",
    }


MANY = [conversation(number, "wörds 😀 \u2028 " * (number % 50)) for number in range(400)]
OF_2023 = json.dumps(MANY).encode()
OF_2026 = json.dumps(MANY, indent=2, sort_keys=True).encode()
COMPACT = json.dumps(MANY, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 20, 1 << 30])
@pytest.mark.parametrize("data", [OF_2023, OF_2026, COMPACT], ids=["2023", "2026", "compact"])
def test_each_conversation_is_one_slice_in_every_format(data: bytes, size: int) -> None:
    found = cut(data, size=size)

    assert [json.loads(piece.data) for piece in found] == MANY
    assert [piece.conversation_id for piece in found] == [c["conversation_id"] for c in MANY]


def test_slices_are_exact_to_the_byte() -> None:
    data = b'\xef\xbb\xbf \n[\t{"id" : "a"} ,\r\n {"id":"b", "x": [ ] }\n ]\n\n'

    assert [piece.data for piece in cut(data)] == [b'{"id" : "a"}', b'{"id":"b", "x": [ ] }']


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("tail", [";\n</script>", "\n;var assetsJson = [{}]", "</script>", ""])
def test_the_array_in_chat_html_is_cut(tail: str, size: int) -> None:
    page = b"<html><script>\n  var jsonData = " + OF_2023 + tail.encode()

    found = cut(page, split_html, size)

    assert len(found) == len(MANY)
    assert found[7].conversation_id == MANY[7]["conversation_id"]


def test_an_escaped_chat_html_is_cut() -> None:
    data = OF_2023.replace(b"'", b"&#x27;").replace(b"/", b"<\\/")

    assert len(cut(b"var jsonData = " + data + b";", split_html)) == len(MANY)


@pytest.mark.parametrize(
    "page", [b"", b"<html>", b"var jsonData = ", b"var jsonData = {}", b"jsonData = [[]]" * 9]
)
def test_a_page_without_conversations_is_glue(page: bytes) -> None:
    assert cut(page, split_html) == []


@pytest.mark.parametrize("gap", [0, 30, slices.WINDOW - 10, slices.WINDOW, 3 * slices.WINDOW - 5])
def test_the_marker_is_found_wherever_it_stands(gap: int) -> None:
    page = b" " * gap + b' jsonData = [{"id":"a"}]'

    assert [piece.conversation_id for piece in cut(page, split_html, 100_000)] == ["a"]


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (b'{"conversation_id": "a", "id": "b"}', "a"),
        (b'{"id": "b"}', "b"),
        (b'{"id": "b", "conversation_id": null}', "b"),
        (b'{"id": "b", "conversation_id": 7}', "b"),
        (b'{"conversation_id": ["a"], "id": {}}', None),
        (b'{"id": ""}', None),
        (b'{"id": "two words"}', None),
        (b'{"id": "new\\nline"}', None),
        (b'{"id": "' + b"a" * 500 + b'"}', None),
        (b'{"id": "\\ud800"}', None),
        (b'{"text": "\\ud800", "id": "b"}', "b"),
        (b'{"id": "\xff"}', None),
        (b'{"text": "\xff", "id": "b"}', "b"),
        (b'{"mapping": {"id": "inner"}}', None),
        (b'{"id": "first", "id": "last"}', "last"),
        (b"[]", None),
        (b"", None),
    ],
)
def test_the_id_is_found_or_none(element: bytes, expected: str | None) -> None:
    assert slices.conversation_id(element) == expected


@pytest.mark.parametrize(
    "text", [r"\ud800", r"\udc00", r"\ud800\ud800", r"\\ud800", r"\ud83d\ude00\ude00", r"\ud83d"]
)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_lone_surrogates_do_not_hinder_the_cut(text: str, size: int) -> None:
    """Real exports hold them: a streamed answer cut in the middle of an emoji."""
    element = b'{"title": "x' + text.encode() + b'", "id": "c"}'
    filler = b'{"id": "d", "text": "' + b"\\u00e9" * 2000 + b'"}'
    data = b"[" + b", ".join([element, filler, element] * 200) + b"]"

    found = cut(data, size=size)

    assert [piece.conversation_id for piece in found] == ["c", "d", "c"] * 200


def test_a_conversation_larger_than_the_window_is_one_slice() -> None:
    big = json.dumps(conversation(1, "long text " * 500_000)).encode()
    small = json.dumps(conversation(2)).encode()
    data = b"[" + b", ".join([small, big, small, big]) + b"]"

    assert [piece.data for piece in cut(data)] == [small, big, small, big]


def test_a_large_conversation_with_a_lone_surrogate_is_one_slice() -> None:
    big = json.dumps(conversation(1, "long text \ud800 " * 200_000)).encode()

    assert [piece.data for piece in cut(b"[" + big + b", " + big + b"]")] == [big, big]


def test_beyond_the_largest_window_the_rest_is_glue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "WINDOW", 1 << 10)
    monkeypatch.setattr(slices, "MAX_WINDOW", 1 << 14)
    small, big = b'{"id": "s"}', b'{"id": "b", "x": "' + b"y" * (1 << 15) + b'"}'
    pieces = list(split_json([b"[" + b",".join([small, big, small]) + b"]"]))

    assert [piece.data for piece in pieces if isinstance(piece, Slice)] == [small]
    assert b"".join(piece.data for piece in pieces) == b"[" + b",".join([small, big, small]) + b"]"
    assert all(len(piece.data) <= 1 << 10 for piece in pieces if isinstance(piece, Glue))


GOOD = b'{"id": "a"}'
HOSTILE = {
    "empty": b"",
    "blank": b" \n" * 1000,
    "not an array": b'{"a": [' + GOOD + b"]}",
    "array of numbers": b"[" + b"1," * 300_000 + b"1]",
    "array of arrays": b"[" * 300_000,
    "empty array": b"[]",
    "only a bracket": b"[",
    "deep objects": b'[{"a":' * 300_000,
    "deep inside": b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    "huge number": b'[{"a": ' + b"9" * 2_000_000 + b"}]",
    "infinite number": b'[{"a": 1e99999999}]',
    "nan": b'[{"a": NaN}]',
    "endless string": b'[{"a": "' + b"x" * 3_000_000,
    "endless blank": b'[{"a": 1},' + b" " * 3_000_000,
    "endless escapes": b'[{"a": "' + b"\\ud800" * 500_000,
    "quotes": b"[{" + b'"' * 1_000_000,
    "commas": b'[{"a":1}' + b"," * 1_000_000,
    "braces": b"[" + b"{" * 1_000_000,
    "boundaries in a string": b'[{"a":"' + b'}, {\\"a\\":' * 200_000 + b'"}]',
    "boundaries in an array": b'[{"a":[' + b'{"a":1}, ' * 200_000 + b"0]}]",
    "false ends": b'[{"a":"' + b"}];\\n" * 300_000 + b'"}]',
    "tiny objects": b"[" + b"{}," * 500_000 + b"{}]",
    "utf-16": ("[" + '{"id": "a"}' + "]").encode("utf-16"),
    "nul bytes": b"[" + b"\0" * 1_000_000,
    "control characters": b'[{"a": "\x00\x01"}]',
    "no comma": b"[" + GOOD + b" " + GOOD + b"]",
    "two arrays": b"[" + GOOD + b"][" + GOOD + b"]",
    "invalid utf-8": b'[{"id": "\xff\xfe"}, {"a": "\xc0\xae"}]',
    "duplicate keys": b'[{"id": "a", "id": "b", "mapping": 1, "mapping": 2}]',
}


@pytest.mark.parametrize("split", [split_json, split_html], ids=["json", "html"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_comes_out_whole_in_bounded_time(name: str, split: Split) -> None:
    data = HOSTILE[name] if split is split_json else b"jsonData = " + HOSTILE[name]
    begin = time.process_time()
    cut(data, split)

    assert time.process_time() - begin < 2.0 + len(data) / 1e6


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"[" + GOOD + b", " + GOOD, 2),
        (b"[" + GOOD + b", " + GOOD[:-1], 1),
        (b"[" + GOOD + b", " + GOOD + b"] trailing", 2),
        (b"[" + GOOD + b",, " + GOOD + b"]", 1),
        (b"[" + GOOD + b", 5, " + GOOD + b"]", 1),
        (b"[" + GOOD + b", {bad}, " + GOOD + b"]", 1),
        (b"[" + GOOD + b',{"a":\x00}]', 1),
    ],
)
def test_what_stands_before_the_damage_is_still_cut(data: bytes, count: int) -> None:
    assert len(cut(data)) == count


def test_glue_is_never_large() -> None:
    pieces = list(split_json([b"x" * (5 << 20)]))

    assert max(len(piece.data) for piece in pieces) <= slices.WINDOW
    assert all(isinstance(piece, Glue) for piece in pieces)


def big_file(size: int) -> Iterator[bytes]:
    """Yield about `size` bytes of a conversations file."""
    block = OF_2023[1:-1]
    yield b"["
    for number in range(size // len(block)):
        yield b", " if number else b""
        yield block
    yield b"]"


def test_memory_does_not_grow_with_the_file() -> None:
    size = (1 << 30) if FULL else (24 << 20)
    block_slices = len(MANY)
    tracemalloc.start()
    try:
        found = sum(isinstance(piece, Slice) for piece in split_json(big_file(size)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == (size // len(OF_2023[1:-1])) * block_slices
    assert peak < 12 << 20


def test_pieces_arrive_while_the_file_is_still_read() -> None:
    source = big_file(30 << 20)
    first = list(itertools.islice(split_json(source), 10))

    assert any(isinstance(piece, Slice) for piece in first)
    assert next(source, None) is not None
