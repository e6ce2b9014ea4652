"""Whatever is asked, a search answers or refuses in words; whatever is written, it is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.catalog import Catalog, QueryRefused, Wanted
from backupd.catalog.query import Term
from backupd.catalog.snippets import snippet
from backupd.catalog.words import fold, has_words
from tests.support import FULL
from tests.support.conversations import root, talk, turn
from tests.support.snapshots import MemorySource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLES = 20_000 if FULL else 400
PIECES = st.sampled_from([
    "AND", "OR", "NOT", "NEAR(", "(", ")", '"', "*", "-", "^", ":", "text:", "{", "}", "+", "'",
    ",", " ", "\0", "\ud800", "\ue200", "fox", "fo*", "東京", "👍", "é", "\u0301", "%", "\\", "--",
    "/*", ";",
])  # fmt: skip
QUERIES = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join) | st.lists(
    PIECES, max_size=10
).map(" ".join)


@pytest.fixture(scope="module")
def catalog() -> Iterator[Catalog]:
    source, opened = MemorySource(), Catalog.open(None)
    source.add([talk(root(), turn("t", "root", "the fox of 東京 👍"), title="Fox")])
    opened.sync(source)
    yield opened
    opened.close()


@given(QUERIES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_query_is_answered_or_refused_in_words(catalog: Catalog, query: str) -> None:
    try:
        catalog.search(Wanted(query, every_version=True), NOW)
    except QueryRefused as refused:
        assert refused.message.startswith("search: ")  # noqa: PT017 - answering is right as well
    assert catalog.conversations(), "the catalog was thrown away"


WRITTEN = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Z", "So"]), min_size=1)


@given(WRITTEN, st.integers(0, 20), st.integers(1, 20))
@settings(max_examples=EXAMPLES // 4, deadline=None)
def test_snippet_of_anything_stays_within_bounds(text: str, at: int, length: int) -> None:
    line, marks = snippet(text * 20, [Term(text[at : at + length]), Term("fox", prefix=True)])

    assert len(line) <= 204
    assert len(fold(text)) == len(text)
    assert all(0 <= begin < end <= len(line) for begin, end in marks)
    assert list(marks) == sorted(marks)


IDEOGRAPHS = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=2,
                     max_size=12)  # fmt: skip
PICTURES = st.text(st.characters(min_codepoint=0x1F300, max_codepoint=0x1FAFF,
                                 categories=["So"]), min_size=2, max_size=6)  # fmt: skip


@given(st.lists(IDEOGRAPHS | PICTURES, min_size=1, max_size=5), st.data())
@settings(max_examples=EXAMPLES // 8, deadline=None)
def test_any_part_of_what_is_written_without_spaces_is_found(
    texts: list[str], data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(texts))
    begin = data.draw(st.integers(0, len(wanted) - 1))
    part = wanted[begin : data.draw(st.integers(begin + 1, len(wanted)))]
    nodes = [turn(f"t{number}", "root", f"so{text}so") for number, text in enumerate(texts)]
    source = MemorySource()
    source.add([talk(root(), *nodes)])
    with closing(Catalog.open(None)) as catalog:
        catalog.sync(source)
        hits = catalog.search(Wanted(part), NOW).hits

    assert has_words(part)
    assert {hit.message_id for hit in hits} == {
        f"t{number}" for number, text in enumerate(texts) if part in text
    }
