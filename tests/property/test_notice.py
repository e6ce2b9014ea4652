"""Whatever outside text a notice is given, it stays one harmless line of bounded length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.notice.words import cause, plain, shorten
from tests.support import FULL

EXAMPLES = 5000 if FULL else 300
ANY_TEXT = st.text(st.characters(codec=None), max_size=300) | st.text("a:/?&=. \n", max_size=60)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ANY_TEXT, st.integers(2, 250))
def test_plain_is_printable_bounded_and_without_addresses(text: str, limit: int) -> None:
    said = plain(text, limit)

    assert said.isprintable()
    assert len(said) <= limit
    assert "://" not in said


@settings(max_examples=EXAMPLES, deadline=None)
@given(ANY_TEXT)
def test_names_and_causes_are_bounded_lines(text: str) -> None:
    assert len(shorten(text)) <= 48
    assert shorten(text).isprintable()
    assert cause(text).isprintable()
    assert not cause(text).endswith(".")


@pytest.mark.parametrize("unit", ["?", "a", "a?", "&=", "a ", "\u202e", ":/", "://"])
def test_long_hostile_text_takes_no_time(unit: str) -> None:
    start = time.monotonic()
    plain(unit * 1_000_000)

    assert time.monotonic() - start < 1
