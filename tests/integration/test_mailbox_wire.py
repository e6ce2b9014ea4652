"""Oddities of the wire, played by a scripted server: none loses a mail, loops, or logs in vain."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.errors import CredentialError, MailboxRefused, MailboxUnreachable
from backupd.mail.guard import Guard
from backupd.mail.mailbox import connect, probe
from backupd.mail.watcher import Pace, Watcher
from tests.support.mail_sink import MemorySink, export_mail, now
from tests.support.scripted_imap import Connection, Hook, ScriptedImap

QUICK = Pace(settle=0.2, tick=1, rest=0.1, retry=0.02, retry_most=0.2)
CANARY = "https://chatgpt.com/x?sig=canary"


@pytest.fixture
def server() -> Iterator[ScriptedImap]:
    with ScriptedImap() as running:
        yield running


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink(time.monotonic)


@contextlib.contextmanager
def watching(
    server: ScriptedImap,
    sink: MemorySink,
    directory: Path,
    pace: Pace = QUICK,
    poll: float = 300,
    **changes: object,
) -> Iterator[Watcher]:
    settings = server.settings(directory, **changes)
    watcher = Watcher(
        "test", settings, lambda: server.password, sink, now, timedelta(seconds=poll), pace=pace
    )
    stop = threading.Event()
    crashes: list[BaseException] = []

    def work() -> None:
        try:
            watcher.run(stop)
        except BaseException as crash:  # noqa: BLE001 - looked at below
            crashes.append(crash)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield watcher
    finally:
        began = time.monotonic()
        stop.set()
        thread.join(10)
        assert time.monotonic() - began < 1
        assert crashes == []


def mute(connection: Connection, tag: str, arguments: str) -> bool:
    connection.wait_for_client(5)
    connection.cut()
    return True


def end(connection: Connection, tag: str, arguments: str) -> bool:
    connection.cut()
    return True


def goodbye(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* BYE too busy\r\n")
    connection.cut()
    return True


def garbage(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(f"\x00\xff)(((( {CANARY}\r\n* {{\r\n{tag} OK\r\n")
    connection.cut()
    return True


def long_line(connection: Connection, tag: str, arguments: str) -> bool:
    with contextlib.suppress(OSError):
        connection.send(b"* OK " + b"x" * 1_100_000 + f"\r\n{tag} OK done\r\n".encode())
        connection.wait_for_client(1)
    return True


def nested(connection: Connection, tag: str, arguments: str) -> bool:
    opened = "(" * 20_000
    connection.send(f"* LIST {opened}\r\n* 1 FETCH {opened}\r\n* SEARCH {opened}\r\n{tag} OK d\r\n")
    return True


def huge_literal(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* 1 FETCH (UID 1 BODY[] {99999999999}\r\n" + "x" * 1000)
    connection.cut()
    return True


def short_literal(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(f"* 1 FETCH (UID 1 BODY[] {{3}}\r\nFrom: x {CANARY}\r\n)\r\n{tag} OK done\r\n")
    connection.cut()
    return True


def busy(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(f"{tag} NO [UNAVAILABLE] Temporary failure, try again\r\n")
    return True


def senseless(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(f"{tag} BAD what\r\n")
    return True


FAULTS = (
    mute,
    end,
    goodbye,
    garbage,
    long_line,
    nested,
    huge_literal,
    short_literal,
    busy,
    senseless,
)
PLACES = (
    "GREETING",
    "CAPABILITY",
    "LOGGED-IN",
    "LIST",
    "EXAMINE",
    "SEARCH",
    "FETCH",
    "NOOP",
    "IDLE",
)


CASES = [
    pytest.param(place, fault, id=f"{fault.__name__} at {place}")
    for fault in FAULTS
    for place in PLACES
    if (place, fault) != ("LOGGED-IN", senseless)  # BAD to a login is a refusal
]
if os.environ.get("BACKUPD_FULL") != "1":
    CASES = CASES[::2]  # nine places: every fault and every place is still among them


def times(number: int, fault: Hook) -> Hook:
    """Return a hook that has a fault the first few times, and none after that."""
    left = [number]

    def hook(connection: Connection, tag: str, arguments: str) -> bool:
        left[0] -= 1
        return left[0] >= 0 and fault(connection, tag, arguments)

    return hook


@pytest.mark.parametrize(("place", "fault"), CASES)
def test_a_fault_anywhere_heals_and_the_mail_is_found_once(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path, place: str, fault: Hook
) -> None:
    server.hooks[place] = times(2, fault)
    server.deliver(export_mail())

    with watching(server, sink, tmp_path, connect_timeout=0.4, read_timeout=0.3):
        sink.wait(lambda sink: len(sink.found_mails) == 1 and "recovered" in sink.events)
        server.wait(lambda server: server.idling == 1)

    assert len(sink.found_mails) == 1
    assert "refused" not in sink.events
    assert server.logins < 8
    assert "canary" not in str(sink.reasons)


def goodbye_and_stay(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* BYE too busy\r\n")
    connection.line()
    connection.wait_for_client(10)
    return True


DEADLY = [end, goodbye, goodbye_and_stay, garbage, long_line]


@pytest.mark.parametrize("fault", DEADLY, ids=lambda fault: fault.__name__)
def test_a_connection_that_dies_in_idle_is_replaced_at_once(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path, fault: Hook
) -> None:
    """Not only when the wait in IDLE is over: silence that comes too early is no silence."""

    def dies_later(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ idling\r\n")
        connection.wait_for_client(0.1)
        return fault(connection, tag, arguments)

    server.hooks["IDLE"] = times(1, dies_later)
    with watching(
        server, sink, tmp_path, pace=Pace(settle=60, rest=0.1, retry=0.05), read_timeout=5.0
    ):
        server.wait(lambda server: server.idling == 1 and server.connections >= 2, 3)
        server.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 1)

    assert "unreachable" not in sink.events


def test_a_connection_that_falls_mute_in_idle_is_replaced_by_the_poll(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    def falls_mute(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ idling\r\n")
        server.deliver(export_mail())
        return mute(connection, tag, arguments)

    server.hooks["IDLE"] = times(1, falls_mute)
    pace = Pace(settle=60, rest=0.1, retry=0.05)
    with watching(server, sink, tmp_path, pace=pace, poll=1, read_timeout=0.3):
        sink.wait(lambda sink: len(sink.found_mails) == 1, 5)

    assert "unreachable" not in sink.events


def test_an_exists_in_the_same_packet_as_the_idle_answer_is_noticed(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    """poll sees nothing there: it must not take until the end of the wait in IDLE."""

    def coalesced(connection: Connection, tag: str, arguments: str) -> bool:
        folder = server.folders["INBOX"]
        if folder.mails:
            return False
        server.deliver(export_mail())
        connection.send("+ idling\r\n* 1 EXISTS\r\n")
        connection.rest_in_idle(tag)
        return True

    server.hooks["IDLE"] = coalesced
    began = time.monotonic()
    with watching(server, sink, tmp_path, pace=Pace(settle=30)):
        sink.wait(lambda sink: len(sink.found_mails) == 1, 10)

    assert time.monotonic() - began < 2.5


def test_a_line_in_two_packets_loses_nothing(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    def split(connection: Connection, tag: str, arguments: str) -> bool:
        server.deliver(export_mail())
        connection.send("+ idling\r\n")
        connection.wait_for_client(0.05)
        connection.send("* 1 EXI")
        connection.wait_for_client(0.2)
        connection.send("STS\r\n")
        connection.rest_in_idle(tag)
        return True

    server.hooks["IDLE"] = times(1, split)
    with watching(server, sink, tmp_path, pace=Pace(settle=30, retry=0.05)):
        sink.wait(lambda sink: len(sink.found_mails) == 1, 5)


def test_a_mail_that_idle_never_announces_is_found_by_the_poll(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    def deaf(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ idling\r\n")
        server.deliver(export_mail()) if not server.folders["INBOX"].mails else None
        connection.line()
        connection.send(f"{tag} OK done\r\n")
        return True

    server.hooks["IDLE"] = deaf
    with watching(server, sink, tmp_path, pace=Pace(settle=30, retry=0.05), poll=1.5):
        sink.wait(lambda sink: len(sink.found_mails) == 1, 5)


def test_a_server_without_idle_is_polled_on_fresh_connections(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    server.capabilities = "IMAP4rev1"
    with watching(server, sink, tmp_path, poll=0.3):
        sink.wait(lambda sink: "recovered" in sink.events)
        server.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 1)

    assert "LOGOUT" in " ".join(server.commands)
    assert server.logins == server.connections


def test_nothing_is_marked_and_no_charset_or_unseen_is_sent(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    server.deliver(export_mail())
    with watching(server, sink, tmp_path):
        sink.wait(lambda sink: len(sink.found_mails) == 1)
        server.wait(lambda server: server.idling == 1)

    sent = "\n".join(server.commands).upper()
    for word in ("SELECT", "STORE", "COPY", "MOVE", "EXPUNGE", "CHARSET", "UNSEEN", "RFC822)"):
        assert word not in sent.replace("UNSELECT", "")
    assert "BODY[" not in sent
    assert "SEARCH ALL" not in sent


def test_a_refused_login_is_not_tried_again_until_wake(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    right, server.password = server.password, "changed"
    settings = server.settings(tmp_path)
    secret = [right]
    stop = threading.Event()
    watcher = Watcher("test", settings, lambda: secret[0], sink, now, pace=QUICK)
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    sink.wait(lambda sink: "refused" in sink.events)
    tries = [line for line in server.commands if "AUTHENTICATE" in line]
    time.sleep(0.5)
    assert [line for line in server.commands if "AUTHENTICATE" in line] == tries
    assert len(tries) == 1
    secret[0] = "changed"
    watcher.wake()
    sink.wait(lambda sink: "recovered" in sink.events)
    stop.set()
    thread.join(5)

    assert sink.events.count("refused") == 1
    assert right not in str(sink.reasons)


def test_the_password_is_asked_for_once_and_again_when_it_changed(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    asked: list[str] = []

    def secret() -> str:
        asked.append(server.password)
        return server.password

    poll = timedelta(seconds=0.2)
    watcher = Watcher("test", server.settings(tmp_path), secret, sink, now, poll, pace=QUICK)
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    server.wait(lambda server: server.logins >= 3)
    before = list(asked)
    server.password = "changed"
    logins = server.logins
    server.wait(lambda server: server.logins >= logins + 3)
    stop.set()
    thread.join(5)

    assert before == ["correct horse"]
    assert asked == ["correct horse", "changed"]
    assert "refused" not in sink.events


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", MailboxRefused),
        ("NO [ALERT] Application-specific password required", MailboxRefused),
        ("NO LOGIN failed", MailboxRefused),
        ("BAD what", MailboxRefused),
        ("NO [AUTHENTICATIONFAILED] Temporary lock", MailboxRefused),
        ("NO [UNAVAILABLE] Temporary authentication failure", MailboxUnreachable),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", MailboxUnreachable),
        ("NO [LIMIT] slow down", MailboxUnreachable),
        ("NO System error, please try again later", MailboxUnreachable),
    ],
)
def test_a_refusal_is_told_from_a_bad_moment(
    server: ScriptedImap, tmp_path: Path, answer: str, error: type[Exception]
) -> None:
    def refuse(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send(f"{tag} {answer} see {CANARY} for {server.password}\r\n")
        return True

    server.hooks["LOGGED-IN"] = refuse
    for capabilities in ("IMAP4rev1 AUTH=PLAIN", "IMAP4rev1"):
        server.capabilities = capabilities
        with pytest.raises(error) as raised:
            probe(server.settings(tmp_path), server.password)
        text = "".join(traceback.format_exception(raised.value))
        assert "canary" not in text
        assert server.password not in text


def test_a_missing_credential_waits_and_a_locked_keyring_is_tried_again(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    class Locked(CredentialError):
        transient = True

    answers: list[Exception] = [Locked("read credential: the keyring is locked")] * 4
    answers.append(CredentialError("read credential: there is none"))

    def secret() -> str:
        if answers:
            raise answers.pop(0)
        return server.password

    stop = threading.Event()
    watcher = Watcher("test", server.settings(tmp_path), secret, sink, now, pace=QUICK)
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    sink.wait(lambda sink: "refused" in sink.events)
    watcher.wake()
    sink.wait(lambda sink: "recovered" in sink.events)
    stop.set()
    thread.join(5)

    assert sink.events[:3] == ["unreachable", "unreachable", "refused"]


def test_a_uidvalidity_roll_rescans_and_hands_over_nothing_twice(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    watcher = Watcher("test", server.settings(tmp_path), lambda: server.password, sink, now)
    raw = export_mail()
    for _ in range(5):
        server.deliver(export_mail(sender="a@example.org"))
    server.deliver(raw)
    first = watcher.poll_once()
    box = server.folders["INBOX"]
    box.uidvalidity, box.uidnext, box.mails = 999, 1, []
    server.deliver(raw)
    server.deliver(export_mail())

    assert (first, watcher.poll_once()) == (1, 1)
    assert (sink.cursors["INBOX"].uidvalidity, sink.cursors["INBOX"].last_uid) == (999, 2)
    assert "SINCE" in [line for line in server.commands if "SEARCH" in line][-2]


def test_a_body_that_does_not_come_is_asked_for_again_and_holds_the_cursor(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    """Some servers answer OK to a FETCH and leave the body out."""
    watcher = Watcher("test", server.settings(tmp_path), lambda: server.password, sink, now)

    def without_body(connection: Connection, tag: str, arguments: str) -> bool:
        if "BODY.PEEK[]" not in arguments or not arguments.startswith("1 "):
            return False
        connection.send(f"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n{tag} OK done\r\n")
        return True

    server.hooks["FETCH"] = without_body
    server.deliver(export_mail())
    server.deliver(export_mail())
    counts = [watcher.poll_once() for _ in range(4)]
    held = sink.cursors["INBOX"].last_uid
    del server.hooks["FETCH"]

    assert counts == [1, 0, 0, 0]
    assert held == 0
    assert sink.events.count("unreadable") == 1
    assert watcher.poll_once() == 1
    assert sink.cursors["INBOX"].last_uid == 2


def test_a_mail_that_a_lagging_index_does_not_list_at_first_is_found_later(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    """UIDNEXT says that something came, the search finds another mail, or nothing, for now."""
    watcher = Watcher("test", server.settings(tmp_path), lambda: server.password, sink, now)
    server.deliver(export_mail())
    server.deliver(export_mail())
    for answer in ("* SEARCH 2\r\n", "* SEARCH\r\n", ""):

        def lags(connection: Connection, tag: str, arguments: str, answer: str = answer) -> bool:
            connection.send(f"{answer}{tag} OK done\r\n")
            return True

        server.hooks["SEARCH"] = lags
        watcher.poll_once()
    assert [mail.uid for mail in sink.found_mails] == [2]
    fetches = sum("FETCH" in line for line in server.commands)

    server.hooks.clear()

    assert (watcher.poll_once(), watcher.poll_once()) == (1, 0)
    assert [mail.uid for mail in sink.found_mails] == [2, 1]
    # its header and its body; nothing is asked for twice
    assert sum("FETCH" in line for line in server.commands) == fetches + 2


def test_unsolicited_fetch_data_of_other_mails_is_ignored(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    def noisy(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("* 9 FETCH (UID 99 FLAGS (\\Seen) BODY[] {2}\r\nno)\r\n* 12 EXISTS\r\n")
        connection.send("* 1 FETCH (FLAGS (\\Recent) X-OTHER (a (b NIL)) MODSEQ (12))\r\n")
        return False

    server.hooks["FETCH"] = noisy
    raw = export_mail()
    server.deliver(raw)
    watcher = Watcher("test", server.settings(tmp_path), lambda: server.password, sink, now)

    assert watcher.poll_once() == 1
    assert sink.found_mails[0].raw == raw


@pytest.mark.parametrize("lies_about_size", [False, True])
def test_a_mail_beyond_five_mebibytes_is_told_once_and_passed(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path, *, lies_about_size: bool
) -> None:
    server.deliver(export_mail(padding=5 * 1024 * 1024 + 1))
    server.deliver(export_mail())
    if lies_about_size:

        def small(connection: Connection, tag: str, arguments: str) -> bool:
            if "RFC822.SIZE" not in arguments:
                return False
            for number, mail in enumerate(server.folders["INBOX"].mails, 1):
                found = connection.fetched(mail, arguments)
                size = b"RFC822.SIZE %d" % len(mail.raw)
                shown = found.replace(size, b"RFC822.SIZE 100")
                connection.send(b"* %d FETCH (%s)\r\n" % (number, shown))
            connection.send(f"{tag} OK done\r\n")
            return True

        server.hooks["FETCH"] = small
    watcher = Watcher("test", server.settings(tmp_path), lambda: server.password, sink, now)

    assert watcher.poll_once() == 1
    assert sink.events.count("unreadable") == 1
    assert sink.cursors["INBOX"].last_uid == 2


def test_a_missing_folder_is_told_and_the_others_are_watched(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    with watching(server, sink, tmp_path, folders=("INBOX", "Exports"), poll=0.5):
        sink.wait(lambda sink: "unreachable" in sink.events)
        assert "Exports" in sink.reasons[0]
        assert "INBOX" in sink.reasons[0]
        server.deliver(export_mail())
        sink.wait(lambda sink: len(sink.found_mails) == 1)
        assert "recovered" not in sink.events
        server.folders["Exports"] = type(server.folders["INBOX"])()
        sink.wait(lambda sink: "recovered" in sink.events)


@pytest.mark.parametrize("line", ["* OK Still here", "* 1 EXISTS"])
def test_a_flood_in_idle_does_not_make_a_busy_loop(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path, line: str
) -> None:
    """Whatever the server says, and however often: at most one pass a second."""

    def flood(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ idling\r\n")
        while not connection.client_speaks(0.01):
            connection.send(f"{line}\r\n")
        connection.line()
        connection.send(f"{tag} OK done\r\n")
        return True

    server.hooks["IDLE"] = flood
    with watching(server, sink, tmp_path, pace=Pace(settle=0.5), folders=("INBOX",)) as watcher:
        server.wait(lambda server: sum("IDLE" in line for line in server.commands) >= 1)
        passes = sum("SEARCH" in line for line in server.commands)
        time.sleep(1.5)
        made = sum("SEARCH" in line for line in server.commands) - passes
        assert time.monotonic() - watcher.heartbeat < 2

    assert made <= 2


def test_a_connection_at_its_end_costs_no_processor_time(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    def ends(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ idling\r\n")
        connection.cut()
        return True

    server.hooks["IDLE"] = ends
    with watching(server, sink, tmp_path, pace=Pace(retry=0.2, retry_most=30)):
        sink.wait(lambda sink: "recovered" in sink.events)
        used = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(2)
        later = resource.getrusage(resource.RUSAGE_SELF)

    assert later.ru_utime - used.ru_utime < 0.5
    assert server.logins <= 8


def test_stop_breaks_off_a_server_that_never_greets(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    greeted = threading.Event()

    def silent(connection: Connection, tag: str, arguments: str) -> bool:
        greeted.set()
        connection.wait_for_client(30)
        return True

    server.hooks["GREETING"] = silent
    with watching(server, sink, tmp_path, connect_timeout=30.0, read_timeout=30.0):
        assert greeted.wait(5)


def test_stop_returns_while_a_listener_does_not_even_shake_hands(
    sink: MemorySink, tmp_path: Path
) -> None:
    with ScriptedImap() as server, socket.create_server(("127.0.0.1", 0)) as listener:
        changes = {"port": listener.getsockname()[1], "connect_timeout": 30.0}
        with watching(server, sink, tmp_path, **changes):
            accepted, _ = listener.accept()
            accepted.recv(10)
        accepted.close()


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_mute_listener_costs_no_more_than_the_connect_timeout(
    tmp_path: Path, security: str
) -> None:
    with ScriptedImap() as server, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = server.settings(tmp_path, port=port, security=security, connect_timeout=0.3)
        began = time.monotonic()
        with pytest.raises(MailboxUnreachable, match="no answer in time"):
            probe(settings, "secret")

    assert time.monotonic() - began < 2


def drip(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* OK ")
    while not connection.client_speaks(0.05):
        connection.send("x")
    return True


def flood(connection: Connection, tag: str, arguments: str) -> bool:
    with contextlib.suppress(OSError):
        for _ in range(500):
            connection.send(b"* OK " + b"x" * 10_000 + b"\r\n")
        connection.wait_for_client(5)
    return True


@pytest.mark.parametrize(
    ("fault", "words"), [(drip, "no answer in time"), (flood, "sends too much")]
)
def test_a_server_that_drips_or_floods_runs_into_a_limit(
    server: ScriptedImap, tmp_path: Path, fault: Hook, words: str
) -> None:
    """Each read is in time; it is the whole operation that takes too long, or too much."""
    server.hooks["EXAMINE"] = fault
    session = connect(server.settings(tmp_path), server.password, Guard(seconds=0.5))
    began = time.monotonic()
    with pytest.raises(MailboxUnreachable, match=words):
        session.examine("INBOX")
    session.close()

    assert time.monotonic() - began < 3


def test_starttls_encrypts_before_the_password(sink: MemorySink, tmp_path: Path) -> None:
    with ScriptedImap(starttls=True) as server:
        assert "INBOX" in probe(server.settings(tmp_path), server.password)

    verbs = [line.split()[1] for line in server.commands]
    assert verbs.index("STARTTLS") < verbs.index("AUTHENTICATE")


def test_a_server_that_hides_starttls_never_sees_the_password(tmp_path: Path) -> None:
    with ScriptedImap(starttls=True) as server:
        server.hooks["CAPABILITY"] = _without_starttls
        with pytest.raises(MailboxUnreachable, match="does not offer STARTTLS") as raised:
            probe(server.settings(tmp_path), server.password)

    assert "993" in raised.value.hint
    assert not any("AUTHENTICATE" in line or "LOGIN" in line for line in server.commands)


def _without_starttls(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(f"* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n")
    return True


def test_a_preauthenticated_clear_text_greeting_is_not_trusted(tmp_path: Path) -> None:
    with ScriptedImap(starttls=True) as server:
        server.greeting = "* PREAUTH welcome"
        with pytest.raises(MailboxUnreachable):
            probe(server.settings(tmp_path), server.password)


@pytest.mark.parametrize("secret", ["", "a\r\nb", "a\0b"])
def test_a_password_that_would_break_the_line_is_not_sent(
    server: ScriptedImap, tmp_path: Path, secret: str
) -> None:
    with pytest.raises(MailboxRefused, match="control character"):
        probe(server.settings(tmp_path), secret)

    assert server.connections == 0


@pytest.mark.parametrize("capabilities", ["IMAP4rev1", "IMAP4rev1 AUTH=PLAIN"])
def test_a_password_beyond_ascii_is_sent_or_refused_with_the_reason(
    server: ScriptedImap, tmp_path: Path, capabilities: str
) -> None:
    server.capabilities, server.password = capabilities, "pässwörd"
    if "PLAIN" in capabilities:
        assert probe(server.settings(tmp_path), server.password)
    else:
        with pytest.raises(MailboxRefused, match="ASCII"):
            probe(server.settings(tmp_path), server.password)


def test_the_library_logs_nothing_even_at_debug(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.deliver(export_mail())
    with watching(server, sink, tmp_path):
        sink.wait(lambda sink: len(sink.found_mails) == 1)

    assert "sig=" not in caplog.text
    assert server.password not in caplog.text
    assert "imapclient" not in {record.name.partition(".")[0] for record in caplog.records}


def test_what_the_sink_raises_ends_run_unless_it_is_transient(
    server: ScriptedImap, tmp_path: Path
) -> None:
    class Full(MemorySink):
        def found(self, *arguments: object) -> None:  # type: ignore[override]
            raise RuntimeError("a bug")

    server.deliver(export_mail())
    watcher = Watcher(
        "test", server.settings(tmp_path), lambda: server.password, Full(time.monotonic), now
    )
    with pytest.raises(RuntimeError, match="a bug"):
        watcher.run(threading.Event())


def test_wake_in_idle_begins_anew_at_once(
    server: ScriptedImap, sink: MemorySink, tmp_path: Path
) -> None:
    with watching(server, sink, tmp_path) as watcher:
        server.wait(lambda server: server.idling == 1)
        logins = server.logins
        watcher.wake()
        server.wait(lambda server: server.logins == logins + 1 and server.idling == 1)

    assert "unreachable" not in sink.events
