"""The pipeline under hostile files, full disks and turning clocks, on an open ledger."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.daemon import loops
from backupd.daemon.instance import only_instance
from backupd.daemon.loops import Loop
from backupd.demo import mails
from backupd.errors import BackupdError, ExitCode
from backupd.intake.arrival import Arrivals
from backupd.intake.care import Care
from backupd.intake.drop import PATIENCE, DropFolders
from backupd.intake.fetching import Fetcher
from backupd.intake.handin import origin_of
from backupd.intake.overview import Health, needs, overview
from backupd.intake.rooms import Rooms
from backupd.ledger.db import LedgerFailed, open_database
from backupd.ledger.delivery import State
from backupd.ledger.notices import NoticeLog
from backupd.store.repository import Repository
from backupd.wiring import open_rooms
from tests.support.stage import exports
from tests.support.storing import week
from tests.unit.test_ledger import opening

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is turned; `hook` runs when it is looked at."""

    def __init__(self) -> None:
        self.now = START
        self.hook: Callable[[], None] = lambda: None

    def __call__(self) -> datetime:
        self.hook()
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def rooms(
    tmp_path: Path, clock: Clock, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rooms]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    config = tmp_path / "config.toml"
    server = 'host = "localhost"\nusername = "me"\nauthserv_id = "mx.example.org"\n'
    config.write_text(
        f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"\n'
        + f"[mailboxes.personal]\n{server}"
        + f'drop_folder = "{drop}"\n'
        + f"[mailboxes.work]\n{server}"
        + '[download]\nconnect_to = { "chatgpt.com:443" = "127.0.0.1:9" }\n'
    )
    Repository.create(tmp_path / "repository").close()
    opened, credentials = open_rooms(load(config), clock)
    yield opened
    credentials.close()
    opened.close()


def events(rooms: Rooms) -> list[str]:
    return [entry.event for entry in NoticeLog(rooms.database).list()]


def fetcher_of(rooms: Rooms) -> Fetcher:
    return Fetcher(rooms, threading.Event(), lambda: None)


def scanned(rooms: Rooms, alive: Callable[[], None] = lambda: None) -> DropFolders:
    folders = DropFolders(rooms, threading.Event(), alive)
    folders.scan()
    folders.scan()
    return folders


@pytest.mark.parametrize("name", [b"b\xff.zip", b"two\nlines.zip", "\u202egpj.zip".encode()])
def test_a_file_of_any_name_is_stored_so_that_it_can_be_read_again(
    rooms: Rooms, drop: Path, name: bytes
) -> None:
    Path(os.fsdecode(os.fsencode(drop) + b"/" + name)).write_bytes(week(1))

    scanned(rooms)

    assert events(rooms)[0] == "stored"
    assert list(drop.iterdir()) == []
    assert rooms.repository.check(read_data=True).problems == ()
    assert len(rooms.repository.snapshots()) == 1


def test_links_directories_pipes_and_other_names_are_left_alone(rooms: Rooms, drop: Path) -> None:
    (drop / "directory.zip").mkdir()
    os.mkfifo(drop / "pipe.zip")
    outside = drop.parent / "outside.zip"
    outside.write_bytes(week(1))
    (drop / "link.zip").symlink_to(outside)
    (drop / "dangling.zip").symlink_to(drop / "nowhere")
    (drop / "export.zip.part").write_bytes(week(1))

    scanned(rooms)

    assert events(rooms) == []
    assert len(list(drop.iterdir())) == 5


def test_a_crash_between_commit_and_ledger_leaves_no_dropped_file_untold(
    rooms: Rooms, drop: Path
) -> None:
    path = drop / "export.zip"
    path.write_bytes(week(1))
    rooms.repository.add(path, origin_of(path, "drop", START))

    scanned(rooms)
    path.write_bytes(week(1))
    scanned(rooms)

    assert events(rooms).count("stored") == 1
    assert list(drop.iterdir()) == []


def test_what_landed_together_is_stored_oldest_export_first(rooms: Rooms, drop: Path) -> None:
    for account, day, number in (("a", "09", 2), ("b", "02", 1)):
        name = f"{account * 64}-2026-03-{day}-10-00-00-{'c' * 32}.zip"
        (drop / name).write_bytes(week(number))

    scanned(rooms)

    names = {one.id: one.origin.file_name for one in rooms.repository.snapshots()}
    told = [one for one in NoticeLog(rooms.database).list() if one.event == "stored"]
    assert [(names[one.snapshot or ""] or "")[0] for one in told] == ["b", "a"]


@pytest.mark.parametrize("content", [b"", b"<html>Log in</html>", week(1)[:-9]])
def test_a_file_that_stays_no_zip_is_told_of_once_after_a_while(
    rooms: Rooms, drop: Path, clock: Clock, content: bytes
) -> None:
    (drop / "page.zip").write_bytes(content)
    folders = scanned(rooms)
    assert events(rooms) == []

    for _ in range(3):
        clock.now += PATIENCE
        folders.scan()

    assert events(rooms) == ["not_a_zip"]
    assert (drop / "page.zip").read_bytes() == content


def test_a_file_that_cannot_be_removed_is_stored_once_and_told_of(
    rooms: Rooms, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (drop / "export.zip").write_bytes(week(1))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.parent == drop:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    folders = scanned(rooms)
    folders.scan()

    assert folders.scan() == 0
    assert events(rooms).count("stored") == events(rooms).count("not_removed") == 1


def test_a_file_taken_back_while_it_is_stored_ends_nothing(rooms: Rooms, drop: Path) -> None:
    path = drop / "export.zip"
    path.write_bytes(week(1))

    folders = scanned(rooms, lambda: path.unlink(missing_ok=True))

    assert folders.scan() == 0
    assert rooms.repository.check(read_data=True).problems == ()


def test_a_file_replaced_while_it_is_stored_is_stored_as_another(rooms: Rooms, drop: Path) -> None:
    path, other = drop / "export.zip", drop / "other"
    path.write_bytes(week(1))
    other.write_bytes(week(2))

    def replace() -> None:
        if other.exists():
            other.replace(path)

    folders = scanned(rooms, replace)
    folders.scan()
    folders.scan()

    assert list(drop.iterdir()) == []
    stored = {snapshot.sha256 for snapshot in rooms.repository.snapshots()}
    assert hashlib.sha256(week(2)).hexdigest() in stored


def mail(sent: datetime, message_id: str = "<a@x>") -> bytes:
    (export,) = exports(1)
    url = mails.estuary_url(export.file_name, sent)
    return mails.ready(mails.Envelope(date=sent, message_id=message_id), url)


def test_one_mail_in_two_mailboxes_at_once_is_one_delivery(rooms: Rooms) -> None:
    arrivals = Arrivals(rooms, lambda: None)
    start = threading.Barrier(2)

    def find(mailbox: str) -> None:
        start.wait()
        arrivals.found(mailbox, "INBOX", 1, 1, mail(START), START)

    threads = [threading.Thread(target=find, args=(name,)) for name in ("personal", "work")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rooms.deliveries.pending()) == 1
    assert events(rooms) == ["mail_found"]


def test_a_second_mail_gives_a_waiting_delivery_its_newer_link(rooms: Rooms, clock: Clock) -> None:
    arrivals = Arrivals(rooms, lambda: None)
    arrivals.found("personal", "INBOX", 1, 1, mail(START), START)
    (first,) = rooms.deliveries.pending()
    rooms.deliveries.needs_you(first.id, START, "sign-in-needed", "", START)
    clock.now = later = START + timedelta(hours=20)

    arrivals.found("personal", "INBOX", 1, 2, mail(later, "<b@x>"), later)

    (delivery,) = rooms.deliveries.pending()
    assert delivery.state is State.PROVEN
    assert delivery.link != first.link
    assert delivery.deadline == later + timedelta(hours=24)
    assert [due.id for due in rooms.deliveries.due(later)] == [first.id]


def test_a_copy_of_the_first_mail_changes_nothing(rooms: Rooms) -> None:
    arrivals = Arrivals(rooms, lambda: None)
    arrivals.found("personal", "INBOX", 1, 1, mail(START), START)
    (first,) = rooms.deliveries.pending()

    arrivals.found("work", "INBOX", 1, 1, mail(START), START)

    assert rooms.deliveries.pending() == [first]


def test_an_export_handed_in_during_an_attempt_stays_stored(rooms: Rooms, clock: Clock) -> None:
    Arrivals(rooms, lambda: None).found("personal", "INBOX", 1, 1, mail(START), START)
    (delivery,) = rooms.deliveries.pending()

    def hand_in() -> None:
        if rooms.deliveries.get(delivery.id).state is State.FETCHING:
            rooms.deliveries.stored(delivery.id, "5" * 64, START)

    clock.hook = hand_in
    fetcher_of(rooms).run_due()

    assert rooms.deliveries.get(delivery.id).state is State.STORED
    assert list(rooms.repository.incoming.iterdir()) == []


def test_an_attempt_does_not_wait_for_a_clock_that_was_set_back(rooms: Rooms) -> None:
    delivery = rooms.deliveries.open(opening(), START)
    ahead = START + timedelta(days=2)
    rooms.deliveries.retry(delivery.id, ahead + timedelta(minutes=9), "network", "", ahead)

    assert [due.id for due in rooms.deliveries.due(START)] == [delivery.id]
    assert rooms.deliveries.due(ahead) == []


def test_a_damaged_zip_is_not_asked_for_beyond_the_life_of_its_link(
    rooms: Rooms, clock: Clock
) -> None:
    delivery = rooms.deliveries.open(opening(), START)
    rooms.deliveries.quarantined(delivery.id, "bad-crc", START)
    assert delivery.give_up_at is not None
    clock.now = delivery.give_up_at

    Care(rooms, fetcher_of(rooms), lambda: None).watch_deadlines()

    assert rooms.deliveries.get(delivery.id).state is State.EXPIRED
    assert events(rooms) == ["expired"]


def test_a_fetched_file_that_vanished_is_fetched_again(rooms: Rooms, tmp_path: Path) -> None:
    Arrivals(rooms, lambda: None).found("personal", "INBOX", 1, 1, mail(START), START)
    (delivery,) = rooms.deliveries.pending()
    rooms.deliveries.fetching(delivery.id, rooms.repository.incoming / "gone.part", START)
    rooms.deliveries.fetched(delivery.id, "0" * 64, 9, START)

    fetcher_of(rooms).run_due()

    assert rooms.deliveries.get(delivery.id).outcome == "network-failed"


def test_a_fetched_file_that_cannot_be_stored_is_told_of_and_kept(
    rooms: Rooms, clock: Clock
) -> None:
    delivery = rooms.deliveries.open(opening(), START)
    part = rooms.repository.incoming / "a.part"
    part.write_bytes(week(1))
    rooms.deliveries.fetching(delivery.id, part, START)
    rooms.deliveries.fetched(delivery.id, "0" * 64, part.stat().st_size, START)
    lock = rooms.repository.path / "lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()

    fetcher_of(rooms).run_due()
    assert events(rooms) == ["not_stored"]
    assert part.exists()

    lock.rmdir()
    clock.now += timedelta(minutes=2)
    fetcher_of(rooms).run_due()
    assert events(rooms)[1] == "stored"
    assert rooms.deliveries.get(delivery.id).state is State.STORED


def test_status_says_that_a_full_disk_needs_somebody(rooms: Rooms, clock: Clock) -> None:
    delivery = rooms.deliveries.open(opening(), START)
    rooms.deliveries.retry(delivery.id, START, "disk-full", "", START)

    seen = overview(
        rooms.settings, rooms.deliveries, rooms.messages, rooms.repository, rooms.clock()
    )

    assert seen.exit_code is ExitCode.DOWNLOAD
    assert seen.health is Health.ACTION_NEEDED
    assert "room" in (needs(seen.deliveries[0]) or "")


def test_a_full_ledger_is_an_error_with_a_next_step_and_loses_nothing(tmp_path: Path) -> None:
    database = open_database(tmp_path / "state" / "ledger.sqlite")
    database.row("PRAGMA max_page_count = 1")

    def write() -> None:
        with database.transaction() as connection:
            for number in range(500):
                connection.execute("INSERT INTO facts VALUES (?, ?, '')", (number, "x" * 500))

    with pytest.raises(LedgerFailed, match="full") as failed:
        write()

    assert "full" in failed.value.hint

    assert database.rows("SELECT * FROM facts") == []
    database.close()


@pytest.mark.parametrize("damage", [b"garbage" * 999, b"SQLite format 3\0" + b"Z" * 9999])
def test_a_damaged_ledger_says_what_can_be_done(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(damage)

    with pytest.raises(BackupdError) as failed:
        open_database(path)

    assert "stored exports are not touched" in failed.value.hint
    assert path.read_bytes() == damage


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BackupdError, match="not a directory"), only_instance(tmp_path / "file/x"):
        pass


def test_a_look_at_the_daemon_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    with only_instance(tmp_path):
        pass
    look = os.open(tmp_path / "daemon.lock", os.O_RDWR)
    fcntl.flock(look, fcntl.LOCK_EX)
    threading.Timer(0.1, os.close, [look]).start()

    with only_instance(tmp_path):
        assert (tmp_path / "daemon.lock").read_text() == f"{os.getpid()}\n"


def test_a_loop_whose_failure_cannot_be_told_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "RESTART_PAUSE", 0.01)
    stop, done = threading.Event(), threading.Event()
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise LedgerFailed("use ledger: full")
        done.set()
        stop.wait()

    def untold(_name: str, error: BaseException) -> None:
        raise error

    loop = Loop("mail", work, stop, untold)
    loop.start()
    assert done.wait(5)
    stop.set()
    assert loop.join(5)
