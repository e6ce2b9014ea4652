"""Search over a repository in memory: what is found, in which order, and what is said of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backupd.catalog import Catalog, Hit, QueryRefused, Wanted
from backupd.catalog.query import LONGEST, MOST_TERMS, understand
from backupd.demo.exports import Churn, Options, series
from tests.support.conversations import root, talk, turn
from tests.support.sealing import made, opened
from tests.support.snapshots import DAY_ONE, MemorySource
from tests.support.storing import export_bytes, origin

NOW = DAY_ONE + timedelta(days=400)


class Archive:
    """A catalog and what it is filled from."""

    def __init__(self) -> None:
        self.source = MemorySource()
        self.catalog = Catalog.open(None)

    def week(self, number: int, *talks: bytes, **about: Any) -> str:
        name = self.source.add(talks, week=number, **about)
        self.catalog.sync(self.source)
        return name

    def hits(self, query: str, **wanted: Any) -> tuple[Hit, ...]:
        return self.catalog.search(Wanted(query, **wanted), NOW).hits

    def found(self, query: str, **wanted: Any) -> list[str | None]:
        """The turns that are found; for a title its conversation."""
        return [hit.message_id or f"title of {hit.conversation_id}" for hit in
                self.hits(query, **wanted)]  # fmt: skip


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.catalog.close()


def said(*texts: str, name: str = "c-1", **fields: Any) -> bytes:
    """A conversation whose turns t0, t1, … say this, one after the other."""
    nodes = [root()]
    for number, text in enumerate(texts):
        nodes.append(turn(f"{name}/t{number}", nodes[-1]["id"], text))
    return talk(*nodes, name=name, **fields)


TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "A café in Zürich, and C++ on the side; see foo_bar-baz.",
    "明日は東京タワーへ行きます。",
    "我喜欢中文搜索功能",
    "서울에서 만나요",
    "สวัสดีครับ ยินดีต้อนรับ",
    "great👍🏽 work, 👩‍💻 and 🇨🇭 and 🫠!",
    "Привет, МИР",
)
FINDS = [
    ("fox", [0]),
    ("FOX dog", [0]),
    ("fox café", []),
    ('"quick brown"', [0]),
    ('"brown quick"', []),
    ("qui*", [0]),
    ('"brown fo"*', [0]),
    ("cafe", [1]),
    ("zurich OR fox", [0, 1]),
    ("the NOT fox", [1]),
    ("the -fox", [1]),
    ("the (fox OR zürich) -dog", [1]),
    ("and", [1, 6]),
    ("foo bar", [1]),
    ("foo-bar", [1]),
    ("東京", [2]),
    ("京タ", [2]),
    ("京都", []),
    ("搜索", [3]),
    ("中", [3]),
    ("서울", [4]),
    ("ยินดี", [5]),
    ("👍", [6]),
    ("👩‍💻", [6]),
    ("🇨🇭", [6]),
    ("🫠", [6]),
    ("👎", []),
    ("привет мир", [7]),
]


@pytest.mark.parametrize(("query", "expected"), FINDS)
def test_words_phrases_beginnings_and_every_script(
    archive: Archive, query: str, expected: list[int]
) -> None:
    archive.week(0, said(*TEXTS, title=None))

    assert sorted(archive.found(query)) == [f"c-1/t{number}" for number in expected]


@pytest.mark.parametrize("query", ["東京", "cafe", "👍", "qui*", '"brown fox"', "МИР"])
def test_snippet_shows_where(archive: Archive, query: str) -> None:
    padding = "nothing of interest here, " * 30
    archive.week(0, said(*(f"{padding}\n{text} {padding}" for text in TEXTS)))
    (hit,) = archive.hits(query)

    assert len(hit.snippet) < 220
    assert "\n" not in hit.snippet
    (begin, end), *_ = hit.marks
    shown = hit.snippet[begin:end].lower().replace("é", "e")
    assert shown.startswith(query.strip('*"').lower())


REFUSED = [
    ("", "nothing"),
    ("++ --", "nothing"),
    ('"open', "quotation"),
    ("(open", "not closed"),
    ("closed)", "not opened"),
    ("fox AND", "at the end"),
    ("OR fox", "before OR"),
    ("NOT fox", "must not be there"),
    ("-fox -dog", "must not be there"),
    ("()", "missing"),
    ("(" * 40 + "a" + ")" * 40, "too deep"),
    ("f*", "two letters"),
    ("a" * (LONGEST + 1), "longer"),
    ("a " * (MOST_TERMS + 1), "more than"),
]


@pytest.mark.parametrize(("query", "reason"), REFUSED)
def test_what_cannot_be_understood_is_refused_in_words(query: str, reason: str) -> None:
    with pytest.raises(QueryRefused, match=reason) as refused:
        understand(query)

    assert "phrase" in refused.value.hint


def test_edited_and_deleted_text_is_found_with_when(archive: Archive) -> None:
    first = archive.week(0, said("about apples", "yes, pears", "and quinces"))
    second = archive.week(1, said("about apples", "yes, plums", "and quinces"))
    third = archive.week(2, said("about apples", "yes, plums", "and quinces"))

    assert archive.found("pears") == []
    (hit,) = archive.hits("pears", every_version=True)
    assert (hit.first_snapshot, hit.last_snapshot, hit.current) == (first, first, False)
    assert hit.last_seen == DAY_ONE
    (hit,) = archive.hits("plums")
    assert (hit.first_snapshot, hit.last_snapshot, hit.current) == (second, third, True)
    (hit,) = archive.hits("apples", every_version=True)
    assert (hit.first_snapshot, hit.last_snapshot, hit.current) == (first, third, True)


def test_turns_deleted_upstream_stay_in_the_newest_version_that_is_shown(archive: Archive) -> None:
    """A state that merely lacks turns never becomes the head, so they are found without a flag."""
    first = archive.week(0, said("about apples", "yes, pears"))
    archive.week(1, said("about apples"))
    (hit,) = archive.hits("pears")

    assert (hit.first_snapshot, hit.last_snapshot, hit.current) == (first, first, True)


def test_gone_conversations_are_found(archive: Archive) -> None:
    stays = [said("about kiwis", name=f"c-{number}") for number in range(2, 5)]
    first = archive.week(0, said("about apples"), *stays)
    archive.week(1, *stays)
    (hit,) = archive.hits("apples")

    assert hit.gone
    assert hit.last_snapshot == first
    assert archive.found("about", gone=True) == ["c-1/t0"]
    assert len(archive.found("about")) == 4


def test_filters(archive: Archive) -> None:
    nodes = [
        root(),
        turn("old", "root", "apple one", create_time=1_600_000_000.0),
        turn("new", "old", "apple two", "assistant", metadata={"model_slug": "gpt-5-mini"}),
        turn("tool", "new", "apple three", "tool"),
        turn("shown", "new", content={
            "content_type": "multimodal_text",
            "parts": ["apple four", {"content_type": "image_asset_pointer",
                                     "asset_pointer": "file-service://file-Abc"}],
        }),
    ]  # fmt: skip
    archive.week(0, talk(*nodes, title="Fruit Für Alle"), said("apple", name="c-2", title="Other"))
    between = datetime(2021, 1, 1, tzinfo=UTC)

    assert set(archive.found("apple")) == {"old", "new", "shown", "c-2/t0"}
    assert archive.found("apple", role="assistant") == ["new"]
    assert archive.found("apple", role="tool") == ["tool"]
    assert archive.found("apple", model="GPT-5") == ["new"]
    assert archive.found("apple", has_asset=True) == ["shown"]
    assert archive.found("apple", until=between) == ["old"]
    assert set(archive.found("apple", since=between)) == {"new", "shown", "c-2/t0"}
    assert set(archive.found("apple", title="für")) == {"old", "new", "shown"}
    found = archive.catalog.search(Wanted("apple", limit=2), NOW)
    assert (len(found.hits), found.more) == (2, True)


def test_titles_come_first_and_younger_turns_before_older(archive: Archive) -> None:
    def at(name: str, days: int, title: str) -> bytes:
        when = (NOW - timedelta(days=days)).timestamp()
        node = turn(f"{name}/t0", "root", "some words about apples", create_time=when)
        return talk(root(), node, name=name, title=title, update_time=when)

    filler = [said("nothing", name=f"f-{number}") for number in range(9)]
    archive.week(0, at("c-1", 900, "Other"), at("c-2", 9, "Other"), at("c-3", 900, "Apples"),
                 *filler)  # fmt: skip

    assert archive.found("apples") == ["title of c-3", "c-3/t0", "c-2/t0", "c-1/t0"]


def test_a_new_title_replaces_the_old_one(archive: Archive) -> None:
    archive.week(0, said("words", title="Apples"))
    archive.week(1, said("words", title="Pears"))

    assert archive.found("apples") == []
    assert archive.found("pears") == ["title of c-1"]


def test_accounts_with_the_same_conversation_have_their_own_hits(archive: Archive) -> None:
    archive.week(0, said("about apples"), account="mine")
    archive.week(1, said("about apples", "and pears"), account="yours")

    assert [hit.account for hit in archive.hits("pears")] == ["yours"]
    assert {hit.account for hit in archive.hits("apples")} == {"mine", "yours"}


def test_forgotten_snapshots_take_their_words_along(archive: Archive) -> None:
    first = archive.week(0, said("about apples", "yes, pears"))
    archive.week(1, said("about apples", "yes, plums"))
    archive.source.remove(first)
    archive.catalog.sync(archive.source)

    assert archive.found("pears", every_version=True) == []
    assert archive.found("plums") == ["c-1/t1"]


@pytest.mark.parametrize("eras", ["2025 2025 2025", "2023 2025 2026"])
def test_every_word_of_a_generated_series_is_found_where_it_is(archive: Archive, eras: str) -> None:
    churn = Churn(new=2, continued=3, edited=3, rewritten=3, deleted=1, retitled=1, flipped=0)
    added, removed = [], []
    for week in series(5, eras.split(), 3, 12, Options(churn=churn)):  # type: ignore[arg-type]
        archive.source.add_export(week)
        archive.catalog.sync(archive.source)
        added += week.truth.added
        removed += week.truth.removed
    lost = {change.message_id for change in removed if change.word}
    words = [change for change in added if change.word]

    assert len(words) > 10
    for change in words:
        everywhere = archive.found(change.word, every_version=True)
        assert everywhere == [change.message_id], change
        if change.message_id not in lost:
            assert archive.found(change.word) == [change.message_id], change


def test_search_of_an_encrypted_repository_leaves_nothing_readable(tmp_path: Path) -> None:
    """The catalog lives in memory, and what is on the disk does not hold a word of the text."""
    words = "unmistakable quizzacious words"
    with made(tmp_path / "r") as repository:
        talks: list[dict[str, object]] = [json.loads(said(words, name="c-1"))]
        repository.add(written(tmp_path / "one.zip", export_bytes(talks)), origin())
    (tmp_path / "one.zip").unlink()
    with opened(tmp_path / "r") as repository:
        assert repository.catalog is None
        catalog = Catalog.open(repository.catalog)
        catalog.sync(repository)
        (hit,) = catalog.search(Wanted("quizzacious"), NOW).hits
        catalog.close()

    assert hit.snippet == words
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"quizzacious" in path.read_bytes()]
    assert not list(tmp_path.rglob("*.sqlite*"))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_text_that_no_snapshot_has_any_more_is_not_kept(tmp_path: Path) -> None:
    """What was forgotten and pruned does not live on in the catalog; what comes back is found."""
    source, catalog = MemorySource(), Catalog.open(tmp_path / "catalog.sqlite")
    old = [said("about apples", "quizzacious pears"), said("unmistakably gone", name="c-2")]
    first = source.add(old, week=0)
    source.add([said("about apples", "yes, plums")], week=1)
    catalog.sync(source)
    source.remove(first)
    catalog.sync(source)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as other:
        texts = {row[0] for row in other.execute("SELECT text FROM texts")}
        vocabulary = "CREATE VIRTUAL TABLE temp.v USING fts5vocab (main, words, 'row')"
        other.execute(vocabulary)
        words = {row[0] for row in other.execute("SELECT term FROM temp.v")}
    source.add(old, week=2)
    catalog.sync(source)
    again = catalog.search(Wanted("quizzacious"), NOW).hits
    catalog.close()

    assert texts == {"about apples", "yes, plums"}
    assert words == {"about", "apples", "yes", "plums"}
    assert [hit.message_id for hit in again] == ["c-1/t1"]


def test_what_is_searched_survives_an_audit_and_is_mended_by_it(tmp_path: Path) -> None:
    source, catalog = MemorySource(), Catalog.open(tmp_path / "catalog.sqlite")
    source.add([said("about apples", "yes, pears", title="Fruit")], week=0)
    source.add([said("about apples", "yes, plums", title="Fruit")], week=1)
    catalog.sync(source)

    def answers() -> list[tuple[Hit, ...]]:
        wanted = [Wanted(word, every_version=True) for word in ("apples", "pears", "fruit")]
        return [catalog.search(one, NOW).hits for one in wanted]

    before = answers()
    assert [len(hits) for hits in before] == [1, 1, 1]
    assert catalog.audit(source) is None
    assert answers() == before
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as other, other:
        other.execute("UPDATE placed SET head = 1 - head")
    assert answers() != before

    assert catalog.audit(source)
    assert answers() == before
    catalog.close()
