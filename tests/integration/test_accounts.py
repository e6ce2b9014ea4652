"""Several ChatGPT accounts in one mailbox: told apart, named, counted each by itself."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.config import AccountSettings
from backupd.intake.accounts import Accounts
from backupd.intake.arrival import Arrivals
from backupd.intake.storing import store
from backupd.ledger.delivery import State
from backupd.store.repository import Origin
from tests.support.storing import conversation
from tests.support.turned_clock import START, World, turned_world

DAY = timedelta(days=1)
PREFIXES = {"ann": "5f3a" * 16, "bob": "77be" * 16, "eve": "0c0c" * 16}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    with turned_world(tmp_path) as made:
        yield made


def export(user: str | None, talks: range, salt: int = 0) -> bytes:
    """Make a ZIP that names a user, or nobody; `salt` gives it other bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        if user is not None:
            archive.writestr("user.json", json.dumps({"id": f"user-{user}", "salt": salt}))
        archive.writestr("conversations.json", json.dumps([conversation(n) for n in talks]))
    return target.getvalue()


def name_of(prefix: str, day: int) -> str:
    return f"{prefix}-2026-03-{day:02d}-11-00-00-{day:032x}.zip"


def take_in(world: World, user: str | None, named: str | None, day: int, talks: range) -> str:
    """Store an export as if it came by mail; return its snapshot's id."""
    path = world.root / f"{user}-{named}-{day}.zip"
    path.write_bytes(export(user, talks, day))
    file_name = name_of(PREFIXES[named], day) if named else f"download-{day}.zip"
    world.clock.now = START + day * DAY
    done = store(world.rooms, path, Origin(file_name, world.clock(), "mail", None, "personal"))
    return done.added.snapshot.id  # type: ignore[union-attr]


def counts(world: World, snapshot: str) -> tuple[int, int, int]:
    found = world.rooms.catalog.counts(snapshot)
    assert found is not None
    return found.new, found.unchanged, found.gone


def strangers(world: World) -> list[tuple[str, str]]:
    return [
        (entry.event, entry.snapshot or "")
        for entry in world.notices()
        if entry.event in ("new_account", "wrong_account")
    ]


def test_two_accounts_in_one_mailbox_are_counted_each_by_itself(world: World) -> None:
    take_in(world, "ann", "ann", 1, range(10))
    bobs = take_in(world, "bob", "bob", 2, range(100, 103))
    second = take_in(world, "ann", "ann", 3, range(1, 11))
    later = take_in(world, "bob", "bob", 4, range(100, 104))

    assert counts(world, bobs) == (3, 0, 0)
    assert counts(world, second) == (1, 9, 1)
    assert counts(world, later) == (1, 3, 0)
    assert strangers(world) == [("new_account", bobs)]  # once, and never of the first account


def test_an_export_under_another_accounts_name_is_stored_apart_and_told_once(world: World) -> None:
    take_in(world, "ann", "ann", 1, range(10))
    wrong = take_in(world, "eve", "ann", 2, range(50, 53))
    take_in(world, "eve", "ann", 3, range(50, 54))
    again = take_in(world, "ann", "ann", 4, range(10))

    assert counts(world, wrong) == (3, 0, 0)
    assert counts(world, again) == (0, 10, 0)
    assert strangers(world) == [("wrong_account", wrong)]


def test_a_configured_account_is_no_news_and_one_that_is_not_is_even_if_it_is_the_first(
    world: World,
) -> None:
    world.config.write_text(
        world.config.read_text() + f'[accounts.work]\nprefix = "{PREFIXES["bob"][:10]}"\n'
    )
    world.stop()
    world.start()
    first = take_in(world, "ann", "ann", 1, range(3))
    take_in(world, "bob", "bob", 2, range(3))

    assert strangers(world) == [("new_account", first)]
    assert 'of account "work"' in world.notices("stored")[-1].body


def test_an_export_that_names_nobody_belongs_to_the_account_of_its_file_name(
    world: World,
) -> None:
    take_in(world, "ann", "ann", 1, range(3))
    take_in(world, None, "ann", 2, range(4))
    take_in(world, None, None, 3, range(5))
    snapshots = world.rooms.repository.snapshots()

    accounts = list(Accounts(snapshots, ()))

    assert [(one.snapshots, one.prefix) for one in accounts] == [(2, PREFIXES["ann"]), (1, None)]
    assert accounts[-1].label == "unknown"
    assert strangers(world) == []


def test_the_longest_prefix_names_an_account(world: World) -> None:
    take_in(world, "ann", "ann", 1, range(3))
    named = [
        AccountSettings(name="short", prefix=PREFIXES["ann"][:4]),
        AccountSettings(name="long", prefix=PREFIXES["ann"][:12]),
        AccountSettings(name="other", prefix=PREFIXES["bob"]),
    ]

    (account,) = Accounts(world.rooms.repository.snapshots(), named)

    assert account.name == account.label == "long"


def test_each_account_is_overdue_by_itself_and_may_have_a_patience_of_its_own(
    world: World,
) -> None:
    world.config.write_text(
        world.config.read_text()
        + f'[accounts.old]\nprefix = "{PREFIXES["eve"]}"\nremind_after = "365d"\n'
    )
    world.stop()
    world.start()
    for day, user in enumerate(("ann", "bob", "eve"), 1):
        take_in(world, user, user, day, range(3))
    take_in(world, "bob", "bob", 20, range(3))

    world.clock.now = START + 45 * DAY
    world.care.run()

    (told,) = world.notices("overdue")
    assert told.title == f'No export of account "{label(world, "ann")}" for 44 days'
    (late,) = world.at_a_glance().overdue
    assert late.since == START + DAY


def label(world: World, user: str) -> str:
    accounts = Accounts(world.rooms.repository.snapshots(), ())
    return next(one.label for one in accounts if one.prefix == PREFIXES[user])


def test_a_file_of_another_account_does_not_end_a_delivery_of_the_same_time(world: World) -> None:
    from backupd.demo import mails

    take_in(world, "ann", "ann", 1, range(3))
    take_in(world, "bob", "bob", 2, range(3))
    world.clock.now = START + 5 * DAY
    url = mails.estuary_url(name_of(PREFIXES["ann"], 6), world.clock())
    raw = mails.ready(mails.Envelope(world.clock()), url)
    Arrivals(world.rooms, lambda: None).found("personal", "INBOX", 1, 1, raw, world.clock())
    (waiting,) = world.rooms.deliveries.pending()

    for user in ("bob", "ann"):
        path = world.root / f"renamed-{user}.zip"
        stamped = zipfile.ZipInfo("user.json", (2026, 3, 6, 11, 0, 0))
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(stamped, json.dumps({"id": f"user-{user}"}))
            archive.writestr(zipfile.ZipInfo("conversations.json", stamped.date_time), "[]")
        store(world.rooms, path, Origin(path.name, world.clock(), "drop", None, None))
        ended = world.rooms.deliveries.get(waiting.id).state is State.STORED
        assert ended is (user == "ann")


def test_status_and_snapshots_show_accounts_by_their_name(world: World) -> None:
    take_in(world, "ann", "ann", 1, range(3))
    take_in(world, "bob", "bob", 2, range(3))
    world.config.write_text(
        world.config.read_text() + f'[accounts.work]\nprefix = "{PREFIXES["bob"][:8]}"\n'
    )

    def backupd(*arguments: str) -> str:
        command = [sys.executable, "-m", "backupd", "--config", str(world.config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    listed = json.loads(backupd("snapshots", "--json"))
    status = json.loads(backupd("status", "--json"))
    shown, table = backupd("status"), backupd("snapshots")

    assert [one["account_name"] for one in listed] == [None, "work"]
    assert "\nwork " in table
    assert {(one["name"], one["snapshots"]) for one in status["accounts"]} == {
        (None, 1),
        ("work", 1),
    }
    assert f"account work ({listed[1]['account'][:12]}): 1 snapshot(s)" in shown
    assert PREFIXES["bob"][:13] not in shown
