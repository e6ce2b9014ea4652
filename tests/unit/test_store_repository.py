"""Adding, listing, giving back: what the repository promises its callers."""

from __future__ import annotations

import json
import os
import random
import threading
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupd.demo.exports import Era, series
from backupd.errors import (
    RepositoryDamaged,
    RepositoryLocked,
    RepositoryMissing,
    RepositoryRefused,
    UsageError,
)
from backupd.export.archive import ArchiveRefused
from backupd.store.adding import Adding, Care
from backupd.store.envelope import PLAIN
from backupd.store.fsio import FileSystem
from backupd.store.index import Index
from backupd.store.paths import Paths
from backupd.store.repository import Repository, Snapshot
from backupd.store.snapshots import Snapshots
from tests.support.storing import (
    conversation,
    export_bytes,
    files_below,
    origin,
    put,
    week,
)
from tests.support.zips import Part, build, deflate_unknown


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    with Repository.create(tmp_path / "repository") as made:
        yield made


def given_back(repository: Repository, snapshot: Snapshot) -> bytes:
    return b"".join(repository.rebuild(snapshot))


@pytest.mark.parametrize("era", ["2023", "2025", "2026", "privacy"])
def test_exports_of_every_era_come_back_byte_for_byte(
    repository: Repository, tmp_path: Path, era: Era
) -> None:
    for number, export in enumerate(series(seed=3, era=era, exports=3, conversations=12), 1):
        data = export.write(tmp_path / export.file_name).read_bytes()
        added = put(repository, tmp_path, data, day=number)

        assert given_back(repository, added.snapshot) == data
        assert added.snapshot.proven_at is not None
        assert not added.kept_whole
        assert added.snapshot.kept_streams == ()
        assert added.snapshot.conversations >= 11

    assert len(repository.snapshots()) == 3
    assert repository.check(read_data=True, drill=True).ok


def test_chat_html_of_every_era_costs_nothing(repository: Repository, tmp_path: Path) -> None:
    for number, era in enumerate(("2023", "2025", "2026"), 1):
        (export,) = series(seed=5, era=era, exports=1, conversations=15)  # type: ignore[arg-type]
        data = export.write(tmp_path / export.file_name).read_bytes()
        put(repository, tmp_path, data, day=number)

    assert "html" not in {kind.kind for kind in repository.stats().kinds}


def test_same_export_again_adds_nothing(repository: Repository, tmp_path: Path) -> None:
    first = put(repository, tmp_path, week(1))
    before = files_below(repository.path)

    again = put(repository, tmp_path, week(1), day=2)

    assert again.already_stored
    assert again.new_bytes == 0
    assert again.snapshot.id == first.snapshot.id
    assert files_below(repository.path) == before


def test_next_week_costs_its_news_only(repository: Repository, tmp_path: Path) -> None:
    first = put(repository, tmp_path, week(1), day=1)
    second = put(repository, tmp_path, week(2), day=2)

    picture = 3000
    assert second.new_bytes < first.new_bytes / 3
    assert second.new_bytes < picture + 6000


def test_unchanged_content_in_a_new_zip_costs_next_to_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    talks = [conversation(n) for n in range(30)]
    put(repository, tmp_path, export_bytes(talks, day=1), day=1)

    again = put(repository, tmp_path, export_bytes(talks, day=2), day=2)

    assert not again.already_stored
    assert again.new_bytes < 2500


def test_stream_of_no_known_encoder_is_kept_exactly_and_named(
    repository: Repository, tmp_path: Path
) -> None:
    content = json.dumps([conversation(n) for n in range(5)]).encode()
    odd = build(
        Part(b"user.json", b"{}"),
        Part(b"conversations.json", content, stream=deflate_unknown(content, 2000)),
    )

    added = put(repository, tmp_path, odd)

    assert added.snapshot.kept_streams == ("conversations.json",)
    assert added.snapshot.kept_stream_bytes == len(deflate_unknown(content, 2000))
    assert not added.kept_whole
    assert given_back(repository, added.snapshot) == odd
    repository.restore_members(added.snapshot, tmp_path / "members")
    assert (tmp_path / "members/conversations.json").read_bytes() == content


def test_encoder_that_misleads_at_the_start_is_found_out(
    repository: Repository, tmp_path: Path
) -> None:
    """The head of the stream fits zlib, the rest does not: the proof fails, care follows."""
    content = random.Random(1).randbytes(300_000) + b"text " * 20_000
    odd = build(
        Part(b"conversations.json", json.dumps([conversation(1)]).encode()),
        Part(b"a.bin", content, stream=deflate_unknown(content, 350_000)),
    )

    added = put(repository, tmp_path, odd)

    assert given_back(repository, added.snapshot) == odd
    assert added.snapshot.proven_at is not None
    assert added.snapshot.kept_streams == ("a.bin",)
    assert len(repository.snapshots()) == 1


def test_zip_kept_whole_comes_back_whole_and_in_members(tmp_path: Path) -> None:
    """The last resort, when no recipe gives the ZIP back."""
    Repository.create(tmp_path / "r").close()
    source = tmp_path / "x.zip"
    source.write_bytes(week(1))
    paths = Paths(tmp_path / "r")
    index = Index(paths.index, paths.pack)
    adding = Adding(paths, FileSystem(), index, Snapshots(paths, index, PLAIN), None)

    added = adding.add(source, origin(), attempts=[Care.WHOLE])
    index.close()

    assert added.kept_whole
    assert added.snapshot.conversations == 0
    with Repository.open(tmp_path / "r") as repository:
        assert given_back(repository, added.snapshot) == week(1)
        assert repository.restore_members(added.snapshot, tmp_path / "out") == 7
        assert repository.check(read_data=True, drill=True).ok
        assert put(repository, tmp_path, week(1)).already_stored


def test_file_that_breaks_a_rule_is_quarantined_whole(
    repository: Repository, tmp_path: Path
) -> None:
    broken = week(1) + b"trailing bytes"
    with pytest.raises(ArchiveRefused) as refusal:
        put(repository, tmp_path, broken)

    kept = repository.quarantine(
        tmp_path / "source-1.zip", str(refusal.value.rule), "detail", origin()
    )

    assert kept.read_bytes() == broken
    assert json.loads(kept.with_suffix(".json").read_text())["source"] == "import"
    assert repository.snapshots() == []
    assert (tmp_path / "source-1.zip").exists()
    assert repository.check(read_data=True).ok


def test_unknown_layout_is_stored_exactly(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "holiday.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b/c.txt", b"text" * 5000)
        archive.writestr("empty", b"")
        archive.writestr("d/", b"")

    added = repository.add(path, origin("holiday.zip"))

    assert given_back(repository, added.snapshot) == path.read_bytes()
    assert repository.restore_members(added.snapshot, tmp_path / "out") == 3
    assert (tmp_path / "out/a/b/c.txt").read_bytes() == b"text" * 5000
    assert (tmp_path / "out/d").is_dir()


def test_conversations_that_do_not_parse_are_stored_exactly(
    repository: Repository, tmp_path: Path
) -> None:
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b'[{"id": "a", "mapping": {' * 4000)
        archive.writestr("chat.html", b"var jsonData = [{]" + os.urandom(9000))

    added = repository.add(path, origin("odd.zip"))

    assert given_back(repository, added.snapshot) == path.read_bytes()
    assert added.snapshot.conversations == 0


def test_conversation_objects_are_those_of_the_export(
    repository: Repository, tmp_path: Path
) -> None:
    talks = [conversation(n) for n in range(7)]
    snapshot = put(repository, tmp_path, export_bytes(talks)).snapshot

    ids = list(repository.conversation_ids(snapshot))
    read = dict(repository.read_many(ids))

    assert [json.loads(read[name]) for name in ids] == talks
    assert snapshot.conversations == 7
    assert list(repository.read_many([b"\0" * 32])) == []


def test_restore_writes_the_zip_once_and_overwrites_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    snapshot = put(repository, tmp_path, week(1)).snapshot
    target = tmp_path / "out.zip"

    repository.restore_zip(snapshot, target)

    assert target.read_bytes() == week(1)
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="exists already"):
        repository.restore_zip(snapshot, target)
    assert sorted(p.name for p in tmp_path.iterdir() if "tmp" in p.name) == []


def test_selectors(repository: Repository, tmp_path: Path) -> None:
    first = put(repository, tmp_path, week(1), day=1).snapshot
    second = put(repository, tmp_path, week(2), day=2).snapshot

    assert repository.find("latest").id == second.id
    assert repository.find(first.id).id == first.id
    assert repository.find(first.id[:10]).id == first.id
    assert repository.find("2026-11-01").id == first.id
    assert repository.find("2026-12-24").id == second.id
    for selector in ("", "2020-01-01", "ffffffffffff", "nonsense", "2026-99-99"):
        with pytest.raises(UsageError):
            repository.find(selector)


def test_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as one, Repository.open(tmp_path / "r") as two:
        with one.lock("import"), pytest.raises(RepositoryLocked, match=f"import, .*{os.getpid()}"):
            put(two, tmp_path, week(1))
        put(two, tmp_path, week(1))

        assert len(one.snapshots()) == 1


def test_open_for_writing_holds_the_lock_until_closed(tmp_path: Path) -> None:
    Repository.create(tmp_path / "r").close()
    with Repository.open(tmp_path / "r", write=True, verb="prune") as held:
        put(held, tmp_path, week(1))
        with pytest.raises(RepositoryLocked, match="prune"):
            Repository.open(tmp_path / "r", write=True)
    Repository.open(tmp_path / "r", write=True).close()


def test_readers_see_whole_snapshots_while_another_process_adds(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as writer, Repository.open(tmp_path / "r") as reader:
        put(writer, tmp_path, week(1), day=1)
        errors: list[Exception] = []
        done = threading.Event()

        def read() -> None:
            try:
                while not done.is_set():
                    for snapshot in reader.snapshots():
                        given_back(reader, snapshot)
                    reader.check(read_data=True)
            except Exception as error:  # noqa: BLE001 - shown by the assertion below
                errors.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(2, 6):
            put(writer, tmp_path, week(number), day=number)
        done.set()
        thread.join(30)

        assert errors == []
        assert len(reader.snapshots()) == 5


def test_collect_keeps_wanted_downloads(repository: Repository) -> None:
    wanted = repository.incoming / "delivery.part"
    wanted.write_bytes(b"half")
    wanted.with_suffix(".json").write_bytes(b"{}")
    (repository.incoming / "other.part").write_bytes(b"old")
    (repository.incoming / "tmp-12").write_bytes(b"old")

    repository.collect({wanted})

    assert sorted(p.name for p in repository.incoming.iterdir()) == [
        "delivery.json",
        "delivery.part",
    ]


def test_opening_for_writing_leaves_downloads_alone(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as repository:
        (repository.incoming / "delivery.part").write_bytes(b"half")
        (repository.incoming / "tmp-12").write_bytes(b"old")
        put(repository, tmp_path, week(1))

        assert [p.name for p in repository.incoming.iterdir()] == ["delivery.part"]


def test_lost_index_is_built_anew(tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as repository:
        put(repository, tmp_path, week(1), day=1)
        put(repository, tmp_path, week(2), day=2)
    index = tmp_path / "r/cache/index.sqlite"
    for damage in (b"", b"garbage" * 1000, None):
        for path in index.parent.iterdir():
            path.unlink()
        if damage is not None:
            index.write_bytes(damage)
        with Repository.open(tmp_path / "r") as repository:
            contents = [given_back(repository, s) for s in repository.snapshots()]

            assert contents == [week(1), week(2)]
            assert repository.check().ok


def test_rebuild_index_gives_the_same_answers(repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, week(1), day=1)
    put(repository, tmp_path, week(2), day=2)
    before = repository.stats()

    assert repository.rebuild_index().packs == 2
    after = repository.stats()

    assert (after.objects, after.kinds) == (before.objects, before.kinds)


def test_place_that_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(RepositoryMissing):
        Repository.open(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter").write_text("mine")
    with pytest.raises(RepositoryRefused, match="not empty"):
        Repository.create(tmp_path / "full")
    Repository.create(tmp_path / "r").close()
    with pytest.raises(RepositoryRefused):
        Repository.create(tmp_path / "r")


def test_repository_open_to_others_is_refused(tmp_path: Path) -> None:
    Repository.create(tmp_path / "r").close()
    (tmp_path / "r").chmod(0o750)

    with pytest.raises(RepositoryRefused, match="other users"):
        Repository.open(tmp_path / "r")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"format": 2}, RepositoryRefused, "newer"),
        ({"features": ["keyed"]}, RepositoryRefused, "unknown features: keyed"),
        ({"id": "0" * 32}, RepositoryDamaged, "checksum"),
    ],
)
def test_header_of_another_program_is_refused_untouched(
    tmp_path: Path, change: dict[str, object], error: type[Exception], text: str
) -> None:
    Repository.create(tmp_path / "r").close()
    header = tmp_path / "r/backupd-repository.json"
    changed = json.dumps({**json.loads(header.read_text()), **change})
    header.chmod(0o600)
    header.write_text(changed)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "r").rglob("*")}

    for write in (False, True):
        with pytest.raises(error, match=text):
            Repository.open(tmp_path / "r", write=write)

    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "r").rglob("*")} == before


def test_modes_are_private(repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, week(1))

    for path in repository.path.rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o077 == 0 or path.parent.name == "cache", path
        if path.suffix == ".pack" or path.parent.name in ("snapshots", "proofs"):
            assert mode == 0o400, path


def test_stats_explain_the_store(repository: Repository, tmp_path: Path) -> None:
    snapshots = [put(repository, tmp_path, week(n), day=n).snapshot for n in (1, 2)]
    stats = repository.stats()

    assert stats.raw_bytes == len(week(1)) + len(week(2))
    assert stats.snapshots == 2
    assert stats.conversations == 23
    assert {kind.kind for kind in stats.kinds} == {"conversation", "member", "asset", "recipe"}
    assert stats.objects == sum(kind.objects for kind in stats.kinds)
    small = stats.stored_bytes - sum(snapshot.stored_bytes for snapshot in snapshots)
    assert 0 < small < 1500
    assert 1 < stats.ratio < 100


def test_snapshot_tells_what_it_is(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "x.zip"
    source.write_bytes(week(1))
    received = origin("x.zip", day=9)

    added = repository.add(source, received)

    assert added.snapshot.origin == received
    assert added.snapshot.received_at == datetime(2026, 11, 9, 9, 30, tzinfo=UTC)
    assert added.snapshot.account is not None
    assert added.snapshot.members == 7
    assert added.snapshot.encoders == ("zlib 6 8 0",)
    assert [s.id for s in repository.snapshots()] == [added.snapshot.id]


def test_progress_is_told_in_bytes(repository: Repository, tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    source = tmp_path / "x.zip"
    source.write_bytes(week(1))

    repository.add(
        source,
        origin(),
        lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )

    assert list(told) == ["hash", "store", "prove"]
    for steps in told.values():
        assert steps == sorted(steps)
        assert {total for _, total in steps} == {len(week(1))}
