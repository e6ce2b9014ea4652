"""Publishing to real services on loopback: delivery, order, restarts, and no secret anywhere."""

from __future__ import annotations

import email
import io
import logging
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd import notice
from backupd.config import ChannelSettings
from backupd.errors import CredentialError
from backupd.ledger.db import open_database
from backupd.ledger.notices import NoticeLog
from backupd.notice import Notice, Severity
from backupd.notify.channels import AppriseChannel, open_channels
from backupd.notify.journal import Journal
from backupd.notify.notifier import Notifier
from tests.support.sinks import HttpSink, free_port, http_sink, smtp_sink

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CANARY = "CANARY3c9f"


class Vault:
    """Credentials held in a dictionary."""

    def __init__(self, **held: str) -> None:
        self.held = held

    def get(self, name: str) -> str:
        if name not in self.held:
            raise CredentialError(f'read credential "{name}": no source has it')
        return self.held[name]


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    with http_sink() as opened:
        yield opened


def channel(url: str, index: int = 0, min_severity: str = "info") -> AppriseChannel:
    settings = ChannelSettings(url=url, index=index, min_severity=min_severity)  # type: ignore[arg-type]
    return open_channels([settings], Vault())[0]


def to(sink: HttpSink, **more: object) -> AppriseChannel:
    return channel(f"json://127.0.0.1:{sink.port}/hook", **more)  # type: ignore[arg-type]


def nowhere() -> str:
    """Return a URL at which nobody listens."""
    return f"json://127.0.0.1:{free_port()}/{CANARY}"


def plain(title: str, severity: Severity = Severity.INFO) -> Notice:
    return Notice(event="test", severity=severity, title=title, body="The body.")


@contextmanager
def notifier(
    state: Path, *channels: AppriseChannel, stream: io.StringIO | None = None
) -> Iterator[Notifier]:
    """Open everything as a fresh process would."""
    database = open_database(state / "ledger.sqlite")
    journal = Journal(state / "no-journal", stream or io.StringIO())
    try:
        yield Notifier(NoticeLog(database), journal, channels, random.Random(1))
    finally:
        database.close()


def test_json_gets_title_body_and_kind_and_no_address(sink: HttpSink) -> None:
    assert to(sink).send(notice.expired(delivery="d", attempts=1, reason="x")) == ""
    (request,) = sink.requests

    assert request.path == "/hook"
    assert request.json["title"] == "backupd: An export was missed: its link is dead"
    assert request.json["message"].startswith("The export could not be fetched")
    assert request.json["type"] == "failure"
    assert "://" not in str(request.json)


def test_ntfy_and_gotify_wire(sink: HttpSink) -> None:
    ntfy = channel(f"ntfy://127.0.0.1:{sink.port}/topic1?mode=private")
    gotify = channel(f"gotify://127.0.0.1:{sink.port}/Token1")

    assert ntfy.send(plain("to ntfy")) == ""
    assert gotify.send(plain("to gotify")) == ""
    first, second = sink.requests
    assert (first.json["topic"], first.json["title"]) == ("topic1", "backupd: to ntfy")
    assert first.json["message"] == "The body."
    assert second.path.startswith("/message")
    assert (second.json["title"], second.json["message"]) == ("backupd: to gotify", "The body.")


def test_mail_arrives() -> None:
    with smtp_sink() as mailbox:
        target = channel(
            f"mailto://127.0.0.1:{mailbox.port}?from=backupd@example.org&to=me@example.org&mode=insecure"
        )

        assert target.send(notice.mailbox_refused(mailbox="personal", reason="no")) == ""
        (raw,) = mailbox.mails
    message = email.message_from_bytes(raw)
    assert message["To"] == "me@example.org"
    assert message["Subject"] == 'backupd: Mailbox "personal" refuses the login'
    assert message.get_content_type() == "text/plain"
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"\nAll stored exports are safe" in text


def test_the_url_may_come_from_a_credential_that_changes(sink: HttpSink) -> None:
    vault = Vault()
    (target,) = open_channels([ChannelSettings(credential="phone")], vault)

    assert target.id == "notify:phone"
    assert "no source has it" in target.send(plain("lost"))
    vault.held["phone"] = f"json://127.0.0.1:{sink.port}/\n"
    assert target.send(plain("x")) == ""


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "status 401"), (404, "status 404"), (500, "status 500")]
)
def test_a_refused_notice_is_a_failure_with_the_status(
    sink: HttpSink, status: int, reason: str
) -> None:
    """The result of apprise is an object; only its truth tells."""
    sink.statuses = [status]

    assert reason in to(sink).send(plain("x"))


def test_a_url_that_nobody_knows_and_a_host_that_is_not_there_are_failures() -> None:
    assert "not one that Apprise knows" in channel("no-such-service://x").send(plain("x"))
    assert channel(nowhere()).send(plain("x")) == "no connection to the service"


def test_min_severity_is_kept(sink: HttpSink, tmp_path: Path) -> None:
    with notifier(tmp_path, to(sink, min_severity="warning")) as telling:
        for severity in Severity:
            telling.publish(plain(severity.value, severity), NOW)

        assert telling.flush(NOW) == 2
    assert sink.titles == ["warning", "error"]


def test_the_journal_is_written_when_the_callers_change_is_durable(tmp_path: Path) -> None:
    stream = io.StringIO()
    database = open_database(tmp_path / "ledger.sqlite")
    telling = Notifier(NoticeLog(database), Journal(tmp_path / "none", stream))
    with database.transaction():
        telling.publish(plain("inside"), NOW)
        assert stream.getvalue() == ""

    assert "inside" in stream.getvalue()

    def fail() -> None:
        with database.transaction():
            telling.publish(plain("undone"), NOW)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert "undone" not in stream.getvalue()
    database.close()


def test_a_collapsed_notice_reaches_nobody(sink: HttpSink, tmp_path: Path) -> None:
    stream = io.StringIO()
    with notifier(tmp_path, to(sink), stream=stream) as telling:
        telling.publish(notice.mailbox_recovered(mailbox="a"), NOW)
        for _ in range(3):
            telling.publish(notice.mailbox_refused(mailbox="a", reason="x"), NOW)
        telling.publish(notice.mailbox_recovered(mailbox="a"), NOW)

        assert telling.flush(NOW) == 2
    assert stream.getvalue().count("\n") == 2


def test_a_failing_channel_backs_off_and_keeps_its_order(sink: HttpSink, tmp_path: Path) -> None:
    sink.statuses = [503] * 3
    with notifier(tmp_path, to(sink)) as telling:
        telling.publish(plain("1"), NOW)
        telling.publish(plain("2"), NOW)
        delivered = [telling.flush(NOW + minutes * MINUTE) for minutes in (0, 0.5, 1.5, 2, 5, 20)]

    assert delivered == [0, 0, 0, 0, 0, 2]
    assert sink.titles == ["1", "2"]
    assert sink.statuses == []


def test_waits_double_to_an_hour(tmp_path: Path) -> None:
    """Each wait is within a fifth of its length, so that no two machines keep step for long."""
    at, waits = NOW, []
    with notifier(tmp_path, channel("no-such-service://x")) as telling:
        telling.publish(plain("1"), NOW)
        log = telling._log
        for _ in range(9):
            telling.flush(at)
            row = log.database.row("SELECT next_attempt_at FROM outbox")
            assert row is not None
            due = datetime.fromisoformat(row["next_attempt_at"])
            waits.append((due - at) / MINUTE)
            at = due

    expected = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0.8 * one <= wait <= 1.2 * one for one, wait in zip(expected, waits, strict=True))


def test_one_dead_channel_holds_up_no_other_and_is_told_of(sink: HttpSink, tmp_path: Path) -> None:
    dead = channel(nowhere(), index=1)
    with notifier(tmp_path, dead, to(sink)) as telling:
        telling.publish(plain("1"), NOW)
        for minutes in (0, 2, 5, 15, 30):
            telling.flush(NOW + minutes * MINUTE)

        assert sink.titles == ["1", "Notices do not get through to notify[1]:json"]
        assert CANARY not in str(sink.requests)


def test_nothing_is_lost_or_repeated_over_restarts(sink: HttpSink, tmp_path: Path) -> None:
    sink.statuses = [200, 503]
    with notifier(tmp_path, to(sink)) as telling:
        for number in range(1, 4):
            telling.publish(plain(str(number)), NOW)
        assert telling.flush(NOW) == 1
    with notifier(tmp_path, to(sink)) as telling:
        telling.publish(plain("4"), NOW)
        assert telling.flush(NOW) == 0, "still backing off"
    with notifier(tmp_path, to(sink)) as telling:
        assert telling.flush(NOW + 2 * MINUTE) == 3
        assert telling.flush(NOW + 2 * MINUTE) == 0

    assert sink.titles == ["1", "2", "3", "4"]


def test_a_process_that_dies_after_publishing_loses_nothing(sink: HttpSink, tmp_path: Path) -> None:
    code = (
        "import os, sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from backupd import notice; from backupd.ledger.db import open_database\n"
        "from backupd.ledger.notices import NoticeLog\n"
        "from backupd.notify.channels import open_channels\n"
        "from backupd.notify.journal import Journal; from backupd.notify.notifier import Notifier\n"
        "from backupd.config import ChannelSettings\n"
        "log = NoticeLog(open_database(Path(sys.argv[1])))\n"
        "channels = open_channels([ChannelSettings(url=sys.argv[2])], None)\n"
        "telling = Notifier(log, Journal(Path('/nonexistent')), channels)\n"
        "telling.publish(notice.service_started(version='1'), datetime(2026, 11, 23, tzinfo=UTC))\n"
        "assert 'apprise' not in sys.modules, 'apprise is imported before it is needed'\n"
        "os._exit(9)\n"
    )
    target = to(sink)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            tmp_path / "ledger.sqlite",
            f"json://127.0.0.1:{sink.port}/hook",
        ],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 9, done.stderr
    with notifier(tmp_path, target) as telling:
        telling.flush(NOW)

    assert sink.titles == ["backupd 1 is watching"]


def test_a_notice_that_gets_through_late_is_not_sent_again(sink: HttpSink, tmp_path: Path) -> None:
    sink.gate.clear()
    short = timedelta(seconds=0.3)
    with notifier(tmp_path, to(sink)) as telling:
        telling.publish(plain("slow"), NOW)
        telling.publish(plain("next"), NOW)
        assert telling.flush(NOW, within=short) == 0
        sink.gate.set()

        assert telling.flush(NOW + 2 * MINUTE) == 2
    assert sink.titles == ["slow", "next"]


def test_a_hanging_channel_ends_with_the_time_that_flush_has(
    sink: HttpSink, tmp_path: Path
) -> None:
    sink.gate.clear()
    target = to(sink)

    assert "no answer within" in target.send(plain("1"), timedelta(seconds=0.3))
    assert target.send(plain("2"), timedelta(seconds=0.3)) == "an earlier notice is still under way"


def test_flushing_twice_at_once_sends_once(sink: HttpSink, tmp_path: Path) -> None:
    """Threads of one process, and two processes on one ledger."""
    sink.gate.clear()
    with notifier(tmp_path, to(sink)) as ours, notifier(tmp_path, to(sink)) as theirs:
        ours.publish(plain("1"), NOW)
        busy = threading.Thread(target=ours.flush, args=(NOW,))
        busy.start()
        assert sink.arrived.acquire(timeout=10)
        assert ours.flush(NOW) == 0
        assert theirs.flush(NOW) == 0
        sink.gate.set()
        busy.join()

    assert sink.titles == ["1"]


def test_no_url_token_or_secret_is_ever_written(
    sink: HttpSink,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every channel holds a canary in each slot of its URL; every failure and success is walked."""
    caplog.set_level(logging.DEBUG)
    host = f"127.0.0.1:{sink.port}"
    urls = [
        f"json://{CANARY}:{CANARY}@{host}/{CANARY}?+X-Token={CANARY}&-q={CANARY}",
        f"ntfy://{CANARY}:{CANARY}@{host}/{CANARY}?mode=private",
        f"gotify://{host}/{CANARY}",
        f"mailto://{CANARY}:{CANARY}@127.0.0.1:{free_port()}?from=a@example.org&to=b@example.org",
        nowhere(),
        f"no-such-service://{CANARY}",
        f"json://[{CANARY}",
    ]
    vault = Vault(**{f"c{index}": url for index, url in enumerate(urls)})
    settings = [
        *(ChannelSettings(url=url, index=index) for index, url in enumerate(urls)),
        *(ChannelSettings(credential=name) for name in vault.held),
    ]
    channels = open_channels(settings, vault)
    stream = io.StringIO()
    sink.statuses = [200, 401, 500, 302, 404]
    with notifier(tmp_path, *channels, stream=stream) as telling:
        telling.publish(plain("x"), NOW)
        for minutes in (0, 2, 6, 20):
            telling.flush(NOW + minutes * MINUTE)
        log = telling._log
        logged = [f"{entry!r}" for entry in log.list()]
        rows = [tuple(row) for row in log.database.rows("SELECT * FROM outbox")]
    written = capfd.readouterr()
    for name, text in {
        "logs": caplog.text,
        "journal": stream.getvalue(),
        "stdout": written.out,
        "stderr": written.err,
        "notice log": str(logged),
        "outbox": str(rows),
        "settings": f"{settings!r} {channels!r} {[one.id for one in channels]}",
    }.items():
        assert CANARY.lower() not in text.lower(), name
    assert sink.requests, "the canaries were used"
    assert any("Notices do not get through" in entry for entry in logged)
