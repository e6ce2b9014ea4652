"""Exports that another program than zlib packed: stored, given back, also on a bare machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from backupd.errors import ExitCode, RebuildImpossible
from backupd.export import encoders
from backupd.export.deflate import Encoder, encode
from backupd.store import described
from backupd.store.header import ENCODERS, ENCRYPTION
from backupd.store.recipe import Begin, Coding, End, Recipe, RecipeDamaged
from backupd.store.recipe import encode as recipe_bytes
from backupd.store.repository import Added, Repository
from tests.support import sealing
from tests.support.storing import (
    KILLED,
    Fault,
    FaultyFs,
    conversation,
    copied,
    in_child,
    origin,
    put,
)
from tests.support.zips import Part, build, deflate_flushing

TALKS = json.dumps([conversation(n) for n in range(12)]).encode()
PAGE = b"<html><script>var jsonData = " + TALKS + b";</script></html>"


def packed(encoder: Encoder) -> Callable[[bytes], bytes]:
    return lambda content: b"".join(encode([content], encoder))


def library(name: str, level: int, feed: int) -> Callable[[bytes], bytes]:
    return packed(encoders.candidate(name, level, 8, feed))


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "zlib-ng": library(encoders.ZLIB_NG, 6, 8192),
    "isal": library(encoders.ISAL, 2, 65536),
    "libdeflate": packed(encoders.candidate(encoders.LIBDEFLATE, 6, 0)),
    "sync flush": lambda content: deflate_flushing(content, range(16384, len(content), 16384)),
    "flush at random": lambda content: deflate_flushing(
        content, [len(content) // 9, len(content) // 2]
    ),
}
OTHER_LIBRARIES = list(WAYS)[:3]


def export(way: Callable[[bytes], bytes], more: bytes = b"") -> bytes:
    """Make an export whose members are packed in a way of their own."""
    members = {
        b"user.json": b'{"id": "user-abc"}',
        b"conversations.json": TALKS + more,
        b"chat.html": PAGE,
    }
    return build(*(Part(name, data, stream=way(data)) for name, data in members.items()))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    """Give an empty repository."""
    with Repository.create(tmp_path / "repository") as made:
        yield made


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give what hides the extra's libraries from then on."""

    def hide() -> None:
        for name in ("zlib_ng", "isal", "deflate"):
            monkeypatch.setitem(sys.modules, name, None)

    return hide


def features(repository: Repository) -> object:
    return json.loads((repository.path / "backupd-repository.json").read_bytes())["features"]


def is_exact(repository: Repository, added: Added, data: bytes) -> bool:
    return b"".join(repository.rebuild(added.snapshot)) == data


@pytest.mark.parametrize("way", WAYS)
def test_an_export_of_another_program_is_taken_apart_and_given_back(
    repository: Repository, tmp_path: Path, way: str
) -> None:
    data = export(WAYS[way])

    added = put(repository, tmp_path, data)

    assert added.snapshot.kept_streams == () and not added.kept_whole
    assert added.snapshot.conversations == 12
    assert added.snapshot.proven_at is not None
    assert added.new_bytes < len(data)
    assert is_exact(repository, added, data)
    assert features(repository) == [ENCODERS]
    assert repository.check(read_data=True, drill=True).problems == ()
    with Repository.open(repository.path) as again:
        assert is_exact(again, added, data)


def test_plain_zlib_asks_for_no_feature(repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, export(packed(Encoder(9, 9))))

    assert features(repository) == []


def add(place: Path, source: Path, files: FaultyFs) -> None:
    with Repository.open(place, files=files) as repository:
        repository.add(source, origin(), prove=False)


def add_and_die(place: Path, source: Path, fault: Fault) -> None:
    add(place, source, FaultyFs(fault))


def test_a_crash_while_the_header_is_replaced_harms_nothing(tmp_path: Path) -> None:
    template, source = tmp_path / "template", tmp_path / "export.zip"
    source.write_bytes(export(WAYS["flush at random"]))
    Repository.create(template).close()
    counting = FaultyFs()
    add(copied(template, tmp_path / "counted"), source, counting)
    rename = [path.name for path in counting.paths].index("backupd-repository.json")
    assert counting.names[rename] == "rename"

    for number, how in product(range(rename - 3, rename + 3), ("before", "after")):
        place = copied(template, tmp_path / f"{number}-{how}")
        assert in_child(add_and_die, place, source, Fault(number, how)) == KILLED
        with Repository.open(place, write=True) as repository:
            assert repository.snapshots() == []
            assert repository.check(read_data=True).problems == ()
            added = repository.add(source, origin())
            assert is_exact(repository, added, source.read_bytes())
            assert features(repository) == [ENCODERS]


def test_an_encrypted_repository_keeps_its_features(tmp_path: Path) -> None:
    data = export(WAYS["sync flush"])
    with sealing.made(tmp_path / "repository") as repository:
        put(repository, tmp_path, data)

        assert features(repository) == [ENCODERS, ENCRYPTION]
    with sealing.opened(tmp_path / "repository") as repository:
        assert b"".join(repository.rebuild(repository.find("latest"))) == data


@pytest.mark.parametrize("way", OTHER_LIBRARIES)
def test_without_the_library_all_works_but_the_rebuild(
    repository: Repository, tmp_path: Path, hide: Callable[[], None], way: str
) -> None:
    added = put(repository, tmp_path, export(WAYS[way]))
    hide()

    with pytest.raises(RebuildImpossible, match=f"cannot be rebuilt here: it needs {way}") as told:
        repository.restore_zip(added.snapshot, tmp_path / "back.zip")
    assert told.value.exit_code is ExitCode.FAILED
    assert "restore to a directory" in told.value.hint
    assert "backupd[encoders]" in told.value.hint
    assert not (tmp_path / "back.zip").exists()

    assert repository.restore_members(added.snapshot, tmp_path / "members") == 3
    assert (tmp_path / "members/conversations.json").read_bytes() == TALKS
    assert (tmp_path / "members/chat.html").read_bytes() == PAGE
    assert len(list(repository.conversation_ids(added.snapshot))) == 12
    report = repository.check(read_data=True, drill=True)
    assert report.problems == () and report.drilled == ()
    assert [problem.affects for problem in report.impossible] == [(added.snapshot.id,)]


def test_without_the_libraries_an_export_is_stored_exactly_at_its_cost(
    repository: Repository, tmp_path: Path, hide: Callable[[], None]
) -> None:
    """Also where earlier exports were taken apart with them, and share members with this one."""
    put(repository, tmp_path, export(WAYS["zlib-ng"]), day=1)
    data = export(WAYS["zlib-ng"], b" ")
    hide()

    added = put(repository, tmp_path, data, day=2)

    assert is_exact(repository, added, data)
    assert "conversations.json" in added.snapshot.kept_streams
    assert "chat.html" in added.snapshot.kept_streams
    assert added.snapshot.kept_stream_bytes > 0


def test_a_library_that_changed_is_told_of(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = put(repository, tmp_path, export(WAYS["isal"]))
    monkeypatch.setattr(encoders, "_sample", lambda: b"this makes another mark")
    encoders._mark.cache_clear()

    with pytest.raises(RebuildImpossible, match=r"isal here .* writes other bytes"):
        repository.restore_zip(added.snapshot, tmp_path / "back.zip")
    assert repository.restore_members(added.snapshot, tmp_path / "members") == 3
    encoders._mark.cache_clear()


def test_an_archive_in_the_archive_needs_no_library(
    repository: Repository, tmp_path: Path, hide: Callable[[], None]
) -> None:
    """It is a member, and members come back on every machine."""
    inner = export(WAYS["zlib-ng"])
    added = put(repository, tmp_path, build(Part(b"inner.zip", inner)))
    hide()

    repository.restore_members(added.snapshot, tmp_path / "members")

    assert (tmp_path / "members/inner.zip").read_bytes() == inner


@pytest.mark.parametrize("damage", [b"\xc1", b"\x9c\xff", b"\x90"])
def test_a_broken_description_of_an_encoder_is_damage(damage: bytes) -> None:
    encoder = encoders.marked(encoders.candidate(encoders.ISAL, 2, 8, encoders.STEP))
    recipe = recipe_bytes([Begin("a", Coding.DEFLATED, encoder), End()])
    whole = described.encode(encoder)
    broken = recipe.replace(whole, damage + whole[len(damage) :])

    assert next(Recipe(recipe).events()) == Begin("a", Coding.DEFLATED, encoder)
    with pytest.raises(RecipeDamaged, match="unknown encoder"):
        list(Recipe(broken).events())
