"""What a watcher does on any IMAP server: the same on Dovecot, pymap and a scripted server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import MailboxSettings
from backupd.errors import MailboxRefused
from backupd.mail.mailbox import probe
from backupd.mail.watcher import Pace, Watcher
from tests.support.dovecot import Dovecot
from tests.support.mail_sink import MemorySink, export_mail, now
from tests.support.scripted_imap import ScriptedImap

Deliver = Callable[[bytes, str, datetime | None], None]

QUICK = Pace(settle=0.3, rest=0.2, retry=0.1, retry_most=0.5)


@dataclass
class Server:
    """What the tests need of a server: how to log in, and how to put a mail there."""

    settings: MailboxSettings
    password: str
    deliver: Deliver


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as running:
        yield running


@pytest.fixture(params=["dovecot", "pymap", "scripted"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if request.param == "dovecot":
        account = request.getfixturevalue("dovecot").account()
        yield Server(account.settings(), account.password, account.deliver)
    elif request.param == "pymap":
        with _pymap(tmp_path) as served:
            yield served
    else:
        with ScriptedImap() as scripted:

            def deliver(raw: bytes, folder: str, at: datetime | None) -> None:
                scripted.deliver(raw, folder, at)

            yield Server(scripted.settings(tmp_path), scripted.password, deliver)


@contextlib.contextmanager
def _pymap(directory: Path) -> Iterator[Server]:
    certificates = pytest.importorskip("backupd.demo.certificates")
    imap = pytest.importorskip("backupd.demo.imap")
    authority = certificates.Authority()
    ca_file = authority.write_ca(directory / "ca.pem")
    context = authority.server_context("localhost")
    with imap.DemoImap(context, "demo", "correct horse") as running:
        running.create_folder("Filed")

        def deliver(raw: bytes, folder: str, at: datetime | None) -> None:
            running.deliver(raw, at or now(), "Filed" if folder == "Junk" else folder)

        settings = MailboxSettings(
            name="test",
            host="localhost",
            port=running.port,
            ca_file=ca_file,
            username="demo",
            folders=("INBOX", "Filed"),
        )
        yield Server(settings, "correct horse", deliver)


def make_watcher(server: Server, sink: MemorySink) -> Watcher:
    return Watcher("test", server.settings, lambda: server.password, sink, now, pace=QUICK)


@contextlib.contextmanager
def watching(server: Server, sink: MemorySink) -> Iterator[Watcher]:
    watcher = make_watcher(server, sink)
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        yield watcher
    finally:
        began = time.monotonic()
        stop.set()
        thread.join(10)
        assert time.monotonic() - began < 1
        assert not thread.is_alive()


def test_first_contact_looks_back_eight_days(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    old, recent = export_mail(), export_mail()
    server.deliver(old, "INBOX", now() - timedelta(days=20))
    server.deliver(recent, "INBOX", now() - timedelta(days=5))

    found = make_watcher(server, sink).poll_once()

    assert found == 1
    assert [mail.raw for mail in sink.found_mails] == [recent]
    age = now() - sink.found_mails[0].received_at
    assert timedelta(days=4, hours=23) < age < timedelta(days=5, hours=1)


def test_a_second_poll_hands_over_nothing_and_a_third_only_what_is_new(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    watcher = make_watcher(server, sink)
    server.deliver(export_mail(), "INBOX", None)

    counts = [watcher.poll_once(), watcher.poll_once()]
    server.deliver(export_mail(), "INBOX", None)
    counts.append(watcher.poll_once())

    assert counts == [1, 0, 1]
    assert sink.cursors["INBOX"].last_uid == sink.found_mails[-1].uid


def test_mail_of_others_is_not_fetched(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    server.deliver(export_mail(sender="Bob <bob@example.org>"), "INBOX", None)
    newsletter = export_mail(sender="openai.com news <news@example.org>", subject="This week")
    server.deliver(newsletter, "INBOX", None)

    assert make_watcher(server, sink).poll_once() == 0
    assert sink.cursors["INBOX"].last_uid >= 2


def test_a_mail_in_junk_is_found_and_a_copy_of_it_is_not_handed_over_twice(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    raw = export_mail()
    watcher = make_watcher(server, sink)
    server.deliver(raw, "Junk", None)
    first = watcher.poll_once()
    server.deliver(raw, "INBOX", None)

    assert (first, watcher.poll_once()) == (1, 0)
    assert sink.found_mails[0].folder != "INBOX"


def test_a_mail_without_message_id_is_known_by_its_bytes(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    raw = export_mail().replace(b"Message-ID", b"X-Other-ID")
    watcher = make_watcher(server, sink)
    server.deliver(raw, "INBOX", None)
    server.deliver(raw, "Junk", None)

    assert watcher.poll_once() == 1


def test_a_mail_delivered_in_idle_is_found_within_two_seconds(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    with watching(server, sink):
        sink.wait(lambda sink: "recovered" in sink.events)
        for number in (1, 2):
            delivered = time.monotonic()
            server.deliver(export_mail(), "INBOX", None)
            sink.wait(lambda sink, number=number: len(sink.found_mails) == number)
            assert sink.found_mails[-1].at - delivered < 2

    assert sink.events.count("recovered") == 1


def test_a_wrong_password_is_refused_once_and_tried_again_after_wake(server: Server) -> None:
    sink = MemorySink(time.monotonic)
    right, server.password = server.password, "wrong"
    if not _checks_passwords(server):
        pytest.skip("the server takes any password")
    with watching(server, sink) as watcher:
        sink.wait(lambda sink: "refused" in sink.events)
        assert not sink.events.count("unreachable")
        server.password = right
        watcher.wake()
        sink.wait(lambda sink: "recovered" in sink.events)

    assert sink.events.count("refused") == 1


def _checks_passwords(server: Server) -> bool:
    try:
        probe(server.settings, "quite another")
    except MailboxRefused:
        return True
    return False


def test_probe_names_the_folders_and_whether_it_can_idle(server: Server) -> None:
    seen = probe(server.settings, server.password)

    assert "INBOX" in seen
    assert "IDLE" in seen
    assert server.password not in seen
