"""The ledger keeps what happened across restarts, and keeps links no longer than needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.errors import BackupdError, RepositoryRefused
from backupd.ledger.db import MIGRATIONS, Database, open_database
from backupd.ledger.deliveries import Deliveries
from backupd.ledger.delivery import Delivery, Opening, Place, State
from backupd.ledger.messages import Messages, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CANARY = "https://chatgpt.com/backend-api/estuary/content?id=x.zip&sig=canary-4711"


def opening(file_name: str = "a.zip", deadline: datetime = NOW + timedelta(hours=24)) -> Opening:
    return Opening(
        place=Place("personal", "INBOX", 1, 7),
        message_id="<1@example.org>",
        sender="noreply@tm.openai.com",
        proof="authentication-results mx.example.org tm.openai.com",
        link=CANARY,
        era="estuary",
        host="chatgpt.com",
        file_name=file_name,
        account=None,
        mail_at=NOW,
        deadline=deadline,
        give_up_at=deadline + timedelta(hours=6),
    )


@pytest.fixture
def database(tmp_path: Path):
    database = open_database(tmp_path / "state" / "ledger.sqlite")
    yield database
    database.close()


def test_a_delivery_survives_a_restart_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    first = open_database(path)
    made = Deliveries(first).open(opening(), NOW)
    first.close()

    second = open_database(path)
    found = Deliveries(second).get(made.id)
    second.close()

    assert found == made
    assert found.link == CANARY
    assert found.deadline == NOW + timedelta(hours=24)


@pytest.mark.parametrize("end", ["stored", "expired", "refused", "quarantined"])
def test_the_link_is_erased_from_the_file_when_a_delivery_ends(tmp_path: Path, end: str) -> None:
    path = tmp_path / "ledger.sqlite"
    database = open_database(path)
    deliveries = Deliveries(database)
    made = deliveries.open(opening(), NOW)
    if end == "stored":
        deliveries.stored(made.id, "s" * 64, NOW)
    else:
        getattr(deliveries, end)(made.id, "because", NOW)
    database.close()

    assert b"canary-4711" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_due_deliveries_come_nearest_deadline_first(database: Database) -> None:
    deliveries = Deliveries(database)
    late = deliveries.open(opening("late.zip", NOW + timedelta(hours=20)), NOW)
    soon = deliveries.open(opening("soon.zip", NOW + timedelta(hours=2)), NOW)
    waiting = deliveries.open(opening("waiting.zip"), NOW)
    deliveries.retry(waiting.id, NOW + timedelta(hours=1), "network-failed", "", NOW)

    assert [d.id for d in deliveries.due(NOW)] == [soon.id, late.id]
    assert len(deliveries.due(NOW + timedelta(hours=2))) == 3


def test_what_ended_is_no_longer_pending(database: Database) -> None:
    deliveries = Deliveries(database)
    made = deliveries.open(opening(), NOW)
    deliveries.fetching(made.id, Path("/r/incoming/x.part"), NOW)
    deliveries.fetched(made.id, "ab" * 32, 10, NOW)
    assert deliveries.get(made.id).state is State.FETCHED

    deliveries.stored(made.id, "s" * 64, NOW)

    assert deliveries.pending() == []
    assert deliveries.get(made.id).snapshot == "s" * 64


def test_a_transaction_that_fails_changes_nothing(database: Database) -> None:
    deliveries = Deliveries(database)
    messages = Messages(database)

    def half_a_step() -> None:
        with database.transaction():
            deliveries.open(opening(), NOW)
            messages.remember("personal", "<1@example.org>", Verdict.DELIVERY, None, NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_a_step()

    assert deliveries.pending() == []
    assert not messages.known("personal", "<1@example.org>")


def test_a_message_is_known_by_its_key_alone(database: Database) -> None:
    messages = Messages(database)
    messages.remember("personal", "<1@example.org>", Verdict.OTHER, None, NOW)
    messages.remember("personal", "<1@example.org>", Verdict.DELIVERY, "x", NOW)

    assert messages.known("personal", "<1@example.org>")
    assert not messages.known("work", "<1@example.org>")


def test_requests_close_for_their_mailbox_only(database: Database) -> None:
    messages = Messages(database)
    mine = messages.request("personal", NOW)
    other = messages.request("work", NOW)
    messages.request(None, NOW)

    messages.close_requests("personal", "d1", NOW)

    assert [request.id for request in messages.requests()] == [other.id]
    assert mine.id != other.id


def test_neither_delivery_nor_opening_shows_its_link(database: Database) -> None:
    made: Delivery = Deliveries(database).open(opening(), NOW)

    assert "canary" not in repr(made) + str(made) + repr(opening())


def test_a_newer_ledger_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    database = open_database(path)
    with database.transaction() as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    database.close()
    before = path.read_bytes()

    with pytest.raises(RepositoryRefused, match="newer"):
        open_database(path)

    assert path.read_bytes() == before


def test_a_file_that_is_no_ledger_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 10)

    with pytest.raises(BackupdError, match=r"ledger\.sqlite"):
        open_database(path)


def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.sqlite"
    open_database(path).close()

    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
