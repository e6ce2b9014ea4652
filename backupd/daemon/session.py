"""One configuration's life: its mailboxes' loops, its fetch loop, its jobs.

A reload ends the session at a safe point and a new one begins; what was in mid-air is in the
ledger. Stopping cancels a running download between two chunks and closes the mail sockets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from backupd import notice
from backupd.credentials import Credentials
from backupd.daemon.jobs import ClockWatch, Jobs
from backupd.daemon.loops import Loop
from backupd.errors import BackupdError
from backupd.intake.arrival import Arrivals
from backupd.intake.care import Care
from backupd.intake.deadline import status_line
from backupd.intake.drop import SETTLE, DropFolders
from backupd.intake.fetching import Fetcher
from backupd.intake.mailkeys import MailKey, mail_key
from backupd.intake.rooms import Rooms
from backupd.intake.sessions import SessionCare
from backupd.ledger.db import LedgerFailed
from backupd.ledger.delivery import State
from backupd.mail.watcher import Watcher
from backupd.systemd import ServiceManager

log = logging.getLogger(__name__)

TICK = timedelta(seconds=30)
EAGER = 5.0
"""Seconds between two looks into the drop folders while a person is asked to put a file there."""
DEAF = 170.0
"""Seconds without a sign of life after which a loop counts as hung."""
OUTBOX_TURN = timedelta(seconds=60)
"""How long one turn of the outbox may take; what is left waits for the next."""
LAST_REFRESH = 3.0
"""Seconds at the end for a sign-in that is being refreshed: its new token must not be lost."""
LAST_SEND = 0.5
"""Seconds at the end for a channel that does not answer; its notice stays in the outbox."""


class Session:
    """Everything that runs under one set of settings."""

    def __init__(self, rooms: Rooms, credentials: Credentials, manager: ServiceManager) -> None:
        self._rooms = rooms
        self._manager = manager
        self._stop = threading.Event()
        self._due = threading.Event()
        self._clock_watch = ClockWatch()
        self._arrivals = Arrivals(rooms, self._due.set)
        self._fetch_loop = Loop("fetch", self._fetch, self._stop, self._failed)
        self._fetcher = Fetcher(rooms, self._stop, self._fetch_loop.alive)
        self._drop_loop = Loop("drop", self._take_drops, self._stop, self._failed)
        self._drops = DropFolders(rooms, self._stop, self._drop_loop.alive)
        self._drop_bell = threading.Event()
        self._outbox_bell, self._care_bell = threading.Event(), threading.Event()
        self._outbox_loop = Loop("outbox", self._outbox, self._stop, self._failed)
        self._care_loop = Loop("care", self._look_after, self._stop, self._failed)
        self._care = Care(rooms, self._fetcher, self._care_loop.alive)
        self._keys: list[MailKey] = []
        self._sessions = SessionCare(rooms, self._care_loop.alive)
        self._watchers = [self._watcher(name, credentials) for name in rooms.settings.mailboxes]
        self._loops = [
            self._fetch_loop,
            self._drop_loop,
            self._outbox_loop,
            self._care_loop,
            *map(self._mail_loop, self._watchers),
        ]
        self._jobs = Jobs(self._failed)

    def start(self) -> None:
        """Start every loop and job."""
        self._fetcher.recover()
        self._fetcher.tidy()
        for loop in self._loops:
            loop.start()
        pulse = timedelta(seconds=self._manager.pulse(TICK.total_seconds()))
        self._jobs.every("tick", pulse, self._tick)
        self._jobs.every("outbox", timedelta(seconds=60), self._outbox_bell.set)
        self._jobs.every("care", timedelta(minutes=15), self._care_bell.set)
        self._jobs.start()

    def stop(self, patience: Callable[[], float]) -> bool:
        """End the session; say whether every loop that uses the rooms has ended.

        `patience` is asked again and again how many seconds to wait for that. What is left is
        durable or begun anew: the process may end, but the rooms must stay open.
        """
        self._stop.set()
        for bell in (self._due, self._drop_bell, self._outbox_bell, self._care_bell):
            bell.set()
        for watcher in self._watchers:
            watcher.wake()
        self._jobs.stop()
        idle = self._farewell(patience)
        for key in self._keys:
            key.close(LAST_REFRESH)
        return idle

    def _farewell(self, patience: Callable[[], float]) -> bool:
        """Wait for the loops, feeding the watchdog as long as those that still work are alive."""
        began = time.monotonic()
        while running := [loop for loop in self._loops if not loop.join(0)]:
            passed = time.monotonic() - began
            if running == [self._outbox_loop] and passed > LAST_SEND:
                return True
            if passed > patience():
                log.warning("still at work: %s", ", ".join(loop.name for loop in running))
                return False
            if all(loop.age() < DEAF for loop in running):
                self._manager.alive()
            running[0].join(0.1)
        return True

    def _watcher(self, name: str, credentials: Credentials) -> Watcher:
        rooms = self._rooms
        settings = rooms.settings.mailboxes[name]
        key = mail_key(settings, credentials, rooms.messages, rooms.clock, rooms.tell)
        self._keys.append(key)
        poll = rooms.settings.schedule.poll
        return Watcher(name, settings, key.get, self._arrivals, rooms.clock, poll, renew=key.renew)

    def _mail_loop(self, watcher: Watcher) -> Loop:
        return Loop(
            f"mail {watcher.name}",
            lambda: watcher.run(self._stop),
            self._stop,
            self._failed,
            lambda: watcher.heartbeat,
        )

    def _fetch(self) -> None:
        while not self._stop.is_set():
            self._fetch_loop.rest(self._due, self._pause())
            if self._fetcher.run_due():
                self._drop_bell.set()  # a delivery may need a person now: look eagerly

    def _pause(self) -> float:
        now, longest = self._rooms.clock(), TICK.total_seconds()
        pending = self._rooms.deliveries.pending()
        times = [delivery.next_attempt_at for delivery in pending if delivery.next_attempt_at]
        soonest = min(((at - now).total_seconds() for at in times), default=longest)
        return min(max(soonest, 0.0), longest)

    def _take_drops(self) -> None:
        """Look into the drop folders; in a loop of its own, for a download may take hours."""
        while not self._stop.is_set():
            self._drops.scan()
            self._drop_loop.rest(self._drop_bell, self._drop_pause())

    def _drop_pause(self) -> float:
        if self._drops.unsettled:
            return SETTLE
        pending = self._rooms.deliveries.pending()
        asked = any(delivery.state is State.NEEDS_YOU for delivery in pending)
        return EAGER if asked and self._drops.folders() else TICK.total_seconds()

    def _tick(self) -> None:
        if self._clock_watch.jumped():
            log.info("the clock jumped or the machine slept: looking at everything again")
            self._jobs.wakeup()
            self._due.set()
            for watcher in self._watchers:
                watcher.wake()
        self._care.watch_deadlines()
        hung = [loop.name for loop in self._loops if loop.age() > DEAF]
        if hung:
            log.error("no sign of life from %s: the watchdog is not fed", ", ".join(hung))
        else:
            self._manager.alive()
        self._manager.status(self.status())

    def status(self) -> str:
        """Say in one line what is watched, what is pending, and how long there is."""
        return status_line(
            len(self._watchers),
            self._rooms.deliveries.pending(),
            self._rooms.messages.requests(),
            self._rooms.clock(),
        )

    def _outbox(self) -> None:
        while not self._stop.is_set():
            self._outbox_loop.rest(self._outbox_bell, TICK.total_seconds())
            self._rooms.notifier.flush(self._rooms.clock(), OUTBOX_TURN)

    def _look_after(self) -> None:
        while not self._stop.is_set():
            self._care_loop.rest(self._care_bell, TICK.total_seconds())
            self._sessions.run()
            self._care.run()

    def _failed(self, name: str, error: BaseException) -> None:
        if isinstance(error, BackupdError):
            log.error("%s failed: %s; next: %s", name, error.message, error.hint)
        else:
            log.error("%s failed: %s", name, type(error).__name__, exc_info=error)
        try:
            self._rooms.tell(notice.internal_error(part=name, kind=type(error).__name__))
        except LedgerFailed as failed:
            log.error("%s; a notice could not be recorded", failed.message)  # noqa: TRY400
