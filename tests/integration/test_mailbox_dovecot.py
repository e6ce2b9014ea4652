"""The watcher on a real server: speed, faults of its own making, certificates, folders."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.mail.mailbox import probe
from backupd.mail.watcher import Pace, Watcher
from tests.support.dovecot import Account, Dovecot
from tests.support.mail_sink import MemorySink, export_mail, now

QUICK = Pace(settle=0.3, rest=0.2, retry=0.1, retry_most=0.5)
RUNS = 20 if os.environ.get("BACKUPD_FULL") == "1" else 3


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as running:
        yield running


@pytest.fixture
def account(dovecot: Dovecot) -> Account:
    return dovecot.account()


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink(time.monotonic)


def make_watcher(account: Account, sink: MemorySink, **changes: object) -> Watcher:
    settings = account.settings(**changes)
    return Watcher("test", settings, lambda: account.password, sink, now, pace=QUICK)


@contextlib.contextmanager
def watching(watcher: Watcher) -> Iterator[Watcher]:
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


def test_a_mail_is_found_within_two_seconds_of_its_append_under_idle(
    account: Account, sink: MemorySink
) -> None:
    """The default pace; Dovecot itself gathers news for half a second."""
    seconds = []
    watcher = Watcher("test", account.settings(), lambda: account.password, sink, now)
    with watching(watcher), account.client() as client:
        sink.wait(lambda sink: "recovered" in sink.events)
        for number in range(1, RUNS + 1):
            time.sleep(1.1)
            began = time.monotonic()
            client.append("INBOX", export_mail())
            sink.wait(lambda sink, number=number: len(sink.found_mails) == number)
            seconds.append(sink.found_mails[-1].at - began)

    print(f"{RUNS} runs: median {statistics.median(seconds):.3f} s, max {max(seconds):.3f} s")
    assert max(seconds) < 2


def test_nothing_in_the_mailbox_is_changed(account: Account, sink: MemorySink) -> None:
    account.deliver(export_mail())
    assert make_watcher(account, sink).poll_once() == 1

    with account.client() as client:
        client.select_folder("INBOX", readonly=True)
        flags = client.get_flags(client.search(["FROM", "openai.com"]))
    assert not any(b"\\Seen" in found for found in flags.values())


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_both_ways_of_encryption_work(account: Account, security: str) -> None:
    port = account.server.imaps if security == "tls" else account.server.imap
    seen = probe(account.settings(security=security, port=port), account.password)

    assert "INBOX, Junk" in seen


def test_a_uidvalidity_roll_hands_over_nothing_twice(account: Account, sink: MemorySink) -> None:
    watcher = make_watcher(account, sink)
    account.deliver(export_mail())
    with watching(watcher):
        sink.wait(lambda sink: len(sink.found_mails) == 1)
        account.doveadm("mailbox", "update", "--uid-validity", "4242", "INBOX")
        account.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 2)
        sink.wait(lambda sink: sink.cursors["INBOX"].uidvalidity == 4242)

    assert sink.found_mails[1].uidvalidity == 4242
    assert "unreachable" not in sink.events


def test_a_kick_is_survived(account: Account, sink: MemorySink) -> None:
    with watching(make_watcher(account, sink)):
        sink.wait(lambda sink: "recovered" in sink.events)
        account.kick()
        account.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 1)


def test_a_server_that_is_away_is_told_and_its_return_as_well(sink: MemorySink) -> None:
    with Dovecot() as server:
        account = server.account()
        with watching(make_watcher(account, sink)):
            sink.wait(lambda sink: "recovered" in sink.events)
            server.crash()
            sink.wait(lambda sink: "unreachable" in sink.events)
            server.restart()
            account.deliver(export_mail())
            sink.wait(lambda sink: len(sink.found_mails) == 1)
            sink.wait(lambda sink: sink.events.count("recovered") == 2)

    assert "refused" in sink.reasons[0]  # the connection, not the login
    assert "refused" not in sink.events


def test_a_server_that_falls_mute_in_idle_is_left(account: Account, sink: MemorySink) -> None:
    """A stopped process keeps its connections open: only time limits notice."""
    settings = account.settings(read_timeout=0.5, connect_timeout=0.5)
    watcher = Watcher(
        *("test", settings, lambda: account.password, sink, now, timedelta(seconds=1)), pace=QUICK
    )
    with watching(watcher):
        sink.wait(lambda sink: "recovered" in sink.events)
        account.server.signal(signal.SIGSTOP)
        try:
            sink.wait(lambda sink: "unreachable" in sink.events)
        finally:
            account.server.signal(signal.SIGCONT)
        account.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 1)


@pytest.mark.parametrize(
    ("ca", "host", "words"),
    [
        ("system", "localhost", "certificate"),
        ("other", "localhost", "certificate"),
        ("right", "127.0.0.1", "IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_named(
    account: Account, tmp_path: Path, ca: str, host: str, words: str
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    ca_file = {"system": None, "other": other, "right": account.server.ca}[ca]
    with pytest.raises(MailboxUnreachable, match=words) as raised:
        probe(account.settings(ca_file=ca_file, host=host), account.password)

    assert "ca_file" in raised.value.hint


def test_a_ca_file_that_is_missing_or_no_certificate_is_named(
    account: Account, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for ca_file in (tmp_path / "none.pem", broken):
        with pytest.raises(MailboxUnreachable, match="ca_file"):
            probe(account.settings(ca_file=ca_file), account.password)


def test_a_wrong_password_is_refused(account: Account) -> None:
    with pytest.raises(MailboxRefused, match="AUTHENTICATIONFAILED") as raised:
        probe(account.settings(), "quite wrong")

    assert "quite wrong" not in str(raised.value)


def test_a_folder_with_a_name_beyond_ascii_is_watched(account: Account, sink: MemorySink) -> None:
    with account.client() as client:
        client.create_folder("Entwürfe & Ä日本")
    account.deliver(export_mail(), "Entwürfe & Ä日本")

    assert make_watcher(account, sink, folders=("Entwürfe & Ä日本",)).poll_once() == 1


def test_a_large_mailbox_costs_one_search_and_few_headers(
    account: Account, sink: MemorySink
) -> None:
    with account.client() as client:
        for number in range(210):
            sender = "noreply@tm.openai.com" if number % 2 else "a@example.org"
            client.append("INBOX", export_mail(sender=sender))
    watcher = make_watcher(account, sink)

    assert watcher.poll_once() == 105
    began = time.monotonic()
    assert watcher.poll_once() == 0
    assert time.monotonic() - began < 1


def test_an_idle_watcher_is_cheap(account: Account, sink: MemorySink) -> None:
    watcher = Watcher("test", account.settings(), lambda: account.password, sink, now)
    with watching(watcher):
        sink.wait(lambda sink: "recovered" in sink.events)
        time.sleep(2.5)
        began = time.process_time()
        time.sleep(1.5)
        used = time.process_time() - began
        assert time.monotonic() - watcher.heartbeat < 31

    assert used < 0.05
