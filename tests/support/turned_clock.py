"""The intake room with a real ledger, repository and TLS servers, by a clock that a test turns.

What the daemon's loops do in a day is done here as fast as the machine can: `live` turns the clock
from one due moment to the next, as the loops would have it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backupd.config import load
from backupd.demo import mails
from backupd.demo.answers import Plan
from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.exports.series import GeneratedExport
from backupd.intake.arrival import Arrivals
from backupd.intake.care import Care
from backupd.intake.fetching import Fetcher
from backupd.intake.overview import Overview, overview
from backupd.ledger.delivery import Delivery
from backupd.ledger.notices import LoggedNotice, NoticeLog
from backupd.mail.watcher import Watcher
from backupd.store.repository import Repository
from backupd.wiring import open_rooms
from tests.support.scripted_imap import ScriptedImap

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(minutes=5)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class World:
    """Rooms, servers and the clock of one test."""

    def __init__(self, root: Path, clock: Clock, downloads: DownloadServer, ca: Path) -> None:
        self.root = root
        self.clock = clock
        self.downloads = downloads
        connect_to = ", ".join(f'"{a}" = "{b}"' for a, b in downloads.connect_to.items())
        self.config = root / "config.toml"
        self.config.write_text(
            f'[repository]\npath = "{root}/repository"\n[state]\npath = "{root}/state"\n'
            f'[download]\nca_file = "{ca}"\nconnect_to = {{ {connect_to} }}\n'
            '[mailboxes.personal]\nhost = "localhost"\nusername = "demo"\n'
            f'authserv_id = "mx.example.org"\ndrop_folder = "{root}/drop"\n'
        )
        Repository.create(root / "repository").close()
        self.start()

    def start(self) -> None:
        """Open the rooms, as a daemon does when it starts."""
        self.rooms, self._credentials = open_rooms(load(self.config), self.clock)
        self.cancel = threading.Event()
        self.fetcher = Fetcher(self.rooms, self.cancel, lambda: None)
        self.care = Care(self.rooms, self.fetcher, lambda: None)
        self.fetcher.recover()

    def stop(self) -> None:
        """Close the rooms, as a daemon does when it ends."""
        self._credentials.close()
        self.rooms.close()

    def offer(self, export: GeneratedExport, **plan: object) -> Path:
        """Write an export and serve it as a plan says."""
        path = self.root / export.file_name
        if not path.exists():
            export.write(path)
        self.downloads.offer(export.file_name, path, Plan(**plan))  # type: ignore[arg-type]
        return path

    def receive(
        self,
        export: GeneratedExport,
        at: datetime | None = None,
        date: datetime | None = None,
        *,
        azure: bool = False,
    ) -> Delivery:
        """Take in a genuine mail: `at` is the server's time, `date` the mail's own, else now."""
        at = at or self.clock()
        url = (mails.azure_url if azure else mails.estuary_url)(export.file_name, at)
        raw = mails.ready(mails.Envelope(date or at), url)
        Arrivals(self.rooms, lambda: None).found("personal", "INBOX", 1, 1, raw, at)
        found = self.rooms.deliveries.of_file(export.file_name)
        assert found is not None
        return found

    def read_mailbox(self, server: ScriptedImap) -> None:
        """Read the mailbox once, over the wire."""
        settings = server.settings(self.root)
        sink = Arrivals(self.rooms, lambda: None)
        Watcher("personal", settings, lambda: server.password, sink, self.clock).poll_once()

    def tick(self) -> None:
        """Do what is due at this moment."""
        self.care.watch_deadlines()
        self.fetcher.run_due()

    def live(self, until: datetime, most: timedelta = TICK) -> None:
        """Let time pass up to then; attempts are made when they are due."""
        while self.clock.now < until:
            self.tick()
            times = [one.next_attempt_at for one in self.rooms.deliveries.pending()]
            due = [at for at in times if at is not None and at > self.clock.now]
            self.clock.now = min([*due, self.clock.now + most, until])
        self.tick()

    def delivery(self, export: GeneratedExport) -> Delivery:
        """Return the delivery of an export."""
        found = self.rooms.deliveries.of_file(export.file_name)
        assert found is not None
        return found

    def notices(self, event: str = "") -> list[LoggedNotice]:
        """Return what was told, of one event or of all."""
        log = NoticeLog(self.rooms.database).list(500)
        return [entry for entry in log if event in ("", entry.event)]

    def events(self) -> list[str]:
        """Return the events that were told, oldest first."""
        return [entry.event for entry in self.notices()]

    def at_a_glance(self) -> Overview:
        """Return what `status` shows."""
        rooms = self.rooms
        return overview(
            rooms.settings, rooms.deliveries, rooms.messages, rooms.repository, self.clock()
        )


@contextmanager
def turned_world(root: Path, now: datetime = START) -> Iterator[World]:
    """Set everything up below `root`."""
    (root / "drop").mkdir()
    authority = Authority()
    ca = authority.write_ca(root / "ca.pem")
    with DownloadServer(authority) as downloads:
        world = World(root, Clock(now), downloads, ca)
        try:
            yield world
        finally:
            world.stop()
