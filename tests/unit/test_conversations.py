"""One slice of JSON into turns: which are kept, what they say, what is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backupd.export.content import bare_asset
from backupd.export.conversations import (
    MAX_BYTES,
    MAX_OBJECTS,
    Conversation,
    ConversationUnreadable,
    Turn,
    parse,
)
from tests.support.conversations import line, read, root, talk, turn

A, B = ("file-AbCdEf0123456789AbCdEf", "file_00000000aaaa6246bbbb1c0ffee00000")


def only(conversation: Conversation) -> Turn:
    (found,) = conversation.turns
    return found


def said(content: dict[str, Any], role: str = "user", **message: Any) -> Turn:
    return only(read(root(), turn("t", "root", role=role, content=content, **message)))


def test_reads_what_every_era_writes() -> None:
    conversation = read(*line("q", "a"), title="Tea", update_time="2025-01-02T03:04:05Z")

    assert (conversation.id, conversation.title, conversation.current) == ("c-1", "Tea", "a")
    assert conversation.created == datetime(2023, 11, 14, 22, 13, 20, 250_000, UTC)
    assert conversation.updated == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert [(item.id, item.parent) for item in conversation.turns] == [("q", None), ("a", "q")]


def test_id_alone_names_a_conversation_of_early_2023() -> None:
    data = json.loads(talk(*line("q"), name="old"))
    del data["conversation_id"]

    assert parse(json.dumps(data).encode()).id == "old"


def test_same_in_full_and_reduced_schema() -> None:
    """System, tool, hidden and empty turns are there, but not kept; parents skip what is gone."""
    full = read(
        root(),
        turn("s", "root", role="system"),
        turn("c", "s", metadata={"is_visually_hidden_from_conversation": True}),
        turn("q", "c"),
        turn("call", "q", role="assistant", recipient="python"),
        turn("out", "call", role="tool"),
        turn("empty", "out", role="assistant", content={"content_type": "text", "parts": [""]}),
        turn("a", "empty", role="assistant"),
    )
    reduced = read(root(), turn("q", "root"), turn("a", "q", role="assistant"))

    assert [item.id for item in full.turns if item.kept] == ["q", "a"]
    assert {item.digest for item in full.turns if item.kept} == {
        item.digest for item in reduced.turns
    }


@pytest.mark.parametrize(
    "kind",
    ["thoughts", "reasoning_recap", "user_editable_context", "model_editable_context",
     "execution_output", "tether_quote", "tether_browsing_display", "system_error"],
)  # fmt: skip
def test_kinds_that_are_no_talk_are_not_kept(kind: str) -> None:
    assert not said({"content_type": kind, "text": "x", "content": "y"}, role="assistant").kept


def test_turn_that_only_brings_a_file_is_kept() -> None:
    empty = {"content_type": "text", "parts": [""]}
    brought = said(empty, metadata={"attachments": [{"id": A, "name": "a.pdf"}]})

    assert brought.kept
    assert brought.assets == (bare_asset(A),)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"file-service://{A}", f"sediment://{A}"),
        (f"file-service://{A}", f"{A}-photo 1.png"),
        (f"sediment://{B}", f"{B}.dat"),
        (f"sediment://{B}", f"user-XyZ/{B}-0b0b-4a4a.png"),
        ("sediment://4f5a.dat", "sediment://4f5a"),
    ],
)
def test_asset_has_one_name_in_all_eras(first: str, second: str) -> None:
    assert bare_asset(first) == bare_asset(second)


def test_pages_of_a_document_are_different_assets() -> None:
    assert bare_asset(f"sediment://0a1b#{B}#p_0.jpg") != bare_asset(f"sediment://0a1b#{B}#p_1.jpg")


def test_picture_of_two_eras_is_the_same_turn() -> None:
    old: dict[str, Any] = {
        "content_type": "multimodal_text",
        "parts": [
            {"content_type": "image_asset_pointer", "asset_pointer": f"file-service://{A}",
             "size_bytes": 5, "metadata": {"dalle": {"gen_id": "g"}}},
            "what is this?",
        ],
    }  # fmt: skip
    new = {
        "content_type": "multimodal_text",
        "parts": [
            {"content_type": "image_asset_pointer", "asset_pointer": f"sediment://{A}"},
            "what is this?",
        ],
    }

    assert said(old).digest == said(new).digest
    assert said(old).text == "what is this?"
    assert said(old).assets == (bare_asset(A),)


def test_spoken_words_are_text_and_expiry_is_not_content() -> None:
    def spoken(expiry: str) -> Turn:
        pointer = {"content_type": "audio_asset_pointer", "asset_pointer": f"sediment://{B}",
                   "expiry_datetime": expiry}  # fmt: skip
        words = {"content_type": "audio_transcription", "text": "hello there", "direction": "in"}
        video = {
            "content_type": "real_time_user_audio_video_asset_pointer",
            "audio_asset_pointer": pointer,
            "frames_asset_pointers": [],
        }
        return said({"content_type": "multimodal_text", "parts": [words, pointer, video, None]})

    assert spoken("2025-01-01").digest == spoken("2026-01-01").digest
    assert spoken("2025-01-01").text == "hello there"


def test_unknown_content_is_kept_with_all_it_says() -> None:
    one = said({"content_type": "hologram", "layers": [{"label": "front", "depth": 3}]})
    two = said({"content_type": "hologram", "layers": [{"label": "front", "depth": 4}]})

    assert (one.content_type, one.kept, one.text) == ("hologram", True, "front")
    assert one.digest != two.digest


def test_unknown_part_among_known_ones_counts() -> None:
    def scene(label: str) -> Turn:
        parts = ["look", {"content_type": "scene", "label": label, "asset_pointer": B}]
        return said({"content_type": "multimodal_text", "parts": parts})

    assert scene("a").digest != scene("b").digest
    assert scene("a").assets == (bare_asset(B),)


@pytest.mark.parametrize("escape", [r"\ud83d", r"\ude00", r"\\\ud83d", r"\ud83d\ud83d\ude00"])
def test_lone_surrogates_cost_one_character(escape: str) -> None:
    data = talk(*line("q")).replace(b"words of q", f"a{escape}z".encode())

    text = only(parse(data)).text
    assert text.startswith("a") and text.endswith("z") and "�" in text


def test_escaped_backslash_before_u_is_no_surrogate() -> None:
    data = talk(*line("q")).replace(b"words of q", rb"C:\\ud83d and \ud83d")

    assert only(parse(data)).text == "C:\\ud83d and �"


def test_values_of_wrong_type_cost_that_value_only() -> None:
    conversation = read(
        turn("q", None, create_time=[], metadata={"model_slug": 5, "attachments": 7}, author="me"),
        turn("a", "q", role="assistant", metadata=[1]),
        {"id": "n", "message": "hello", "parent": 3},
        title={"no": "title"},
        create_time=True,
        is_archived="yes",
        is_starred=True,
        pinned_time=[],
    )

    assert [(item.id, item.role, item.parent) for item in conversation.turns] == [
        ("q", "", None),
        ("a", "assistant", "q"),
    ]
    assert conversation.title is None and conversation.created is None
    assert conversation.metadata == (("is_starred", True),)


def test_numbers_beyond_all_bounds_cost_that_value_only() -> None:
    data = talk(*line("q")).replace(b"1700000000.25", b"1" * 6000).replace(b"1700000000.5", b"1e99")

    conversation = parse(data.replace(b"1700000100.0", b"NaN"))
    assert (conversation.created, conversation.updated) == (None, None)
    assert only(conversation).created is None


def test_invalid_utf8_is_readable() -> None:
    assert only(parse(talk(*line("q")).replace(b"words", b"w\xffrds"))).text == "w�rds of q"


def test_last_of_duplicated_keys_counts() -> None:
    data = talk(*line("q")).replace(b'"title": "A title"', b'"title": "One", "title": "Two"')

    assert parse(data).title == "Two"


def test_broken_trees_end() -> None:
    """Cycles, missing parents and a current node that is not there."""
    conversation = read(
        turn("a", "b"), turn("b", "a"), turn("c", "nowhere"), turn("d", "d"), current_node="x"
    )

    parents = {item.id: item.parent for item in conversation.turns}
    assert parents == {"a": "b", "b": "a", "c": None, "d": "d"}
    assert conversation.current is None


def test_messages_with_one_id_are_told_apart_by_their_nodes() -> None:
    first, second = turn("n1", None, "one"), turn("n2", None, "two")
    first["message"]["id"] = second["message"]["id"] = "same"

    assert {item.id for item in read(first, second).turns} == {"n1", "n2"}
    assert {item.id for item in read(second, first).turns} == {"n1", "n2"}


def test_ten_thousand_turns_deep() -> None:
    conversation = read(*line(*(f"t{index}" for index in range(10_000))))

    assert len(conversation.turns) == 10_000
    assert conversation.turns[-1].parent == "t9998"


def test_flags_that_an_era_does_not_write_are_unknown() -> None:
    assert read(*line("q")).metadata == (("title", "A title"),)
    assert read(*line("q"), is_archived=False, is_starred=None, pinned_time=5.7).metadata == (
        ("is_archived", False),
        ("is_starred", False),
        ("pinned_time", 5),
        ("title", "A title"),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"7", b'"text"', b"{}", b'{"mapping": null, "id": "x"}',
        b'{"mapping": {}}', b'{"mapping": {}, "id": ""}', b'{"mapping": {}, "id": 5}',
        b'{"mapping": [], "id": "x"}', b'{"mapping": {}, "id": "' + b"x" * 300 + b'"}',
        talk(*line("q"))[:-1], b"\xff\xfe\x00", b'{"id": "' + b'\\"' * 50_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id":"x","mapping":{"n":{"message":{"content":{"content_type":"z","y":'
        + b'{"k":' * 100_000 + b"1" + b"}" * 100_004,
        b" " * (MAX_BYTES + 1),
        b"{" * (MAX_OBJECTS + 1),
    ],
    ids=lambda data: f"{len(data)}-{data[:12]!r}",
)  # fmt: skip
def test_what_is_no_conversation_is_refused(data: bytes) -> None:
    with pytest.raises(ConversationUnreadable):
        parse(data)


def test_deep_content_is_a_turn_all_the_same() -> None:
    """As deep as the decoder allows: the turn stays, compared by its bytes."""
    deep = b'{"content_type": "z", "y": ' + b"[" * 900 + b"]" * 900 + b"}"
    plain = b'{"content_type": "text", "parts": ["words of q"]}'

    assert len(parse(talk(*line("q")).replace(plain, deep)).turns) == 1


def test_refusal_quotes_nothing() -> None:
    with pytest.raises(ConversationUnreadable) as caught:
        parse(b'{"title": "secret words"')
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None
