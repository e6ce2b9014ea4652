"""The texts of the notices: the golden file, and rules that every one of them keeps."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd import notice
from backupd.export import selftest
from backupd.notice import Notice, Severity
from backupd.notice.words import amount, cause, plain, shorten, span

GOLDEN = Path(__file__).parents[1] / "data" / "notices.txt"
DOCUMENT = Path(__file__).parents[2] / "docs" / "notices.md"
MOMENT = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
DELIVERY = "d-20261123-1"
SNAPSHOT = "9f86d081884c7d659a2feaa0c55ad015"
FILE_NAME = f"{'5f3a' * 16}-2026-11-23-06-12-44-{'ab' * 16}.zip"
LEFT = timedelta(hours=21, minutes=40)


@dataclass(frozen=True, slots=True)
class Counts:
    """Stands for what the catalog counts."""

    total: int = 1204
    new: int = 12
    changed: int = 7
    metadata_changed: int = 3
    unchanged: int = 1182
    gone: int = 2


def stored(conversations: Counts | None, margin: timedelta | None) -> Notice:
    return notice.stored(
        snapshot=SNAPSHOT,
        delivery=DELIVERY if margin else None,
        account="work",
        conversations=conversations,
        size=412_345_678,
        new_bytes=1_234_567,
        seconds=8.4,
        margin=margin,
    )


def sign_in(
    kind: str, drop_folder: str | None, left: timedelta = LEFT, credential: str | None = None
) -> Notice:
    return notice.sign_in_needed(
        delivery=DELIVERY,
        host="chatgpt.com",
        file_name=FILE_NAME,
        kind=kind,
        time_left=left,
        deadline=MOMENT + left if left > timedelta(0) else None,
        drop_folder=drop_folder,
        credential=credential,
    )


def deadline(
    level: int, hours: float, *, needs_you: bool, drop_folder: str | None = None
) -> Notice:
    return notice.deadline_near(
        delivery=DELIVERY,
        level=level,
        mail=notice.ExportMail("personal", MOMENT - timedelta(hours=24 - hours)),
        deadline=MOMENT + timedelta(hours=hours),
        now=MOMENT,
        needs_you=needs_you,
        attempts=5,
        drop_folder=drop_folder,
    )


def samples() -> Iterator[Notice]:
    """Yield one notice or more of every event."""
    yield notice.export_started(mailbox="personal")
    yield notice.mail_found(
        delivery=DELIVERY, mailbox="personal", host="chatgpt.com", time_left=LEFT
    )
    yield notice.mail_refused(
        mailbox="personal", sender="noreply@openai.evil", reason="no proof: dmarc=fail"
    )
    yield notice.mail_refused(mailbox="personal", sender=None, reason="")
    yield notice.approval_wanted(
        delivery=DELIVERY,
        mailbox="personal",
        sender="noreply@tm.openai.com",
        reason="mx.example.org says dmarc=fail",
        host="chatgpt.com",
        time_left=LEFT,
    )
    yield notice.approval_closed(delivery=DELIVERY, reason="nobody approved it in time")
    yield notice.mailbox_unreachable(
        mailbox="personal", reason="connection refused", since=MOMENT - timedelta(hours=1)
    )
    yield notice.mailbox_refused(mailbox="personal", reason="authentication failed")
    yield notice.mailbox_refused(
        mailbox="personal",
        reason='sign in at "login.example.org": refused: invalid_grant',
        sign_in="imap-personal",
    )
    yield notice.mailbox_recovered(mailbox="personal")
    yield notice.sign_in_ending(
        mailbox="personal",
        credential="imap-personal",
        left=timedelta(days=3, hours=12),
        ends_at=MOMENT + timedelta(days=3, hours=12),
    )
    yield notice.sign_in_renewed(mailbox="personal")
    yield sign_in("sign-in-needed", "/srv/backupd/drop")
    yield sign_in("sign-in-or-dead", "/srv/backupd/drop")
    yield sign_in("ended-early", None)
    yield sign_in("challenged", None)
    yield sign_in("too-big", None, timedelta(minutes=-5))
    yield sign_in("session-refused", None, credential="session-personal")
    yield sign_in("session-missing", "/srv/backupd/drop", credential="session-personal")
    yield sign_in("wrong-account", None, credential="session-personal")
    yield notice.session_expiring(
        place="download",
        kind="cookies",
        credential="session-personal",
        until=MOMENT + timedelta(days=6, hours=4),
        left=timedelta(days=6, hours=4),
    )
    yield notice.session_expiring(
        place="accounts.work", kind="browser", credential=None, until=MOMENT, left=timedelta(0)
    )
    yield notice.session_dead(
        place="download",
        kind="bearer",
        credential="session-personal",
        reason="it ended on 2026-11-20 at 07:00 UTC",
    )
    yield notice.session_dead(
        place="accounts.work",
        kind="cookies",
        credential="session-work",
        reason='read credential "session-work": no source has it',
        hint="store it with `backupd secret set session-work`",
    )
    yield notice.session_renewed(place="download")
    yield notice.download_failed(
        delivery=DELIVERY,
        kind="network-failed",
        detail="the connection broke off",
        attempts=4,
        next_attempt=timedelta(minutes=20),
        time_left=LEFT,
    )
    yield deadline(50, 12, needs_you=True)
    yield deadline(75, 6, needs_you=False)
    yield deadline(90, 2.4, needs_you=True, drop_folder="/srv/backupd/drop")
    yield deadline(90, -3, needs_you=False)
    yield notice.expired(delivery=DELIVERY, attempts=1, reason="the server says it has expired")
    yield notice.disk_low(delivery=DELIVERY, missing=3_210_000_000, time_left=LEFT)
    yield notice.disk_low(delivery=None, missing=42, time_left=None)
    yield stored(Counts(), timedelta(hours=23, minutes=51))
    yield stored(Counts(gone=0), None)
    yield notice.answering(stored(None, None), ("ab12cd34",))
    yield notice.quarantined(
        rule="no-end-of-directory", path="/q/1.zip", delivery=DELIVERY, source="mail"
    )
    yield notice.not_stored(
        source="mail", reason="read-only file system", delivery=DELIVERY, file=FILE_NAME
    )
    yield notice.not_stored(source="drop", reason="gone", delivery=None, file="x.zip")
    yield notice.not_a_zip(file="x.zip", folder="/srv/backupd/drop", reason="a web page")
    yield notice.not_removed(file="x.zip", folder="/srv/backupd/drop")
    yield notice.kept_whole(snapshot=SNAPSHOT, size=412_345_678)
    yield notice.kept_streams(
        snapshot=SNAPSHOT, members=("conversations.json", "chat.html"), size=41_234_567
    )
    yield notice.kept_streams(
        snapshot=SNAPSHOT, members=("chat.html",), size=1_234_567, missing=("zlib-ng", "isal")
    )
    yield notice.incomplete_export(
        snapshot=SNAPSHOT, reasons=("3 of 12 shards are missing", "user.json is missing")
    )
    yield notice.mass_drop(snapshot=SNAPSHOT, before=1204, now=17)
    yield notice.wrong_account(
        snapshot=SNAPSHOT, expected="work", found="77be77be77be", mailbox="personal"
    )
    yield notice.new_account(
        snapshot=SNAPSHOT, account="77be77be77be", prefix="5f3a5f3a5f3a", mailbox="personal"
    )
    yield notice.new_account(snapshot=SNAPSHOT, account="77be77be77be", prefix=None, mailbox=None)
    yield notice.unknown_parts(snapshot=SNAPSHOT, parts=tuple(f"new-{n}.bin" for n in range(8)))
    yield notice.check_result(problems=())
    yield notice.check_result(problems=(), catalog="its counts or histories are damaged")
    yield notice.check_result(problems=("packs/ab/ab12: wrong hash", "snapshots/9f86: unreadable"))
    yield notice.drill_result(problems=())
    yield notice.drill_result(problems=("snapshot 9f86: byte 4711 differs",))
    yield notice.overdue(since=timedelta(days=31, hours=2))
    yield notice.overdue(since=timedelta(days=61), account="work")
    yield notice.overdue(since=timedelta(days=30), ever=False)
    yield notice.requested_not_arrived(
        request="ab12cd34", mailbox="personal", waiting=timedelta(days=7, hours=1)
    )
    yield notice.requested_not_arrived(request="ab12cd34", mailbox=None, waiting=timedelta(days=8))
    yield notice.service_started(version="0.1.0")
    yield notice.zlib_differs(version="1.3.1.zlib-ng", remedy=selftest.REMEDY)
    yield notice.service_stopped(version="0.1.0")
    yield notice.reload_failed(
        problems=('config.toml:4: download.sesion: did you mean "session"?',)
    )
    yield notice.internal_error(part="mail personal", kind="KeyError")
    yield notice.channel_failing(channel="notify[0]:json", reason="no connection", attempts=3)
    yield notice.channel_recovered(channel="notify[0]:json")
    yield notice.test(MOMENT)


def written(one: Notice) -> str:
    names = ("delivery", "snapshot", "fault")
    facts = [f"{name}={getattr(one, name)}" for name in names if getattr(one, name)]
    facts += [f"clears={fault}" for fault in one.clears]
    facts += [f"{name}={value}" for name, value in one.fields.items()]
    return f"[{one.event}] {one.severity}\n{one.title}\n\n{one.body}\n\n{' '.join(facts)}\n"


def test_every_text_is_as_reviewed() -> None:
    """Rewritten by BACKUPD_UPDATE_GOLDEN=1; read the difference as the person at seven would."""
    text = f"\n{'-' * 100}\n\n".join(map(written, samples()))
    if os.environ.get("BACKUPD_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(text, "utf-8")

    assert text == GOLDEN.read_text("utf-8")


def test_every_event_has_a_sample_a_name_and_a_page() -> None:
    names = [event.__name__ for event in notice.EVENTS]

    assert {one.event for one in samples()} == set(names)
    assert len(names) == len(set(names))
    documented = re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert documented == names


@pytest.mark.parametrize("one", tuple(samples()), ids=lambda one: one.event)
def test_a_notice_that_worries_says_what_is_safe_and_what_to_do(one: Notice) -> None:
    body = one.body.lower()

    assert "what to do" in body or "nothing to do" in body
    if one.severity is not Severity.INFO:
        assert re.search(r"safe|kept|restore|stored|lost|old settings|goes on", body)
    assert one.title[0].isupper() or one.title.startswith(("backupd", *"0123456789"))
    assert not one.title.endswith(".")
    assert len(one.title) <= 80
    assert one.body.endswith((".", ")"))
    assert "://" not in one.body
    assert all(re.fullmatch("[a-z_]+", name) for name in one.fields)


@pytest.mark.parametrize("one", tuple(samples()), ids=lambda one: one.event)
def test_a_fault_is_cleared_by_something(one: Notice) -> None:
    clearing = {fault for other in samples() for fault in other.clears}
    if one.fault is not None:
        assert any(
            one.fault == fault or (fault.endswith("*") and one.fault.startswith(fault[:-1]))
            for fault in clearing
        )


HOSTILE = (
    "see https://evil.example/?sig=CANARY now\r\nBACKUPD_EVENT=stored\x1b[31m\u202egpj.exe "
    "chatgpt.com/x?sig=CANARY \ud800 \u2028 mailto:x"
)


def test_outside_text_is_one_harmless_line() -> None:
    said = plain(HOSTILE)

    assert "CANARY" not in said
    assert said.isprintable()
    assert "\\r\\n" in said
    assert "\\u202e" in said


def test_no_event_lets_outside_text_through() -> None:
    hostile = [
        notice.mail_refused(mailbox=HOSTILE, sender=HOSTILE, reason=HOSTILE),
        notice.approval_wanted(
            delivery="d",
            mailbox=HOSTILE,
            sender=HOSTILE,
            reason=HOSTILE,
            host=HOSTILE,
            time_left=LEFT,
        ),
        notice.approval_closed(delivery="d", reason=HOSTILE),
        notice.mail_found(delivery="d", mailbox=HOSTILE, host=HOSTILE, time_left=LEFT),
        notice.mailbox_unreachable(mailbox=HOSTILE, reason=HOSTILE, since=MOMENT),
        notice.mailbox_refused(mailbox=HOSTILE, reason=HOSTILE),
        notice.mailbox_refused(mailbox=HOSTILE, reason=HOSTILE, sign_in=HOSTILE),
        notice.sign_in_ending(mailbox=HOSTILE, credential=HOSTILE, left=LEFT, ends_at=MOMENT),
        notice.expired(delivery="d", attempts=1, reason=HOSTILE),
        notice.unknown_parts(snapshot="s", parts=(HOSTILE,) * 9),
        notice.incomplete_export(snapshot="s", reasons=(HOSTILE,)),
        notice.quarantined(rule=HOSTILE, path=HOSTILE, delivery=None, source=HOSTILE),
        notice.check_result(problems=(HOSTILE,)),
        notice.channel_failing(channel=HOSTILE, reason=HOSTILE, attempts=3),
        notice.sign_in_needed(
            delivery="d", host=HOSTILE, file_name=HOSTILE, time_left=LEFT, drop_folder=HOSTILE
        ),
        notice.session_expiring(
            place=HOSTILE, kind=HOSTILE, credential=HOSTILE, until=MOMENT, left=LEFT
        ),
        notice.session_dead(
            place=HOSTILE, kind=HOSTILE, credential=HOSTILE, reason=HOSTILE, hint=HOSTILE
        ),
        notice.session_renewed(place=HOSTILE),
        notice.download_failed(
            delivery="d",
            kind=HOSTILE,
            detail=HOSTILE,
            attempts=1,
            next_attempt=LEFT,
            time_left=LEFT,
        ),
    ]
    for one in hostile:
        shown = f"{one.title}{one.body}{''.join(map(str, one.fields.values()))}".replace("\n", "")
        assert "CANARY" not in shown
        assert not any(unicodedata.category(char)[0] == "C" for char in shown), one.event


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(seconds=-1), "no time"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(seconds=60), "1 minute"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=23, minutes=59, seconds=59), "23 hours 59 minutes"),
        (timedelta(days=1, minutes=5), "1 day"),
        (timedelta(days=2, hours=4, minutes=5), "2 days 4 hours"),
    ],
)
def test_spans(length: timedelta, said: str) -> None:
    assert span(length) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (1_230_000_000, "1.2 GB"),
        (5 * 10**15, "5,000.0 TB"),
    ],
)
def test_amounts(number: int, said: str) -> None:
    assert amount(number) == said


def test_long_names_keep_both_ends() -> None:
    assert shorten(FILE_NAME) == "5f3a5f3a5f3a5f3a…" + FILE_NAME[-28:]
    assert shorten("a.zip") == "a.zip"


def test_a_cause_ends_without_a_stop() -> None:
    assert cause("refused. ") == "refused"
    assert cause(None) == "no reason was given"
