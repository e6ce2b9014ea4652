"""What counts as new, changed, metadata, gone; and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from backupd.export.marks import difference
from backupd.export.versions import (
    Change,
    Fingerprint,
    Known,
    Presence,
    absence,
    compare,
    fold,
    is_mass_drop,
    observe,
)
from tests.support.conversations import line, root, seen, talk, turn
from tests.support.series import History

QA = [root(), turn("q", "root"), turn("a", "q", role="assistant")]
RICH = [
    root(),
    turn("s", "root", role="system"),
    turn("q", "s"),
    turn("think", "q", role="assistant", content={"content_type": "thoughts", "thoughts": []}),
    turn("a", "think", role="assistant"),
]
CODE: dict[str, Any] = {"content_type": "code", "language": "python", "text": "1 + 1"}


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (seen(*QA), Change.UNCHANGED),
        (seen(*reversed(QA)), Change.UNCHANGED),
        (seen(*QA, update_time=5, create_time=None), Change.UNCHANGED),
        (seen(*RICH), Change.UNCHANGED),
        (seen(*QA, turn("q2", "a")), Change.CHANGED),
        (seen(*QA, turn("a2", "q", role="assistant")), Change.CHANGED),
        (seen(*QA, turn("q'", "root", "asked differently")), Change.CHANGED),
        (seen(*QA[:2]), Change.CHANGED),
        (seen(*QA[:2], turn("a", "q", "said differently", "assistant")), Change.CHANGED),
        (seen(*QA[:2], turn("a", "root", role="assistant")), Change.CHANGED),
        (seen(*QA, title="Another"), Change.METADATA_CHANGED),
        (seen(*QA, title=None), Change.METADATA_CHANGED),
        (seen(*QA, turn("q2", "a"), title="Another"), Change.CHANGED),
    ],
)
def test_compare(new: Fingerprint, change: Change) -> None:
    assert compare(seen(*QA), new) is change


def test_reduced_schema_is_poorer_and_no_version() -> None:
    observed = observe(Known(seen(*RICH), seen(*RICH), seen(*RICH).metadata), seen(*QA))

    assert observed.change is Change.POORER
    assert observed.known.head == observed.known.latest == seen(*RICH)


def test_poorer_and_renamed_is_a_metadata_change() -> None:
    assert compare(seen(*RICH), seen(*QA, title="Another")) is Change.METADATA_CHANGED


def test_richer_state_of_the_same_content_takes_over() -> None:
    observed = observe(Known(seen(*QA), seen(*QA), seen(*QA).metadata), seen(*RICH))

    assert observed.change is Change.UNCHANGED
    assert observed.known.head == observed.known.latest == seen(*RICH)


def test_tool_call_that_a_reduced_era_writes_without_recipient_is_the_same() -> None:
    """2025 says that a call went to a tool; an era without recipients cannot."""
    full = [*QA[:2], turn("call", "q", role="assistant", content=CODE, recipient="python"),
            turn("a", "call", role="assistant")]  # fmt: skip
    reduced = [*QA[:2], turn("call", "q", role="assistant", content=CODE, recipient=None),
               turn("a", "call", role="assistant")]  # fmt: skip

    assert compare(seen(*full), seen(*reduced)) is Change.UNCHANGED
    assert compare(seen(*reduced), seen(*full)) is Change.UNCHANGED
    assert difference(seen(*full).marks, seen(*reduced).marks).same


def test_answer_that_was_empty_at_first_is_a_change() -> None:
    nothing = {"content_type": "text", "parts": [""]}
    waiting = seen(*QA[:2], turn("a", "q", role="assistant", content=nothing))

    assert compare(waiting, seen(*QA)) is Change.CHANGED
    assert compare(seen(*QA), waiting) is Change.CHANGED


def test_difference_counts_each_fate() -> None:
    known = seen(*line("a", "b", "c"))
    new = seen(root(), turn("a", "root"), turn("b", "a", "other words"), turn("d", "b"))

    found = difference(known.marks, new.marks)
    assert (found.added, found.lost, found.altered, found.moved) == (1, 1, 1, 0)
    assert not found.same and not found.subset


def test_turn_that_follows_another_one_has_moved() -> None:
    moved = seen(root(), turn("a", "root"), turn("b", "a"), turn("c", "a"))

    assert difference(seen(*line("a", "b", "c")).marks, moved.marks).moved == 1


class TestHead:
    """Which state a reader is shown."""

    def test_lost_turn_is_a_change_but_the_fuller_state_stays(self) -> None:
        history = History()
        history.take(talk(*line("a", "b", "c")))
        history.take(talk(*line("a", "b")))

        assert history.counts.changed == 1
        assert history.head("c-1") == seen(*line("a", "b", "c"))

    def test_lost_turn_is_a_change_only_once(self) -> None:
        history = History()
        for _ in range(3):
            history.take(talk(*line("a", "b")))
            history.take(talk(*line("a")))
            history.take(talk(*line("a")))

            assert history.counts.unchanged == 1

    def test_state_that_adds_something_of_its_own_takes_over(self) -> None:
        history = History()
        history.take(talk(*line("a", "b", "c")))
        history.take(talk(*line("a", "b")))
        history.take(talk(*line("a", "b", "d")))

        assert history.counts.changed == 1
        assert history.head("c-1") == seen(*line("a", "b", "d"))

    def test_return_to_the_head_keeps_its_richer_form(self) -> None:
        history = History()
        history.take(talk(*RICH))
        history.take(talk(*QA[:2]))
        history.take(talk(*QA))

        assert history.counts.changed == 1
        assert history.head("c-1") == seen(*RICH)


class TestMetadata:
    """Title and flags; what an era does not write, and null, is unknown."""

    @pytest.mark.parametrize(
        ("before", "after", "changed"),
        [
            ({"is_archived": False}, {"is_archived": True}, True),
            ({"is_starred": None}, {"is_starred": True}, True),
            ({"is_starred": True}, {"is_starred": None}, True),
            ({"is_starred": None}, {"is_starred": False}, False),
            ({}, {"is_archived": True}, False),
            ({"is_archived": True}, {}, False),
            ({"pinned_time": None}, {"pinned_time": 1_750_000_000.3}, True),
            ({"pinned_time": 1_750_000_000.3}, {"pinned_time": 1_750_000_000}, False),
            ({"pinned_time": 1_750_000_000.3}, {"pinned_time": "2025-06-15T15:06:40Z"}, False),
            ({"pinned_time": 1_750_000_000.3}, {"pinned_time": None}, True),
            ({"memory_scope": None}, {"memory_scope": "global_enabled"}, False),
            ({"memory_scope": "global_enabled"}, {"memory_scope": "project"}, True),
            ({"is_do_not_remember": None}, {"is_do_not_remember": True}, True),
            ({"title": None}, {"title": ""}, False),
            ({"default_model_slug": "a"}, {"default_model_slug": "b"}, False),
        ],
    )
    def test_flags(self, before: dict[str, Any], after: dict[str, Any], changed: bool) -> None:
        expected = Change.METADATA_CHANGED if changed else Change.UNCHANGED
        assert compare(seen(*QA, **before), seen(*QA, **after)) is expected

    def test_flag_keeps_its_last_value_through_an_era_that_does_not_write_it(self) -> None:
        history = History()
        for flags, renamed in (
            ({"is_archived": True}, 0),
            ({}, 0),
            ({"is_archived": True}, 0),
            ({}, 0),
            ({"is_archived": False}, 1),
        ):
            history.take(talk(*QA, **flags))
            assert history.counts.metadata_changed == renamed


class TestGone:
    """What may be called gone, and when."""

    def test_conversation_is_gone_once(self) -> None:
        history = History.of(20)

        assert history.without(1).counts.gone == 1
        assert history.without(1).counts.gone == 0
        assert history.presence("c-0") is Presence.GONE

    def test_conversation_that_returns_is_not_new(self) -> None:
        history = History.of(20)
        history.without(1)
        history.without(0)

        assert (history.counts.new, history.counts.unchanged) == (0, 20)
        assert history.presence("c-0") is Presence.PRESENT

    def test_incomplete_export_marks_nothing_and_the_next_one_does(self) -> None:
        history = History.of(20)

        assert history.without(2, complete=False).counts.gone == 0
        assert history.presence("c-0") is Presence.MISSING
        assert history.without(2).counts.gone == 2

    def test_unknown_completeness_is_no_doubt(self) -> None:
        assert History.of(20).without(1, complete=None).counts.gone == 1

    def test_mass_drop_is_an_alarm_and_marks_nothing(self) -> None:
        history = History.of(20)
        history.without(15)

        assert history.last.mass_drop and history.last.missing == 15
        assert (history.counts.gone, history.counts.total) == (0, 5)
        assert history.presence("c-0") is Presence.HELD

    def test_all_there_again_after_a_mass_drop(self) -> None:
        history = History.of(20)
        history.without(15)
        history.without(0)

        assert (history.counts.unchanged, history.counts.gone) == (20, 0)

    def test_drop_that_the_next_complete_export_confirms_is_no_longer_sudden(self) -> None:
        history = History.of(20)
        history.without(15)

        assert history.without(15, complete=False).counts.gone == 0
        assert history.without(15).counts.gone == 15
        assert not history.last.mass_drop

    @pytest.mark.parametrize(
        ("present", "missing", "drop"),
        [
            (0, 0, False), (1, 1, False), (2, 2, False), (3, 3, True), (10, 4, False),
            (10, 5, True), (20, 5, False), (20, 6, True), (100, 25, False), (100, 26, True),
            (3_000, 30, False), (3_000, 300, False), (3_000, 301, True), (50_000, 4_000, False),
        ],
    )  # fmt: skip
    def test_mass_drop_rule(self, present: int, missing: int, drop: bool) -> None:
        assert is_mass_drop(present, missing) is drop

    def test_absence_of_an_incomplete_export_says_nothing_even_in_a_mass_drop(self) -> None:
        assert absence(20, 20, False) is Presence.MISSING


def test_fold_leaves_what_it_is_given_alone() -> None:
    series = fold({}, {"c-1": seen(*QA)}, True).series
    before = dict(series)
    fold(series, {}, True)

    assert series == before
