"""Mail, session, drop folder and import end in one delivery, whichever comes first.

The pipeline's own rooms, a real TLS server, and a restart between any two steps.
"""

from __future__ import annotations

import itertools
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.config import load
from backupd.credentials import Credentials
from backupd.demo import mails
from backupd.demo.answers import Plan, Wall
from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.intake.arrival import Arrivals
from backupd.intake.doctor import sessions_at_hand
from backupd.intake.drop import DropFolders
from backupd.intake.fetching import Fetcher
from backupd.intake.overview import Health, Overview, overview
from backupd.intake.rooms import Rooms
from backupd.intake.sessions import SessionCare
from backupd.intake.storing import store
from backupd.ledger.delivery import State
from backupd.ledger.notices import LoggedNotice, NoticeLog
from backupd.store.repository import Origin, Repository
from backupd.wiring import open_rooms
from tests.support.sessions import TOKEN, jwt
from tests.support.stage import exports

EXPORT = exports(1)[0]
CREDENTIAL = "session-personal"
START = EXPORT.exported_at.replace(minute=50)
"""Shortly before an hour ends: a link made in the next one is another link."""


class World:
    """A config, credentials, a mailbox that is a method, and a server with a login wall."""

    def __init__(self, root: Path, downloads: DownloadServer, ca: Path) -> None:
        self.root, self.downloads = root, downloads
        self.now = START
        self.uid = 0
        self.drop = root / "drop"
        self.credentials = root / "credentials"
        for directory in (self.drop, self.credentials):
            directory.mkdir()
        self.zip = root / EXPORT.file_name
        EXPORT.write(self.zip)
        routes = ", ".join(f'"{a}" = "{b}"' for a, b in downloads.connect_to.items())
        self.config = root / "config.toml"
        self.config.write_text(f"""
[repository]
path = "{root}/repository"
[state]
path = "{root}/state"
[mailboxes.personal]
host = "localhost"
username = "demo"
authserv_id = "mx.example.org"
drop_folder = "{self.drop}"
[download]
session = "bearer"
session_credential = "{CREDENTIAL}"
ca_file = "{ca}"
connect_to = {{ {routes} }}
""")
        Repository.create(root / "repository").close()
        self.wall("unauthorized")

    def wall(self, wall: Wall | None) -> None:
        """Serve the export behind that wall, to the good token only; None serves anybody."""
        self.downloads.offer(EXPORT.file_name, self.zip, Plan(wall=wall, bearer=TOKEN))

    def token(self, text: str) -> None:
        """Put what signs in where the service manager would put it."""
        (self.credentials / CREDENTIAL).write_text(text)

    @contextmanager
    def rooms(self) -> Iterator[Rooms]:
        """Open everything, as a start of the daemon does, and close it again."""
        rooms, credentials = open_rooms(load(self.config), lambda: self.now)
        try:
            Fetcher(rooms, threading.Event(), _nothing).recover()
            yield rooms
        finally:
            credentials.close()
            rooms.close()

    def later(self, minutes: float) -> None:
        """Turn the clock."""
        self.now += timedelta(minutes=minutes)

    # The ways in.

    def mail(self, rooms: Rooms) -> None:
        """Another mail comes, whose link anybody can fetch."""
        self.wall(None)
        self.deliver(rooms)

    def session(self, rooms: Rooms) -> None:
        """The session is renewed."""
        self.wall("unauthorized")
        self.token(TOKEN)
        SessionCare(rooms, _nothing).run()
        self.fetch(rooms)

    def dropped(self, rooms: Rooms) -> None:
        """A person saves the browser's download in the drop folder."""
        shutil.copyfile(self.zip, self.drop / f"{self.zip.stem} (1).zip")
        drops = DropFolders(rooms, threading.Event(), _nothing)
        drops.scan()
        assert drops.scan() == 1

    def imported(self, rooms: Rooms) -> None:
        """A person imports the browser's download."""
        copy = self.root / "download.zip"
        shutil.copyfile(self.zip, copy)
        store(rooms, copy, Origin(self.zip.name, self.now, "import", None, None))

    def deliver(self, rooms: Rooms) -> None:
        """A mail with the export's link comes, and the daemon acts."""
        self.uid += 1
        url = mails.estuary_url(EXPORT.file_name, self.now)
        raw = mails.ready(mails.Envelope(date=self.now, message_id=f"<{self.uid}@x.example>"), url)
        Arrivals(rooms, _nothing).found("personal", "INBOX", 1, self.uid, raw, self.now)
        self.fetch(rooms)

    def fetch(self, rooms: Rooms) -> None:
        """Do what is due."""
        Fetcher(rooms, threading.Event(), _nothing).run_due()


Step = Callable[[World, Rooms], None]
WAYS: dict[str, Step] = {
    "mail": World.mail,
    "session": World.session,
    "drop": World.dropped,
    "import": World.imported,
}


def _nothing() -> None:
    """Stand in where nobody needs a sign of life."""


@pytest.fixture(scope="module")
def trust() -> Authority:
    return Authority()


@pytest.fixture
def world(tmp_path: Path, trust: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("BACKUPD_JOURNAL", "off")
    with DownloadServer(trust) as downloads:
        made = World(tmp_path, downloads, trust.write_ca(tmp_path / "ca.pem"))
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(made.credentials))
        yield made


def notices(rooms: Rooms) -> tuple[LoggedNotice, ...]:
    return NoticeLog(rooms.database).list()


def events(rooms: Rooms) -> list[str]:
    return [one.event for one in notices(rooms)]


def open_alarms(rooms: Rooms) -> list[str]:
    return [one.event for one in notices(rooms) if one.open]


def at_a_glance(rooms: Rooms) -> Overview:
    return overview(
        rooms.settings, rooms.deliveries, rooms.messages, rooms.repository, rooms.clock()
    )


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(WAYS, 2)))
def test_whichever_way_wins_ends_the_delivery_and_the_other_changes_nothing(
    world: World, first: str, second: str
) -> None:
    world.token("outdated")
    with world.rooms() as rooms:
        world.deliver(rooms)
        (delivery,) = rooms.deliveries.pending()
        assert (delivery.state, delivery.outcome) == (State.NEEDS_YOU, "session-refused")
        assert open_alarms(rooms) == ["sign_in_needed"]
    world.later(20)

    with world.rooms() as rooms:
        WAYS[first](world, rooms)
        assert rooms.deliveries.get(delivery.id).state is State.STORED
        assert open_alarms(rooms) == []
    world.later(20)

    with world.rooms() as rooms:
        WAYS[second](world, rooms)
        assert rooms.deliveries.pending() == []
        assert open_alarms(rooms) == []
        assert len(rooms.repository.snapshots()) == 1
        assert events(rooms).count("stored") == 1
        assert rooms.deliveries.get(delivery.id).link is None
    assert list(world.drop.iterdir()) == []
    assert list((world.root / "repository" / "incoming").iterdir()) == []


@pytest.mark.parametrize("first", WAYS)
def test_delivery_that_was_cut_short_is_ended_by_any_other_way(world: World, first: str) -> None:
    """The token works, but the connection breaks; the person does not wait for the next attempt."""
    world.token(TOKEN)
    plan = Plan(wall="unauthorized", bearer=TOKEN, drops=(0.5,))
    world.downloads.offer(EXPORT.file_name, world.zip, plan)
    with world.rooms() as rooms:
        world.deliver(rooms)
        (delivery,) = rooms.deliveries.pending()
        assert delivery.state is State.PROVEN
    world.later(1)

    with world.rooms() as rooms:
        WAYS[first](world, rooms)
        assert rooms.deliveries.get(delivery.id).state is State.STORED
        assert at_a_glance(rooms).health is Health.OK
    with world.rooms() as rooms:
        Fetcher(rooms, threading.Event(), _nothing).tidy()
    assert list((world.root / "repository" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("wall", "token", "outcome", "renew"),
    [
        ("unauthorized", "outdated", "session-refused", True),
        ("forbidden", "outdated", "wrong-account", True),
        ("challenge", "outdated", "challenged", False),
        ("unauthorized", "no token", "session-missing", True),
    ],
)
def test_person_is_told_what_is_wrong_and_how_long_there_is(
    world: World, wall: Wall, token: str, outcome: str, renew: bool
) -> None:
    world.wall(wall)
    world.token(token)
    with world.rooms() as rooms:
        world.deliver(rooms)

        (told,) = (one for one in notices(rooms) if one.event == "sign_in_needed")
        assert rooms.deliveries.pending()[0].outcome == outcome
        assert re.search("within (1 day|23 hours 59 minutes)", told.title)
        assert str(world.drop) in told.body
        assert (f'renew the credential "{CREDENTIAL}"' in told.body) is renew


def test_rate_limit_is_waited_for_and_troubles_nobody(world: World) -> None:
    world.downloads.offer(EXPORT.file_name, world.zip, Plan(wall="rate-limited"))
    world.token(TOKEN)
    with world.rooms() as rooms:
        world.deliver(rooms)

        assert rooms.deliveries.pending()[0].outcome == "rate-limited"
        assert open_alarms(rooms) == []


def look(world: World, rooms: Rooms) -> None:
    SessionCare(rooms, _nothing).run()


def test_session_that_ends_before_the_next_export_is_told_until_it_is_renewed(
    world: World,
) -> None:
    world.token(jwt(world.now + timedelta(days=20)))
    with world.rooms() as rooms:
        look(world, rooms)
        assert events(rooms) == ["session_expiring"]
        assert at_a_glance(rooms).health is Health.OK
    world.later(19 * 24 * 60)
    with world.rooms() as rooms:
        look(world, rooms)
        assert events(rooms) == ["session_expiring"]  # told once
    world.later(2 * 24 * 60)
    with world.rooms() as rooms:
        look(world, rooms)
        assert events(rooms) == ["session_expiring", "session_dead"]
        assert open_alarms(rooms) == ["session_dead"]
        assert (at_a_glance(rooms).health, at_a_glance(rooms).exit_code) == ("ACTION NEEDED", 21)
    world.token(jwt(world.now + timedelta(days=60)))
    with world.rooms() as rooms:
        look(world, rooms)
        assert events(rooms)[2:] == ["session_renewed"]
        assert open_alarms(rooms) == []
        assert at_a_glance(rooms).health is Health.OK


def test_missing_session_is_told_before_an_export_needs_it(world: World) -> None:
    with world.rooms() as rooms:
        look(world, rooms)
        assert open_alarms(rooms) == ["session_dead"]
        assert at_a_glance(rooms).exit_code == 12

        world.token(TOKEN)
        look(world, rooms)
        assert events(rooms) == ["session_dead", "session_renewed"]


def test_token_of_a_program_is_only_told_of_when_it_is_dead(world: World) -> None:
    printed = world.root / "token"
    with world.config.open("a") as config:
        config.write(f'[credentials.{CREDENTIAL}]\ncommand = ["cat", "{printed}"]\n')
    printed.write_text(jwt(world.now + timedelta(hours=1)))
    with world.rooms() as rooms:
        look(world, rooms)
        assert events(rooms) == []

        world.later(61)
        look(world, rooms)
        assert open_alarms(rooms) == ["session_dead"]


def test_token_that_another_program_keeps_fresh_is_read_anew_for_each_attempt(
    world: World,
) -> None:
    printed = world.root / "token"
    with world.config.open("a") as config:
        config.write(f'[credentials.{CREDENTIAL}]\ncommand = ["cat", "{printed}"]\n')
    printed.write_text("outdated")
    with world.rooms() as rooms:
        world.deliver(rooms)
        assert rooms.deliveries.pending()[0].outcome == "session-refused"

        printed.write_text(f"{TOKEN}\n")
        world.later(61)
        world.fetch(rooms)

        assert events(rooms)[-1] == "stored"


def test_sessions_are_looked_at_daily_and_more_often_while_one_is_dead(world: World) -> None:
    world.token(jwt(world.now + timedelta(days=90)))
    with world.rooms() as rooms:
        care = SessionCare(rooms, _nothing)
        care.run()
        world.token("not a token")
        world.later(23 * 60)
        care.run()
        assert events(rooms) == []

        world.later(60)
        care.run()
        assert events(rooms) == ["session_dead"]

        world.token(TOKEN)
        world.later(30)
        care.run()
        assert events(rooms) == ["session_dead"]

        world.later(31)
        care.run()
        assert events(rooms) == ["session_dead", "session_renewed"]


def test_renewed_session_is_tried_within_minutes_where_an_export_waits(world: World) -> None:
    world.token("outdated")
    with world.rooms() as rooms:
        care = SessionCare(rooms, _nothing)
        care.run()
        world.deliver(rooms)
        asked = len(world.downloads.requests)
        world.later(6)
        care.run()
        world.fetch(rooms)
        assert len(world.downloads.requests) == asked  # the same token: nobody asks in vain

        world.token(TOKEN)
        world.later(6)
        care.run()
        world.fetch(rooms)

        assert events(rooms)[-1] == "stored"


def test_restart_with_the_same_session_does_not_ask_again_before_its_time(world: World) -> None:
    world.token("outdated")
    with world.rooms() as rooms:
        look(world, rooms)
        world.deliver(rooms)
        asked = len(world.downloads.requests)
    for _ in range(3):
        world.later(1)
        with world.rooms() as rooms:
            look(world, rooms)
            world.fetch(rooms)

    assert len(world.downloads.requests) == asked


def test_refusal_is_remembered_after_the_export_came_by_another_way(world: World) -> None:
    """The next export would meet the same wall: a token that looks good is not."""
    world.token("outdated")
    with world.rooms() as rooms:
        world.deliver(rooms)
        look(world, rooms)
        assert open_alarms(rooms) == ["sign_in_needed"]
        world.imported(rooms)
    with world.rooms() as rooms:
        look(world, rooms)
        assert open_alarms(rooms) == ["session_dead"]
        assert at_a_glance(rooms).exit_code == 21

        world.token(TOKEN)
        look(world, rooms)
        assert open_alarms(rooms) == []


def test_account_is_signed_in_by_the_session_of_its_prefix(world: World) -> None:
    prefix = EXPORT.file_name[:12]
    with world.config.open("a") as config:
        for name, start in (("me", prefix), ("near", prefix[:6]), ("other", "ffff0000")):
            config.write(f'[accounts.{name}]\nprefix = "{start}"\nsession = "bearer"\n')
            config.write(f'session_credential = "session-{name}"\n')
    for name in ("personal", "near", "other"):
        (world.credentials / f"session-{name}").write_text("outdated")
    (world.credentials / "session-me").write_text(TOKEN)
    with world.rooms() as rooms:
        world.deliver(rooms)

        assert events(rooms)[-1] == "stored"
        assert len(world.downloads.requests) == 1


def test_doctor_names_a_session_that_will_not_do(world: World) -> None:
    settings = load(world.config)
    credentials = Credentials(
        settings.credentials, {"CREDENTIALS_DIRECTORY": str(world.credentials)}
    )
    found = {}
    for token in (jwt(world.now), jwt(world.now + timedelta(days=9)), TOKEN, "two words"):
        world.token(token)
        findings = sessions_at_hand(settings, credentials, world.now)
        found |= {token: [one.verdict.value for one in findings]}
    credentials.close()

    assert list(found.values()) == [["failed"], ["caution"], ["ok"], ["failed"]]
