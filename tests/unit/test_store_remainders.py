"""Forget and prune on real repositories: what goes, and what stays whatever the policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.errors import BackupdError, RepositoryDamaged, UsageError
from backupd.export.versions import Presence
from backupd.store.naming import object_id
from backupd.store.repository import Repository
from backupd.store.retention import KeepReason, Policy
from tests.support.retention import (
    LAST,
    NOW,
    export,
    forget,
    noise,
    pack_bytes,
    prune,
    put,
    slices_of_week,
    spoken,
    week,
    weeks,
)
from tests.support.storing import copied


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    Repository.create(tmp_path / "r").close()
    with Repository.open(tmp_path / "r") as opened:
        yield opened


def name(data: bytes) -> bytes:
    return object_id(data)


def readable(repository: Repository, *wanted: bytes) -> bool:
    """Say whether these very bytes can be read, and are named by a remainder."""
    named = {piece for each in repository.remainders() for piece in each.record.objects()}
    found = dict(repository.read_many(map(name, wanted)))
    return all(found.get(name(data)) == data and name(data) in named for data in wanted)


def lost(repository: Repository, *wanted: bytes) -> bool:
    return not dict(repository.read_many(map(name, wanted)))


def sound(repository: Repository) -> bool:
    report = repository.check(read_data=True, drill=True)
    assert report.problems == ()
    return len(report.drilled) == len(repository.snapshots())


def test_gone_conversation_stays_in_every_version_with_its_assets(
    repository: Repository, tmp_path: Path
) -> None:
    first, second = spoken("c", "one"), spoken("c", "one", "two", shows=["file-AbCd"])
    other = spoken("d", "still here")
    picture, orphan = noise(1), noise(2)
    put(repository, tmp_path, export([first, other]), 0)
    members = {"file-AbCd-photo.png": picture, "file-Nobody-x.png": orphan}
    put(repository, tmp_path, export([second, other], members), 1)
    last = export([other], week=2)
    put(repository, tmp_path, last, 2)

    forget(repository)
    prune(repository)

    assert readable(repository, first, second, picture)
    assert lost(repository, orphan)
    (remainder,) = repository.remainders()
    (kept,) = remainder.record.conversations
    assert (kept.id, kept.why, len(kept.slices)) == ("c", "gone", 2)
    (asset,) = remainder.record.assets
    assert (asset.name, asset.shown_by) == ("file-AbCd-photo.png", ("c",))
    assert sound(repository)
    assert b"".join(repository.rebuild(repository.find("latest"))) == last


def test_old_versions_of_a_present_conversation_go(repository: Repository, tmp_path: Path) -> None:
    old, new = spoken("c", "one"), spoken("c", "one", "two")
    put(repository, tmp_path, export([old]), 0)
    put(repository, tmp_path, export([new], {"file-x.png": noise(3, 90_000)}), 1)
    put(repository, tmp_path, export([new], week=2), 2)

    forget(repository)
    before = pack_bytes(tmp_path / "r")
    prune(repository)

    assert repository.remainders() == []
    assert pack_bytes(tmp_path / "r") < before - 90_000
    assert readable(repository) and sound(repository)


def test_head_stays_when_the_newest_export_lacks_turns(
    repository: Repository, tmp_path: Path
) -> None:
    """What was deleted upstream inside a conversation is still its head, so it is not lost."""
    full, shorter = spoken("c", "one", "two", "three"), spoken("c", "one")
    put(repository, tmp_path, export([full]), 0)
    put(repository, tmp_path, export([shorter], week=1), 1)

    forget(repository)
    prune(repository)

    assert readable(repository, full)
    assert [c.why for r in repository.remainders() for c in r.record.conversations] == ["newest"]


def test_asset_is_found_by_the_name_that_the_2026_export_maps(
    repository: Repository, tmp_path: Path
) -> None:
    """The newest version shows an asset that only a forgotten export has, as a `.dat`."""
    text = spoken("c", "see", shows=["file_0000Ab"])
    picture = noise(5)
    names = b'{"7c1e.dat": "file_0000Ab-photo.png"}'
    members = {"7c1e.dat": picture, "conversation_asset_file_names.json": names}
    put(repository, tmp_path, export([text], members), 0)
    put(repository, tmp_path, export([text], week=1), 1)

    forget(repository)
    prune(repository)

    assert readable(repository, picture)


def test_asset_of_a_kept_remainder_stays_when_its_last_snapshot_goes(
    repository: Repository, tmp_path: Path
) -> None:
    """The conversation went with one forget, the asset would go with the next."""
    text, picture, other = spoken("c", "x", shows=["file-Zz"]), noise(6), spoken("d", "y")
    put(repository, tmp_path, export([text, other]), 0)
    put(repository, tmp_path, export([other], {"file-Zz-a.png": picture}, week=1), 1)
    forget(repository)
    put(repository, tmp_path, export([other], week=2), 2)
    forget(repository)
    prune(repository)

    assert readable(repository, text, picture)
    assert len(repository.remainders()) == 2
    assert sound(repository)


def test_conversation_lacking_only_in_an_incomplete_export_is_not_thinned_out(
    repository: Repository, tmp_path: Path
) -> None:
    one, two = spoken("c", "one"), spoken("c", "one", "two")
    put(repository, tmp_path, export([one, spoken("d", "d")]), 0)
    put(repository, tmp_path, export([two, spoken("d", "d")], week=1), 1)
    put(repository, tmp_path, export([spoken("d", "d")], week=2), 2)

    plan = repository.keeping.plan_forget(LAST, NOW)

    assert [(c.id, len(c.slices)) for c in plan.remainder.conversations] == [("c", 2)]


def test_accounts_are_thinned_out_apart(repository: Repository, tmp_path: Path) -> None:
    for number in range(3):
        data = export([spoken("c", "mine")], week=number)
        put(repository, tmp_path, data, number)
        put(repository, tmp_path, export([spoken("d", "hers")], week=number, user="user-2"), number)

    plan = repository.keeping.plan_forget(LAST, NOW)
    hers = next(d.snapshot.account for d in plan.decisions)
    one = repository.keeping.plan_forget(LAST, NOW, hers[:10])

    assert len(plan.forgotten) == 4
    assert len(one.forgotten) == 2 and {d.snapshot.account for d in one.decisions} == {hers}
    with pytest.raises(UsageError, match="none"):
        repository.keeping.plan_forget(LAST, NOW, "nobody")


def test_pinned_snapshot_stays_until_it_is_unpinned(tmp_path: Path) -> None:
    with Repository.open(weeks(tmp_path, 3)) as repository:
        first = repository.snapshots()[0]
        assert repository.keeping.pin(first, NOW) and not repository.keeping.pin(first, NOW)

        forget(repository)
        prune(repository)
        assert [b"".join(repository.rebuild(s)) for s in repository.snapshots()] == [
            week(0),
            week(2),
        ]
        assert sound(repository)

        assert repository.keeping.unpin(first) and not repository.keeping.unpin(first)
        forget(repository)
        assert len(repository.snapshots()) == 1


def test_snapshot_that_was_kept_whole_is_never_forgotten(
    repository: Repository, tmp_path: Path
) -> None:
    """Nobody can tell what it shows, so nothing could be saved from it."""
    put(repository, tmp_path, export([], {"notes.txt": b"no conversations here"}), 0)
    put(repository, tmp_path, export([spoken("c", "x")], week=1), 1)

    plan = repository.keeping.plan_forget(LAST, NOW)

    assert plan.forgotten == ()
    assert KeepReason.OPAQUE in plan.decisions[0].reasons


def test_without_a_rule_everything_is_kept(tmp_path: Path) -> None:
    place = weeks(tmp_path, 2)

    with Repository.open(place) as repository, pytest.raises(UsageError, match="is kept"):
        repository.keeping.plan_forget(Policy(), NOW)


def test_a_plan_for_another_state_is_refused(tmp_path: Path) -> None:
    with Repository.open(weeks(tmp_path, 2)) as repository:
        plan = repository.keeping.plan_forget(LAST, NOW)
        put(repository, tmp_path, week(2), 2)

        with pytest.raises(BackupdError, match="has changed"):
            repository.keeping.forget(plan)
        assert len(repository.snapshots()) == 3


def test_planning_changes_nothing(tmp_path: Path) -> None:
    place = weeks(tmp_path, 3)

    def state() -> dict[Path, int]:
        found = (p for p in place.rglob("*") if p.is_file() and "cache" not in p.parts)
        return {path: path.stat().st_mtime_ns for path in found if path.name != "lock"}

    with Repository.open(place) as repository:
        before = state()
        repository.keeping.plan_forget(LAST, NOW)
        repository.keeping.plan_prune()
        assert state() == before


@pytest.mark.parametrize("kind", ["snapshots", "remainders", "packs"])
def test_what_cannot_be_read_forbids_to_prune(tmp_path: Path, kind: str) -> None:
    """Nobody can tell what is needed, or where it lies: nothing goes."""
    place = weeks(tmp_path, 4)
    with Repository.open(place) as repository:
        forget(repository, Policy(last=2))
    (victim, *_) = sorted(p for p in (place / kind).rglob("*") if p.is_file())
    victim.chmod(0o600)
    data = bytearray(victim.read_bytes())
    data[-20] ^= 1
    victim.write_bytes(data)
    before = sorted(place.rglob("*.pack"))

    with Repository.open(place) as repository:
        with pytest.raises(RepositoryDamaged):
            repository.keeping.prune()
        assert repository.check().problems
    assert sorted(place.rglob("*.pack")) == before


def test_an_export_that_was_forgotten_can_be_added_again(tmp_path: Path) -> None:
    """Before and after its space was given back."""
    with Repository.open(weeks(tmp_path, 4)) as repository:
        forget(repository)
        put(repository, tmp_path, week(1), 1)
        prune(repository)
        put(repository, tmp_path, week(0), 0)

        contents = [b"".join(repository.rebuild(s)) for s in repository.snapshots()]
        assert contents == [week(0), week(1), week(3)]
        assert sound(repository)


def test_pruning_again_soon_finds_nothing(tmp_path: Path) -> None:
    """What leaning costs is estimated, so a second run may still gain a little; a third never."""
    with Repository.open(weeks(tmp_path, 5)) as repository:
        forget(repository)
        runs = [repository.keeping.prune() for _ in range(3)]

    sizes = [runs[0].bytes_before, *(run.bytes_after for run in runs)]
    assert runs[0].removed and sizes == sorted(sizes, reverse=True)
    assert (runs[2].removed, runs[2].written) == (0, 0)
    assert sizes[-1] == pack_bytes(tmp_path)


def test_space_returns(tmp_path: Path) -> None:
    """What is left is hardly more than the last export and the remainder by themselves."""
    place = weeks(tmp_path, 12)
    before = pack_bytes(place)
    with Repository.open(place) as repository:
        forget(repository)
        prune(repository)
    other = tmp_path / "other"
    with Repository.create(other) as repository:
        put(repository, tmp_path, week(11), 11)
        pictures = 10 * 3000  # those of conversations that are gone

    assert pack_bytes(place) < 1.2 * (pack_bytes(other) + pictures) < before / 2


def test_newest_version_of_all_conversations_is_readable_after_everything(tmp_path: Path) -> None:
    with Repository.open(weeks(tmp_path, 8)) as repository:
        for _ in range(2):
            forget(repository)
            prune(repository)
        held = {c.id for r in repository.remainders() for c in r.record.conversations}
        everything = {n for number in range(8) for n in slices_of_week(number)}
        there = set(slices_of_week(7))

    assert held == everything - there


def test_catalog_still_knows_conversations_of_forgotten_snapshots(
    repository: Repository, tmp_path: Path
) -> None:
    """Versions and who is gone, both in a catalog that goes along and in one made anew."""
    other = [spoken(f"d-{n}", "here") for n in range(5)]
    first, second = spoken("c", "one"), spoken("c", "one", "two")
    full, shorter = spoken("e", "a", "b"), spoken("e", "a")
    put(repository, tmp_path, export([first, full, *other]), 0)
    put(repository, tmp_path, export([second, full, *other], week=1), 1)
    put(repository, tmp_path, export([shorter, *other], week=2), 2)
    catalog = Catalog.open(None)
    catalog.sync(repository)
    forget(repository)
    prune(repository)

    fresh = Catalog.open(None)
    for each in (catalog, fresh):
        each.sync(repository)
        rows = {row.id: row for row in each.conversations()}
        assert set(rows) == {"c", "e", *(f"d-{n}" for n in range(5))}
        assert [n for n, row in rows.items() if row.presence is Presence.GONE] == ["c"]
        versions = each.versions(rows["c"].account, "c")
        assert [v.slice_id for v in versions] == [name(first), name(second)]
        assert [v.head for v in versions] == [False, True]
        assert rows["e"].slice_id == name(full)
        wanted = {v.slice_id for n, row in rows.items() for v in each.versions(row.account, n)}
        assert dict(repository.read_many(wanted)).keys() == wanted
        (left,) = repository.snapshots()
        summary = each.summary(left.id)
        assert summary is not None and summary.counts.total == 6 and not summary.mass_drop
    put(repository, tmp_path, export([second, shorter, *other], week=3), 3)
    catalog.sync(repository)
    (back,) = (row for row in catalog.conversations() if row.id == "c")
    assert (back.presence, back.versions) == (Presence.PRESENT, 2)
    catalog.close()
    fresh.close()
    catalog.close()
    fresh.close()


def test_remainders_can_be_restored_as_files(repository: Repository, tmp_path: Path) -> None:
    """Every state of every conversation once, assets under their names, nothing outside."""
    first, second = spoken("../../c", "one"), spoken("../../c", "one", "two", shows=["file-Q"])
    picture, other = noise(8), spoken("d", "y")
    put(repository, tmp_path, export([first, other]), 0)
    put(repository, tmp_path, export([second, other], {"pics/file-Q-.png": picture}, week=1), 1)
    put(repository, tmp_path, export([other], week=2), 2)
    forget(repository)
    prune(repository)
    target = tmp_path / "out"

    assert repository.keeping.restore_remainders(target) == 3

    found = {path.relative_to(target).parts[1:]: path for path in target.rglob("*.*")}
    contents = {parts: path.read_bytes() for parts, path in found.items() if path.is_file()}
    assert contents == {
        ("conversations", "_.._c", "1.json"): first,
        ("conversations", "_.._c", "2.json"): second,
        ("assets", "pics", "file-Q-.png"): picture,
    }
    with pytest.raises(UsageError):
        repository.keeping.restore_remainders(target)


def test_next_export_costs_hardly_more_after_a_prune(tmp_path: Path) -> None:
    """What is written anew is not taken for newer than what stays."""
    place = weeks(tmp_path, 6)
    other = copied(place, tmp_path / "other")
    with Repository.open(place) as repository:
        forget(repository, Policy(last=2))
        prune(repository)
        after = put(repository, tmp_path, week(6), 6).new_bytes
    with Repository.open(other) as repository:
        before = put(repository, tmp_path, week(6), 6).new_bytes

    assert after < 1.05 * before


def test_repository_that_never_thinned_anything_out_works(tmp_path: Path) -> None:
    """Its directories for pins and remainders may be absent; what is foreign there is named."""
    place = weeks(tmp_path, 3)
    (place / "pins").rmdir()
    (place / "remainders").rmdir()
    with Repository.open(place) as repository:
        assert repository.remainders() == [] and repository.keeping.pinned() == frozenset()
        assert repository.check().ok and repository.stats().stored_bytes > 0
        repository.keeping.pin(repository.snapshots()[1], NOW)
        forget(repository)
        prune(repository)
        assert sound(repository) and len(repository.snapshots()) == 2

        (place / "remainders").mkdir(exist_ok=True)
        (place / "remainders" / "stray").write_bytes(b"")
        (place / "pins" / "stray").write_bytes(b"")
        assert {p.path for p in repository.check().problems} == {"remainders/stray", "pins/stray"}
