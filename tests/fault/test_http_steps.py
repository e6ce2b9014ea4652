"""What follows from each HTTP fault in the pipeline: the state of the delivery, and the next step.

The faults are those of `test_http_kinds`, less those that only end by a time limit. A delivery is
fetched once on an open ledger; then it is stored, waits for a planned attempt within the link's
life, waits for a person who is told what to do, or is over and that is told.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.intake.fetching import Fetcher
from backupd.ledger.delivery import Delivery, Opening, Place, State
from backupd.ledger.notices import NoticeLog
from backupd.mail.link import parse_link
from backupd.store.repository import Repository
from backupd.wiring import open_rooms
from tests.fault.test_http_kinds import CANARY, KINDS, OK, PATIENT, PERHAPS, SENT, SIGN_IN, Kind
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.https import HOSTS, Authority, Server, authority
from tests.support.https_faults import DATA

STEPS = campaign("HTTP next steps")
WAITING = {"network-failed", "server-failed", "rate-limited", "not-a-zip", PERHAPS, "disk-full"}
NEEDY = {SIGN_IN, "sign-in-or-dead", "ended-early", "challenged", "too-big"}
OVER = {"expired": State.EXPIRED, "link-refused": State.REFUSED}
CASES = [
    case
    for case in KINDS
    if case.limits is PATIENT
    and case.greet is None
    and not case.certificate
    and "closed" not in case.facts
    and not case.name.startswith("endless")
]
CHOSEN = CASES if FULL else CASES[::10]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


def opening(case: Kind) -> Opening:
    """Return what the mail of a case brings."""
    link = parse_link(case.url, SENT, SENT)
    return Opening(
        place=Place("personal", "INBOX", 1, 7),
        message_id="<1@example.org>",
        sender="noreply@tm.openai.com",
        proof="dkim tm.openai.com",
        link=case.url,
        era=link.era,
        host=link.host,
        file_name=link.file_name,
        account=None,
        mail_at=SENT,
        deadline=SENT + timedelta(hours=24),
        give_up_at=SENT + timedelta(hours=30),
    )


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: case.name)
def test_fault_leaves_the_right_state_and_next_step(
    case: Kind,
    trust: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    caplog.set_level(logging.DEBUG)
    with STEPS.case(case.name, "pipeline"), Server(trust.context(*HOSTS)) as server:
        server.play(case.script)
        routes = ", ".join(f'"{name}" = "{to}"' for name, to in server.connect_to.items())
        config = tmp_path / "config.toml"
        config.write_text(
            f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"\n'
            '[mailboxes.personal]\nhost = "localhost"\nusername = "me"\n'
            'authserv_id = "mx.example.org"\n'
            f'[download]\nca_file = "{trust.ca_file}"\nconnect_to = {{ {routes} }}\n'
        )
        Repository.create(tmp_path / "repository").close()
        rooms, credentials = open_rooms(load(config), lambda: case.now)
        try:
            delivery = rooms.deliveries.open(opening(case), SENT)
            Fetcher(rooms, threading.Event(), lambda: None).run_due()
            delivery = rooms.deliveries.get(delivery.id)
            told = [f"{one.event}: {one.body}" for one in NoticeLog(rooms.database).list()]
            stored = {one.sha256 for one in rooms.repository.snapshots()}
        finally:
            credentials.close()
            rooms.close()
        _check(case, delivery, told, stored)
        for text in (*told, caplog.text, repr(delivery)):
            assert CANARY not in text
            assert "sig=" not in text


def _check(case: Kind, delivery: Delivery, told: list[str], stored: set[str]) -> None:
    """The identical file, or nothing; never past the end of the link's life; one next step."""
    if case.first == OK:
        assert delivery.state is State.STORED
        assert stored == {hashlib.sha256(case.data if case.data else DATA).hexdigest()}
        assert delivery.link is None
        return
    assert stored == set()
    if case.first in OVER:
        assert delivery.state is OVER[case.first]
        assert delivery.link is None
        assert "What to do: " in told[0]
        return
    assert delivery.next_attempt_at is not None and delivery.give_up_at is not None
    assert case.now < delivery.next_attempt_at <= delivery.give_up_at
    if case.first in NEEDY:
        assert delivery.state is State.NEEDS_YOU
        assert told[0].startswith("sign_in_needed: ") and "What to do" in told[0]
    else:
        assert case.first in WAITING, case.first
        assert delivery.state in (State.PROVEN, State.FETCHING)
        assert ("disk_low" in str(told)) == (case.first == "disk-full")
