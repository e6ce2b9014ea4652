"""Forged mails, by every way that is known, lead to no download; genuine ones do, or to a question.

In every run all mails are judged, with a DNS server on loopback; a part of them, and all of them
with BACKUPD_FULL=1, go through the whole pipeline, and every contact of the process is noted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.intake.arrival import Arrivals
from backupd.intake.fetching import Fetcher
from backupd.intake.judge import Doubtful, Judge, Ready
from backupd.intake.rooms import Rooms
from backupd.ledger.approvals import Approvals
from backupd.ledger.delivery import State
from backupd.mail.gate import HOSTS
from backupd.mail.message import MessageRefused, parse
from backupd.mail.resolver import TxtResolver
from backupd.mail.sink import NotNow
from backupd.store.repository import Repository
from backupd.wiring import open_rooms
from tests.support.campaign import Campaign, campaign
from tests.support.dns_server import BEHAVIOURS, DnsServer
from tests.support.mail_corpus import FORWARDERS, MAILBOXES, Case, Corpus
from tests.support.signed_mail import ME, records
from tests.support.sockets_watch import watching

SEED = int(os.environ.get("BACKUPD_SEED", "20261123"))
FULL = os.environ.get("BACKUPD_FULL") == "1"
NOW = datetime.now(UTC).replace(microsecond=0)
ALLOWED = (".openai.com", ".forwarder.example")
CORPUS = Corpus(SEED, NOW)
HOSTILE = tuple(CORPUS.hostile())
GENUINE = tuple(CORPUS.genuine())


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(records()) as server:
        yield server


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rooms]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    config = tmp_path / "config.toml"
    lines = [f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"']
    for name, servers in MAILBOXES.items():
        lines.append(f'[mailboxes.{name}]\nhost = "localhost"\nusername = "{ME}"')
        lines.append(f"authserv_id = {list(servers)}\nforwarders = {list(FORWARDERS)}")
    # Nobody listens there: what is tried at all is noted, and nothing comes back.
    routes = ", ".join(f'"{rule.host}:443" = "127.0.0.1:9"' for rule in HOSTS)
    lines.append(f"[download]\nconnect_to = {{ {routes} }}\n")
    config.write_text("\n".join(lines))
    Repository.create(tmp_path / "repository").close()
    opened, credentials = open_rooms(load(config), lambda: NOW)
    yield opened
    credentials.close()
    opened.close()


def resolver_of(dns: DnsServer) -> TxtResolver:
    return TxtResolver(["127.0.0.1"], dns.port, 2)


def judged(judge: Judge, case: Case) -> object:
    """Return what is decided about a mail; a reason where it cannot even be read."""
    try:
        return judge.decide(case.mailbox, case.raw, parse(case.raw), NOW)
    except MessageRefused as refused:
        return refused.reason


def _is_right(case: Case, decision: object) -> bool:
    if case.group == "genuine":
        return isinstance(decision, Ready)
    if case.group == "link":
        return not isinstance(decision, Ready | Doubtful) or in_table(decision)
    return not isinstance(decision, Ready)


def in_table(decision: Ready | Doubtful) -> bool:
    return decision.link.host in {rule.host for rule in HOSTS}


def test_the_corpus_is_large_enough() -> None:
    assert len(HOSTILE) >= 500
    assert len(GENUINE) >= 60
    assert len({case.raw for case in HOSTILE}) > 0.9 * len(HOSTILE)


def test_no_forged_mail_is_believed_and_no_genuine_one_refused(
    rooms: Rooms, dns: DnsServer
) -> None:
    judge = Judge(rooms.settings.mailboxes, resolver_of(dns), lambda: NOW)
    wrong = []
    dns.questions.clear()
    with watching() as contacts:
        for case in (*HOSTILE, *GENUINE):
            with suppress(AssertionError), _campaign(case.group).case(case.kind, case.variant):
                decision = judged(judge, case)
                if not _is_right(case, decision):
                    wrong.append((case, decision))
                assert _is_right(case, decision)
    assert wrong == []
    assert {name for name in dns.questions if not name.endswith(ALLOWED)} == set()
    assert _strange(contacts, dns.port) == set()


def test_through_the_whole_pipeline_nothing_but_the_table_is_contacted(
    rooms: Rooms, dns: DnsServer
) -> None:
    cases = (*HOSTILE, *GENUINE)
    chosen = cases if FULL else cases[SEED % 17 :: 17]
    arrivals = Arrivals(rooms, lambda: None, resolver_of(dns))
    fetcher = Fetcher(rooms, threading.Event(), lambda: None)
    dns.questions.clear()
    with watching() as contacts:
        for number, case in enumerate(chosen):
            count = _campaign(f"{case.group}, whole pipeline")
            with count.case(case.kind, case.variant):
                arrivals.found(case.mailbox, "INBOX", 1, number + 1, case.raw, NOW)
                before = len(contacts)
                attempted = fetcher.run_due()
                tried = contacts[before:]
                _check(rooms, case, attempted, tried)
                _clear(rooms)
    assert {name for name in dns.questions if not name.endswith(ALLOWED)} == set()
    assert _strange(contacts, dns.port) == set()


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_hostile_dns_proves_nothing_breaks_nothing_and_may_prove_later(
    rooms: Rooms, dns: DnsServer, behaviour: str
) -> None:
    genuine = next(case for case in GENUINE if case.kind == "signed, SendGrid")
    clock = [NOW]
    judge = Judge(
        rooms.settings.mailboxes, TxtResolver(["127.0.0.1"], dns.port, 0.4), lambda: clock[0]
    )
    dns.behaviour = behaviour
    try:
        first = later = _decided(judge, genuine)
        while isinstance(later, NotNow):
            assert clock[0] < NOW + timedelta(hours=3)
            clock[0] += timedelta(hours=1)
            later = _decided(judge, genuine)
    finally:
        dns.behaviour = None

    with campaign("mail: hostile DNS").case(behaviour, "key"):
        assert not isinstance(first, Ready)
        assert isinstance(later, Doubtful)
        assert isinstance(_decided(judge, genuine), Ready)


def _decided(judge: Judge, case: Case) -> object:
    try:
        return judge.decide(case.mailbox, case.raw, parse(case.raw), NOW)
    except NotNow as later:
        return later


def _campaign(group: str) -> Campaign:
    return campaign(f"mail: {group}", seed=SEED)


def _check(rooms: Rooms, case: Case, attempted: int, tried: list[tuple[str, str]]) -> None:
    if case.group == "genuine":
        assert attempted == 1, case
        return
    proven = [one for one in rooms.deliveries.pending() if one.proof is not None]
    if case.group == "link":
        assert {one.host for one in proven} <= {rule.host for rule in HOSTS}, case
        return
    assert (attempted, proven, tried) == (0, [], []), case


def _clear(rooms: Rooms) -> None:
    """End what is pending and forget the day's refusals, so that each mail comes to a quiet day."""
    approvals = Approvals(rooms.database)
    for delivery in rooms.deliveries.pending():
        if not approvals.reject(delivery, NOW):
            rooms.deliveries.refused(delivery.id, "the test goes on", NOW)
    with rooms.database.transaction() as connection:
        connection.execute("DELETE FROM messages")
    assert all(one.state is not State.PROVEN for one in rooms.deliveries.pending())


def _strange(contacts: list[tuple[str, str]], dns_port: int) -> set[tuple[str, str]]:
    """Return the contacts but those with the DNS server, the routed hosts and no journal."""
    known = {f"('127.0.0.1', {dns_port})", "('127.0.0.1', 9)", "('/dev/null',)"}
    return {
        (event, where)
        for event, where in contacts
        if not any(one in where for one in known) and where != "'127.0.0.1'"
    }
