"""What becomes of a mail that nothing proves: a question, and everything that may answer it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.demo import mails
from backupd.demo.certificates import Authority
from backupd.demo.imap import DemoImap
from backupd.errors import UsageError
from backupd.intake.arrival import MOST_REFUSALS, Arrivals
from backupd.intake.care import Care
from backupd.intake.fetching import Fetcher
from backupd.intake.judge import PATIENCE
from backupd.intake.overview import Health, overview
from backupd.intake.rooms import Rooms
from backupd.ledger.approvals import APPROVED, Approvals
from backupd.ledger.delivery import Delivery, State
from backupd.ledger.notices import NoticeLog
from backupd.mail.signature import LookupFailed
from backupd.mail.sink import NotNow
from backupd.mail.watcher import Watcher
from backupd.store.repository import Repository
from backupd.wiring import open_rooms
from tests.support.signed_mail import records, sign

START = datetime.now(UTC).replace(microsecond=0)
NAME = "a" * 64 + f"-{START:%Y-%m-%d-%H-%M-%S}-" + "b" * 32 + ".zip"


class World:
    """Open rooms, a clock that the test turns, a DNS that the test switches off."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.now = START
        self.dns_works = True
        self.arrivals = Arrivals(rooms, lambda: None, self._lookup)
        self.approvals = Approvals(rooms.database)
        self._uid = 0

    def _lookup(self, name: str) -> tuple[bytes, ...]:
        if not self.dns_works:
            raise LookupFailed(f"look up {name}: timed out")
        found = records().get(name)
        return () if found is None else (found,)

    def receive(self, raw: bytes, mailbox: str = "personal") -> None:
        self._uid += 1
        self.arrivals.found(mailbox, "INBOX", 1, self._uid, raw, self.now)

    def only(self) -> Delivery:
        (delivery,) = self.rooms.deliveries.pending()
        return delivery

    def events(self) -> list[str]:
        return [entry.event for entry in NoticeLog(self.rooms.database).list()]

    def care(self) -> None:
        fetcher = Fetcher(self.rooms, threading.Event(), lambda: None)
        Care(self.rooms, fetcher, lambda: None).watch_deadlines()

    def health(self) -> Health:
        rooms = self.rooms
        return overview(
            rooms.settings, rooms.deliveries, rooms.messages, rooms.repository, self.now
        ).health


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    config = tmp_path / "config.toml"
    mailbox = 'host = "localhost"\nusername = "me@example.org"\nauthserv_id = "mx.example.org"\n'
    config.write_text(
        f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"\n'
        f"[mailboxes.personal]\n{mailbox}[mailboxes.work]\n{mailbox}"
    )
    Repository.create(tmp_path / "repository").close()
    made: list[World] = []
    rooms, credentials = open_rooms(load(config), lambda: made[0].now)
    made.append(World(rooms))
    yield made[0]
    credentials.close()
    rooms.close()


def mail(name: str = NAME, **kind: object) -> bytes:
    settings = {"date": START, "verdict": "none", **kind}
    envelope = mails.Envelope(**settings)  # type: ignore[arg-type]
    return mails.ready(envelope, mails.estuary_url(name, envelope.date))


def test_an_unproven_mail_waits_is_never_due_and_the_notice_says_how_to_go_on(
    world: World,
) -> None:
    world.receive(mail(verdict="fail"))

    delivery = world.only()
    (told,) = NoticeLog(world.rooms.database).list()
    assert (delivery.state, delivery.proof, delivery.outcome) == (
        State.NEEDS_YOU,
        None,
        "unproven",
    )
    assert world.rooms.deliveries.due(START + timedelta(days=2)) == []
    assert f"backupd approve {delivery.id}" in told.body
    assert "noreply@tm.openai.com" in told.body
    assert "mx.example.org says dmarc=fail" in told.body
    assert world.health() is Health.ACTION_NEEDED


def test_an_approved_delivery_is_due_and_can_be_approved_once(world: World) -> None:
    world.receive(mail())
    delivery = world.approvals.find(world.only().id[:4])

    assert world.approvals.approve(delivery, world.now)

    assert [one.id for one in world.rooms.deliveries.due(world.now)] == [delivery.id]
    assert world.only().proof == APPROVED
    assert not world.approvals.approve(delivery, world.now)
    assert not world.approvals.reject(delivery, world.now)
    with pytest.raises(UsageError, match="no such delivery"):
        world.approvals.find(delivery.id)


@pytest.mark.parametrize("selector", ["", "zz", "%"])
def test_a_selector_that_fits_nothing_names_what_waits(world: World, selector: str) -> None:
    world.receive(mail())

    with pytest.raises(UsageError) as refused:
        world.approvals.find(selector)

    assert world.only().id in refused.value.hint


def test_a_question_ends_by_itself_when_the_link_is_dead(world: World) -> None:
    world.receive(mail())
    for _ in range(4):
        world.now += timedelta(hours=8)
        world.care()

    assert world.rooms.deliveries.pending() == []
    assert world.events() == ["mail_refused", "approval_closed"]
    assert not any(entry.open for entry in NoticeLog(world.rooms.database).list())
    assert world.health() is Health.OK


def test_a_proven_mail_answers_the_question_about_the_same_export(world: World) -> None:
    world.receive(mail())
    world.receive(mail(verdict="pass", message_id="<2@x>"), "work")

    delivery = world.only()
    assert delivery.state is State.PROVEN
    assert (delivery.proof or "").startswith("dmarc mx.example.org")
    assert world.rooms.deliveries.due(world.now) == [delivery]
    assert not any(entry.open for entry in NoticeLog(world.rooms.database).list())


def test_an_unproven_mail_changes_nothing_about_a_proven_one(world: World) -> None:
    world.receive(mail(verdict="pass"))
    before = world.only()
    world.now += timedelta(hours=2)
    world.receive(mail(date=world.now, message_id="<2@x>"))

    assert world.only() == before
    assert world.events() == ["mail_found"]


def test_a_missed_export_is_not_hidden_by_a_forgery(world: World) -> None:
    world.receive(mail(verdict="pass"))
    world.rooms.deliveries.expired(world.only().id, "dead", world.now)
    world.now += timedelta(hours=1)
    world.receive(mail("c" * 64 + NAME[64:], message_id="<2@x>"))

    assert world.rooms.deliveries.missed_at() == START


def test_a_flood_of_forgeries_asks_ten_times_and_then_fills_the_log_only(world: World) -> None:
    for number in range(2 * MOST_REFUSALS):
        world.receive(mail(f"{number:064x}" + NAME[64:], message_id=f"<{number}@x>"))

    assert len(world.rooms.deliveries.pending()) == MOST_REFUSALS
    assert len(world.events()) == MOST_REFUSALS


@pytest.mark.parametrize(
    "kind", [{"sender": "noreply@x.tm.openai.com"}, {"extra_headers": ("Subject: x",)}]
)
def test_nobody_is_asked_about_what_openai_cannot_have_sent(
    world: World, kind: dict[str, object]
) -> None:
    world.receive(mail(**kind))

    assert world.rooms.deliveries.pending() == []
    assert world.events() == ["mail_refused"]


def test_nobody_is_asked_about_a_link_that_leads_elsewhere(world: World) -> None:
    world.receive(mail().replace(b"chatgpt.com", b"chatgpt.org"))

    assert world.rooms.deliveries.pending() == []
    assert world.events() == ["mail_refused"]


def test_openais_own_signature_proves_without_a_verdict(world: World) -> None:
    world.receive(sign(mail(verdict="absent")))

    assert (world.only().proof or "").startswith("dkim s1._domainkey.tm.openai.com")


def test_a_mail_whose_key_cannot_be_asked_now_comes_again_and_is_proven_then(
    world: World,
) -> None:
    world.dns_works = False
    raw = sign(mail(verdict="absent"))
    with pytest.raises(NotNow):
        world.receive(raw)
    world.now += PATIENCE / 2
    with pytest.raises(NotNow):
        world.receive(raw)
    world.dns_works = True
    world.receive(raw)

    assert world.only().state is State.PROVEN
    assert world.events() == ["mail_found"]


def test_a_dns_that_stays_away_leads_to_a_question_in_time(world: World) -> None:
    world.dns_works = False
    raw = sign(mail(verdict="absent"))
    with pytest.raises(NotNow):
        world.receive(raw)
    world.now += PATIENCE

    world.receive(raw)

    assert world.only().is_unproven
    assert "just now" in (world.only().detail or "")


def test_a_mail_that_may_be_proven_later_holds_the_cursor_back(
    world: World, tmp_path: Path
) -> None:
    world.dns_works = False
    authority = Authority()
    with DemoImap(authority.server_context("localhost"), "demo", "canary") as imap:
        settings = world.rooms.settings.mailboxes["personal"].model_copy(
            update={
                "port": imap.port,
                "username": "demo",
                "ca_file": authority.write_ca(tmp_path / "ca.pem"),
            }
        )
        watcher = Watcher("personal", settings, lambda: "canary", world.arrivals, lambda: world.now)
        imap.deliver(sign(mail(verdict="absent")), START)
        assert [watcher.poll_once() for _ in range(5)] == [0] * 5
        assert world.events() == []
        world.dns_works = True
        assert [watcher.poll_once() for _ in range(2)] == [1, 0]

    assert world.only().state is State.PROVEN
