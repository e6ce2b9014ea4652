"""The catalog against a repository in memory: counts, back-fill, deletion, damage, two users."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backupd.catalog import Catalog, CatalogBusy, CatalogDamaged
from backupd.catalog.database import CatalogFile
from backupd.catalog.ingest import BATCH
from backupd.errors import BackupdError
from backupd.export.versions import Change, Counts, Presence
from tests.support.conversations import line, root, talk, turn
from tests.support.snapshots import MemorySource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "catalog.sqlite"


@pytest.fixture
def catalog(path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(path)
    yield opened
    opened.close()


def account(*sizes: int, **fields: Any) -> list[bytes]:
    """Return conversations c-0, c-1, … with so many turns each; 0 leaves one out."""
    return [
        talk(*line(*(f"t{turn}" for turn in range(size))), name=f"c-{index}", **fields)
        for index, size in enumerate(sizes)
        if size
    ]


def answers(catalog: Catalog, *snapshots: str) -> list[object]:
    """Return what a person can be told of some snapshots and of all conversations."""
    rows = catalog.conversations()
    return [
        *(catalog.summary(name) for name in snapshots),
        *(catalog.changes(name) for name in snapshots),
        *((row, catalog.versions(row.account, row.id)) for row in rows),
    ]


def two_weeks() -> tuple[MemorySource, str, str]:
    source = MemorySource()
    first = source.add(account(1, 1, 1, 1), week=0)
    second = source.add(account(1, 2, 0, 1, 3), week=1)
    return source, first, second


def test_counts_of_each_snapshot(catalog: Catalog) -> None:
    source, first, second = two_weeks()
    done = catalog.sync(source)

    assert (done.snapshots, done.slices) == (2, 6)
    assert catalog.counts(first) == Counts(4, 4, 0, 0, 0, 0)
    assert catalog.counts(second) == Counts(4, 1, 1, 0, 2, 1)
    assert [item.id for item in catalog.gone(second)] == ["c-2"]
    assert catalog.counts("unknown") is None


def test_only_unknown_slices_are_read(catalog: Catalog) -> None:
    source, *_ = two_weeks()
    catalog.sync(source)
    source.read = 0
    source.add(account(1, 2, 0, 1, 4), week=2)

    assert catalog.sync(source).slices == source.read == 1
    assert catalog.sync(source).snapshots == 0
    assert source.read == 1


def test_catalog_is_kept_in_the_file(path: Path) -> None:
    source, _, second = two_weeks()
    for _ in range(2):
        catalog = Catalog.open(path)
        catalog.sync(source)
        counts = catalog.counts(second)
        catalog.close()

    assert counts == Counts(4, 1, 1, 0, 2, 1)
    assert source.read == 6
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_older_snapshot_is_filled_in_without_reading_the_others_again(catalog: Catalog) -> None:
    source = MemorySource()
    first = source.add(account(1, 1, 1), week=0)
    last = source.add(account(1, 3, 0), week=2)
    catalog.sync(source)
    source.read = 0
    between = source.add(account(1, 2, 0, 1), week=1)
    catalog.sync(source)

    assert source.read == 2
    assert catalog.counts(first) == Counts(3, 3, 0, 0, 0, 0)
    assert catalog.counts(between) == Counts(3, 1, 1, 0, 1, 1)
    assert catalog.counts(last) == Counts(2, 0, 1, 0, 1, 1)
    assert [row.first_snapshot for row in catalog.versions("someone", "c-1")] == [
        first,
        between,
        last,
    ]


def test_snapshot_that_is_no_more_is_forgotten(catalog: Catalog) -> None:
    source, first, second = two_weeks()
    catalog.sync(source)
    source.remove(first)
    catalog.sync(source)

    assert catalog.counts(first) is None
    assert catalog.counts(second) == Counts(4, 4, 0, 0, 0, 0)
    source.remove(second)
    catalog.sync(source)
    assert catalog.conversations() == ()


def test_accounts_are_kept_apart(catalog: Catalog) -> None:
    """Even the very same bytes in two accounts."""
    source = MemorySource()
    source.add(account(1, 1), week=0, account="mine")
    yours = source.add(account(1), week=1, account="yours")
    unknown = source.add(account(1), week=2, account=None)
    catalog.sync(source)

    assert catalog.counts(yours) == catalog.counts(unknown) == Counts(1, 1, 0, 0, 0, 0)
    assert len(catalog.conversations("mine")) == 2
    assert {row.account for row in catalog.conversations()} == {"mine", "yours", ""}


def test_conversation_twice_in_an_export_counts_once_with_its_richest_state(
    catalog: Catalog,
) -> None:
    source = MemorySource()
    first = source.add(account(2) + account(1), week=0)
    second = source.add(account(1) + account(2), week=1)
    third = source.add(account(3) + account(2), week=2)
    catalog.sync(source)

    assert catalog.counts(first) == Counts(1, 1, 0, 0, 0, 0)
    assert catalog.counts(second) == Counts(1, 0, 0, 0, 1, 0)
    assert catalog.counts(third) == Counts(1, 0, 1, 0, 0, 0)


def test_unreadable_slices_are_counted_and_read_once(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    source = MemorySource()
    snapshot = source.add([*account(1), b'{"not": "one"}', b"{{{"], week=0)
    source.add([*account(1), b"{{{"], week=1)
    catalog.sync(source)

    summary = catalog.summary(snapshot)
    assert summary is not None
    assert (summary.unreadable, summary.counts.total) == (2, 1)
    assert source.read == 3
    assert "2 slices are no readable conversations" in caplog.text


def test_slice_that_is_lost_costs_its_snapshot_until_it_is_found(catalog: Catalog) -> None:
    source, first, second = two_weeks()
    lost = source.members[second][1]
    data = source.objects.pop(lost)

    assert catalog.sync(source).damaged == (second,)
    assert catalog.counts(first) is not None
    assert catalog.counts(second) is None
    source.objects[lost] = data
    assert catalog.sync(source).damaged == ()
    assert catalog.counts(second) == Counts(4, 1, 1, 0, 2, 1)


def test_interrupted_sync_goes_on_where_it_stopped(catalog: Catalog) -> None:
    source = MemorySource()
    snapshot = source.add(account(*[1] * (BATCH + 50)), week=0)

    def interrupt(_slices: int, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catalog.sync(source, interrupt)
    assert catalog.counts(snapshot) is None
    assert catalog.sync(source).slices == 50
    assert catalog.counts(snapshot) == Counts(BATCH + 50, BATCH + 50, 0, 0, 0, 0)


def test_mass_drop_and_incomplete_export_mark_nothing_gone(catalog: Catalog) -> None:
    source = MemorySource()
    source.add(account(*[1] * 20), week=0)
    partial = source.add(account(*[1] * 10), week=1, complete=False)
    dropped = source.add(account(1, 1), week=2)
    confirmed = source.add(account(1, 1), week=3)
    catalog.sync(source)

    found = [catalog.summary(name) for name in (partial, dropped, confirmed)]
    assert [(item.mass_drop, item.missing, item.counts.gone) for item in found if item] == [
        (False, 10, 0),
        (True, 18, 0),
        (False, 0, 18),
    ]
    assert len(catalog.conversations(presence=frozenset({Presence.GONE}))) == 18


def test_versions_tell_when_and_what(catalog: Catalog) -> None:
    source = MemorySource()
    weeks = [source.add(account(size, 1), week=week) for week, size in enumerate((2, 2, 4, 3, 4))]
    catalog.sync(source)

    first, second = catalog.versions("someone", "c-0")[:2]
    assert (first.first_snapshot, first.last_snapshot, first.turns) == (weeks[0], weeks[1], 2)
    assert (first.change, second.change, second.added) == (Change.NEW, Change.CHANGED, 2)
    shorter = catalog.versions("someone", "c-0")[2]
    assert (shorter.first_snapshot, shorter.last_snapshot, shorter.lost) == (weeks[3], weeks[3], 1)
    assert (second.first_snapshot, second.last_snapshot, second.head) == (weeks[2], weeks[4], True)
    assert catalog.versions("someone", "unknown") == ()


def test_version_of_a_gone_conversation_ends_where_it_was_last_seen(catalog: Catalog) -> None:
    source = MemorySource()
    weeks = [source.add(account(1, size), week=week) for week, size in enumerate((1, 1, 0, 0, 2))]
    source.remove(weeks[4])
    catalog.sync(source)
    (gone,) = catalog.conversations(presence=frozenset({Presence.GONE}))
    (version,) = catalog.versions("someone", "c-1")

    assert (gone.id, gone.last_snapshot, gone.gone_since) == ("c-1", weeks[1], weeks[2])
    assert version.last_snapshot == weeks[1]


def test_conversation_that_returns_changed_begins_a_version(catalog: Catalog) -> None:
    source = MemorySource()
    weeks = [source.add(account(1, size), week=week) for week, size in enumerate((1, 0, 2))]
    catalog.sync(source)
    before, after = catalog.versions("someone", "c-1")

    assert (before.last_snapshot, after.first_snapshot) == (weeks[0], weeks[2])
    assert catalog.counts(weeks[2]) == Counts(2, 0, 1, 0, 1, 0)
    (row,) = (row for row in catalog.conversations() if row.id == "c-1")
    assert (row.presence, row.gone_since, row.turns) == (Presence.PRESENT, None, 2)


def test_conversation_row(catalog: Catalog) -> None:
    source = MemorySource()
    first = source.add(account(2, title="One"), week=0)
    second = source.add(account(2, title="Two", update_time=None), week=1)
    catalog.sync(source)
    (row,) = catalog.conversations()

    assert (row.title, row.turns, row.versions) == ("Two", 2, 1)
    assert (row.first_snapshot, row.last_snapshot) == (first, second)
    assert row.created is not None and row.updated is None
    assert row.slice_id == source.members[first][0]
    assert [item.change for item in catalog.changes(second)] == ["metadata_changed"]


def test_richest_slice_stands_for_a_version(catalog: Catalog) -> None:
    rich = talk(root(), turn("s", "root", role="system"), turn("q", "s"))
    plain = talk(root(), turn("q", "root"))
    source = MemorySource()
    for week, data in enumerate((plain, rich, plain)):
        source.add([data], week=week)
    catalog.sync(source)

    assert catalog.conversations()[0].slice_id == source.members[source.snapshots()[1].id][0]


class TestDamage:
    """The file is derived: whatever is wrong with it, it is made again."""

    def spoil(self, path: Path, how: str) -> None:
        data = bytearray(path.read_bytes())
        if how == "random":
            path.write_bytes(os.urandom(len(data)))
        elif how == "truncated":
            path.write_bytes(data[: len(data) // 2])
        elif how == "empty":
            path.write_bytes(b"")
        elif how == "text":
            path.write_text("not a database")
        else:
            for offset in range(5_000, len(data), 97):
                data[offset] ^= 0x40
            path.write_bytes(data)

    @pytest.mark.parametrize("how", ["random", "truncated", "empty", "text", "flipped"])
    def test_damaged_file_is_rebuilt(self, path: Path, how: str) -> None:
        source, _, second = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        catalog.close()
        self.spoil(path, how)

        catalog = Catalog.open(path)
        source.add(account(1, 2, 0, 1, 4), week=2)
        catalog.sync(source)
        assert catalog.counts(second) == Counts(4, 1, 1, 0, 2, 1)
        catalog.close()

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("UPDATE snapshots SET changed = changed + 1", "counts or histories"),
            ("UPDATE snapshots SET total = 5 WHERE complete", "counts or histories"),
            ("UPDATE histories SET account = 'somebody' WHERE key = 1", "counts or histories"),
            ("UPDATE versions SET slice = slice + 1 WHERE history = 1", "counts or histories"),
            ("UPDATE events SET change = 'gond' WHERE change = 'gone'", "counts or histories"),
            ("UPDATE snapshots SET at = replace(at, '10', '11')", "of a snapshot"),
            ("UPDATE snapshots SET complete = 0", "of a snapshot"),
            ("UPDATE snapshots SET members = substr(members, 5)", "of a snapshot"),
            ("UPDATE conversations SET id = 'c-9' WHERE id = 'c-1'", "of a conversation"),
            ("UPDATE slices SET updated = updated + 64", "of a conversation"),
            ("UPDATE prints SET conversation = 99 WHERE key = 2", "of a conversation"),
            ("UPDATE prints SET kept = kept + 1 WHERE key = 2", "a fingerprint"),
            ("UPDATE prints SET marks = x'00'", "nonsense"),
        ],
    )
    def test_a_number_that_turned_into_another_is_found_and_mended(
        self, path: Path, statement: str, words: str
    ) -> None:
        source, first, second = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        right = answers(catalog, first, second)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(statement)

        assert words in (catalog.audit(source) or "")
        assert answers(catalog, first, second) == right
        assert catalog.audit(source) is None
        catalog.close()

    def test_a_sound_file_is_left_as_it_is(self, path: Path) -> None:
        source, *_ = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        catalog.close()
        before = path.read_bytes()
        catalog = Catalog.open(path)
        source.read = 0

        assert catalog.audit(source) is None
        catalog.close()
        assert (path.read_bytes(), source.read) == (before, 0)

    def test_no_turned_bit_is_answered_after_an_audit(self, path: Path, tmp_path: Path) -> None:
        """Flip single bits anywhere; without the audit some of them change an answer in silence."""
        source, first, second = two_weeks()
        source.add([*account(2, 2, 1), b"no conversation"], week=2, account="else")
        catalog = Catalog.open(path)
        catalog.sync(source)
        right = answers(catalog, first, second)
        catalog.close()
        sound = path.read_bytes()
        dice = random.Random(1903)
        flips = 10_000 if os.environ.get("BACKUPD_FULL") else 150
        for number in range(flips):
            data = bytearray(sound)
            bit = dice.randrange(len(data) * 8)
            data[bit // 8] ^= 1 << bit % 8
            file = tmp_path / "flipped" / str(number)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
            catalog = Catalog.open(file)
            catalog.audit(source)
            given = answers(catalog, first, second)
            catalog.close()
            assert given == right, f"bit {bit}, seed 1903"
            file.unlink()
        print(f"catalog bits flipped = {flips}, passed {flips}, seed 1903")

    def test_rebuild_is_said(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path.parent.mkdir()
        path.write_text("no database " * 100)
        Catalog.open(path).close()

        assert "begun anew" in caplog.text

    def test_damage_found_while_reading_is_an_error_once(self, path: Path) -> None:
        source, _, second = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        self.drop(path, "events")

        with pytest.raises(CatalogDamaged):
            catalog.changes(second)
        assert catalog.changes(second) == ()
        catalog.sync(source)
        assert len(catalog.changes(second)) == 3
        catalog.close()

    def test_rows_of_nonsense_are_rebuilt(self, path: Path) -> None:
        source, *_ = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE prints SET marks = x'00'")
            other.execute("UPDATE histories SET metadata = 'x'")
        other.close()
        third = source.add(account(2, 3, 0, 1, 3), week=2)

        catalog.sync(source)
        assert catalog.counts(third) == Counts(4, 0, 2, 0, 2, 0)
        catalog.close()

    def test_file_of_another_schema_is_made_anew(self, path: Path) -> None:
        source, _, second = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        catalog.close()
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version=99")
        other.close()

        catalog = Catalog.open(path)
        assert catalog.counts(second) is None
        catalog.sync(source)
        assert catalog.counts(second) is not None
        catalog.close()

    def test_deleted_under_an_open_catalog(self, path: Path) -> None:
        source, _, second = two_weeks()
        catalog = Catalog.open(path)
        catalog.sync(source)
        for file in path.parent.iterdir():
            file.unlink()

        assert catalog.counts(second) is None
        catalog.sync(source)
        assert catalog.counts(second) is not None
        assert path.exists()
        catalog.close()

    def test_reset_empties(self, catalog: Catalog) -> None:
        source, _, second = two_weeks()
        catalog.sync(source)
        catalog.reset()

        assert catalog.counts(second) is None

    def drop(self, path: Path, table: str) -> None:
        with sqlite3.connect(path) as other:
            other.execute(f"DROP TABLE {table}")
        other.close()


class TestTwoUsers:
    """The daemon and a command at the same time."""

    def test_what_one_writes_the_other_reads(self, path: Path) -> None:
        source, _, second = two_weeks()
        one, other = Catalog.open(path), Catalog.open(path)
        one.sync(source)

        assert other.counts(second) == Counts(4, 1, 1, 0, 2, 1)
        assert other.sync(source).snapshots == 0
        one.close()
        other.close()

    def test_one_begins_anew_while_the_other_has_it_open(self, path: Path) -> None:
        source, _, second = two_weeks()
        one, other = Catalog.open(path), Catalog.open(path)
        one.sync(source)
        other.reset()

        assert one.counts(second) is None
        one.sync(source)
        assert other.counts(second) == Counts(4, 1, 1, 0, 2, 1)
        one.close()
        other.close()

    def test_both_sync_at_once(self, path: Path) -> None:
        source = MemorySource()
        weeks = [source.add(account(*[week + 1] * 30), week=week) for week in range(6)]
        failures: list[BaseException] = []

        def work() -> None:
            catalog = Catalog.open(path)
            try:
                catalog.sync(source)
            except BackupdError as error:
                failures.append(error)
            finally:
                catalog.close()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        catalog = Catalog.open(path)
        assert failures == []
        assert [catalog.counts(week) for week in weeks[1:]] == [Counts(30, 0, 30, 0, 0, 0)] * 5
        catalog.close()

    def test_writer_that_does_not_end_is_busy(self, path: Path) -> None:
        source, *_ = two_weeks()
        file = CatalogFile(path, timeout=0.05)
        catalog = Catalog(file)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(CatalogBusy):
            catalog.sync(source)
        other.execute("ROLLBACK")
        other.close()
        assert catalog.sync(source).snapshots == 2
        catalog.close()


def test_catalog_in_memory() -> None:
    source, _, second = two_weeks()
    catalog = Catalog.open(None)
    catalog.sync(source)

    assert catalog.counts(second) == Counts(4, 1, 1, 0, 2, 1)
    catalog.close()


def test_place_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")

    with pytest.raises(BackupdError) as caught:
        Catalog.open(tmp_path / "cache" / "catalog.sqlite")
    assert caught.value.hint


def test_progress_and_log(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source, *_ = two_weeks()
    told: list[tuple[int, int]] = []
    catalog.sync(source, lambda slices, size: told.append((slices, size)))

    assert [slices for slices, _ in told] == [4, 2]
    assert "title" not in caplog.text.lower()


def test_a_new_file_that_another_is_just_beginning_is_waited_for(path: Path) -> None:
    """SQLite does not wait by itself before it switches to write-ahead logging."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ended = threading.Timer(0.1, other.execute, ["ROLLBACK"])
    ended.start()
    try:
        Catalog.open(path).close()
    finally:
        ended.join()
        other.close()
