"""The notice log and the outbox: collapsing, recovery, order, leases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd import notice
from backupd.ledger.db import Database, open_database
from backupd.ledger.notices import NoticeLog
from backupd.notice import Notice, Severity

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def log(database: Database) -> NoticeLog:
    return NoticeLog(database)


def plain(title: str) -> Notice:
    return Notice(event="test", severity=Severity.INFO, title=title, body="b", fields={"n": 1})


UNREACHABLE = notice.mailbox_unreachable(mailbox="a", reason="x", since=NOW)
REFUSED = notice.mailbox_refused(mailbox="a", reason="x")
RECOVERED = notice.mailbox_recovered(mailbox="a")


def titles(log: NoticeLog) -> list[str]:
    return [entry.title for entry in log.list()]


def test_an_entry_keeps_everything_it_was_told(log: NoticeLog) -> None:
    told = notice.disk_low(delivery="d1", missing=5, time_left=None)
    log.append(told, ["a"], NOW)
    (entry,) = log.list()
    due = log.claim("a", NOW, MINUTE)

    assert (entry.time, entry.severity, entry.event) == (NOW, Severity.ERROR, "disk_low")
    assert (entry.title, entry.body, entry.delivery) == (told.title, told.body, "d1")
    assert due is not None
    assert due.notice == told


def test_list_gives_the_newest_oldest_first(log: NoticeLog) -> None:
    for number in range(5):
        log.append(plain(str(number)), [], NOW)

    assert [entry.title for entry in log.list(3)] == ["2", "3", "4"]


def test_repeats_of_an_open_fault_collapse(log: NoticeLog) -> None:
    told = [log.append(UNREACHABLE, ["a"], NOW + n * MINUTE) for n in range(4)]
    (entry,) = log.list()

    assert told == [True, False, False, False]
    assert (entry.repeats, entry.last_at, entry.open) == (3, NOW + 3 * MINUTE, True)
    assert log.waiting() == 1


def test_a_recovery_is_told_once_and_only_after_its_fault(log: NoticeLog) -> None:
    assert not log.append(RECOVERED, ["a"], NOW)
    log.append(UNREACHABLE, ["a"], NOW)
    assert log.append(RECOVERED, ["a"], NOW)
    assert not log.append(RECOVERED, ["a"], NOW)
    assert log.append(UNREACHABLE, ["a"], NOW)

    assert len(titles(log)) == 3


def test_faults_of_others_stay_open(log: NoticeLog) -> None:
    log.append(notice.mailbox_unreachable(mailbox="ab", reason="x", since=NOW), [], NOW)

    assert not log.append(RECOVERED, [], NOW)


def test_a_refusal_takes_the_place_of_unreachable(log: NoticeLog) -> None:
    log.append(UNREACHABLE, [], NOW)
    log.append(REFUSED, [], NOW)

    assert [entry.open for entry in log.list()] == [False, True]


def test_a_fault_that_becomes_more_severe_is_told_again(log: NoticeLog) -> None:
    worse = dataclasses.replace(UNREACHABLE, severity=Severity.ERROR)

    assert log.append(UNREACHABLE, [], NOW)
    assert log.append(worse, [], NOW)
    assert not log.append(UNREACHABLE, [], NOW)
    assert [entry.open for entry in log.list()] == [False, True]


def test_stored_ends_every_fault_of_its_delivery(log: NoticeLog) -> None:
    for level in (50, 75):
        log.append(
            notice.deadline_near(
                delivery="d1",
                level=level,
                mail=notice.ExportMail(None, NOW),
                deadline=NOW + MINUTE,
                now=NOW,
                needs_you=True,
                attempts=1,
            ),
            [],
            NOW,
        )
    log.append(notice.sign_in_needed(delivery="d2", time_left=MINUTE), [], NOW)
    log.append(notice.expired(delivery="d1", attempts=1, reason="x"), [], NOW)

    assert [entry.open for entry in log.list()] == [False, False, True, False]


def test_a_rollback_takes_notice_outbox_and_hooks_with_it(
    log: NoticeLog, database: Database
) -> None:
    ran: list[str] = []

    def fail() -> None:
        with database.transaction():
            log.append(plain("x"), ["a"], NOW)
            database.after_commit(lambda: ran.append("x"))
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    with database.transaction():
        database.after_commit(lambda: ran.append("y"))
        assert ran == []

    assert ran == ["y"]
    assert log.list() == ()
    assert log.waiting() == 0


def test_each_channel_gets_its_notices_in_order(log: NoticeLog) -> None:
    log.append(plain("1"), ["a", "b"], NOW)
    log.append(plain("2"), ["a"], NOW)
    first = log.claim("a", NOW, MINUTE)
    assert first is not None
    log.failed(first, NOW + 5 * MINUTE)

    assert log.claim("a", NOW + 4 * MINUTE, MINUTE) is None, "2 must not overtake 1"
    again = log.claim("a", NOW + 5 * MINUTE, MINUTE)
    assert again is not None
    assert (again.notice.title, again.attempts) == ("1", 2)
    log.sent(again, NOW)
    second = log.claim("a", NOW, MINUTE)
    assert second is not None
    assert second.notice.title == "2"
    other = log.claim("b", NOW, MINUTE)
    assert other is not None
    assert (other.notice.title, other.attempts) == ("1", 1)


def test_a_claim_excludes_every_other_process_until_its_lease_ends(tmp_path: Path) -> None:
    ours, theirs = (open_database(tmp_path / "ledger.sqlite") for _ in range(2))
    NoticeLog(ours).append(plain("1"), ["a"], NOW)
    assert NoticeLog(ours).claim("a", NOW, MINUTE) is not None

    assert NoticeLog(theirs).claim("a", NOW, MINUTE) is None
    assert NoticeLog(theirs).claim("a", NOW + MINUTE, MINUTE) is not None
    ours.close()
    theirs.close()


def test_a_clock_set_back_does_not_hold_notices_up(log: NoticeLog) -> None:
    log.append(plain("1"), ["a"], NOW + timedelta(days=400))

    assert log.claim("a", NOW, MINUTE) is not None
