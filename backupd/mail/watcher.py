"""Watch one mailbox for ever: IDLE tells early, a poll on a fresh connection tells for sure.

How it runs. `run` starts one worker thread that talks to the server, and itself only waits for
`stop`; so it returns within a second even if the worker hangs in a name lookup. The worker:

1. connects and makes a *pass*: every folder searched, what is found handed to the sink;
2. opens the first folder again, and if nothing came since it was searched, waits in IDLE there.
   Whatever the server says is only a hint: a pass follows each exit from IDLE. The first wait
   after news is short, for servers that do not announce what came just before; IDLE is renewed
   before 9 minutes are over;
3. begins again on a *fresh* connection every poll interval. If IDLE is deaf, or is not offered,
   this finds the mail.

The rules that must stay in this file:

- A refused login is told once and not tried again until `wake`.
- All else is tried again for ever, with growing, jittered pauses. One failure alone is no news.
- At most one pass a second, whatever the server sends: never a busy loop.
- `heartbeat` moves only when the worker does; every exchange with a server is limited in time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.errors import BackupdError, CredentialError, MailboxRefused, MailboxUnreachable
from backupd.mail.guard import Guard
from backupd.mail.login import ServerSettings
from backupd.mail.mailbox import (
    FolderMissing,
    Idling,
    Session,
    connect,
    watched_folders,
)
from backupd.mail.message import safe
from backupd.mail.sink import Sink
from backupd.mail.sweep import Sweep

__all__ = ["Pace", "Sink", "Watcher"]

log = logging.getLogger(__name__)

FAREWELL = 0.8
NEWS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """The pauses of a watcher, in seconds.

    `idle`: the longest wait in one IDLE (some servers drop it after 10 minutes, routers earlier);
    `settle`: the first, short one; `tick`: how often a quiet watcher gives a sign of life; `rest`:
    the least time from one pass to the next; `retry`: the first pause after a failure, doubled
    each time up to `retry_most`; `steady`: a connection that lived longer was a good one.
    """

    idle: float = 540
    settle: float = 2
    tick: float = 30
    rest: float = 1
    retry: float = 2
    retry_most: float = 300
    steady: float = 60


class Watcher:
    """One mailbox. `run` is called once; `wake` and `heartbeat` may be used from any thread."""

    def __init__(
        self,
        name: str,
        settings: ServerSettings,
        secret: Callable[[], str],
        sink: Sink,
        clock: Callable[[], datetime],
        poll: timedelta = timedelta(minutes=5),
        *,
        pace: Pace | None = None,
        renew: Callable[[str], str | None] | None = None,
    ) -> None:
        """Prepare; `renew` gives another secret in place of a refused one, or None."""
        self.name = name
        self._settings = settings
        self._secret = secret
        self._renew = renew
        self._sink = sink
        self._clock = clock
        self._poll = poll.total_seconds()
        self._pace = pace or Pace()
        self._sweep = Sweep(name, sink, clock)
        self._stop = threading.Event()
        self._kick = threading.Event()
        self._lock = threading.Lock()
        self._guards: list[Guard] = []
        self._remembered: str | None = None
        self._idling = False
        self._crash: BaseException | None = None
        self._heartbeat = time.monotonic()
        self._healthy = False
        self._since: datetime | None = None
        self._missing: tuple[str, ...] = ()
        self._failures = 0
        self._short_lives = 0
        self._last_pass = -self._pace.rest

    @property
    def heartbeat(self) -> float:
        """Monotonic time of the worker's last sign of life, at most about two minutes ago."""
        return self._heartbeat

    def wake(self) -> None:
        """Begin anew at once: after a reload, a changed credential, a sleep of the machine."""
        self._remembered = None
        self._kick.set()
        if self._idling:
            self._abort()

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set, then return within a second.

        A server's failures never end it. Raises what the sink raises, unless that is transient.
        """
        self._stop, self._crash = stop, None
        worker = threading.Thread(target=self._work, name=f"mailbox-{self.name}", daemon=True)
        worker.start()
        while worker.is_alive() and not stop.wait(1.0):
            pass
        self._kick.set()
        self._abort()
        worker.join(FAREWELL)
        if self._crash is not None:
            raise self._crash

    def poll_once(self) -> int:
        """Make one pass on a fresh connection; return how many mails were handed over.

        Raises:
            MailboxUnreachable, MailboxRefused, CredentialError: the sink was not told of it.
        """
        with self._session() as session:
            found, missing = self._search(session, watched_folders(session, self._settings))
            if missing:
                raise self._missing_folders(session, missing)
        return found

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self._kick.clear()
                self._rest(self._live())
        except BaseException as crash:  # noqa: BLE001 - raised again by run, in the caller's thread
            self._crash = crash

    def _live(self) -> float:
        """Watch until something fails or `wake` is called; return the pause to make then."""
        began = time.monotonic()
        try:
            self._watch()
        except BackupdError as problem:
            if self._leaving():
                return 0.0
            steady = time.monotonic() - began > self._pace.steady
            self._short_lives = 0 if steady else self._short_lives + 1
            return self._trouble(problem)
        return 0.0

    def _trouble(self, problem: BackupdError) -> float:
        """Tell of a failure if it is news; return the pause before the next try."""
        told = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
        if isinstance(problem, MailboxRefused | CredentialError) and not problem.transient:
            log.error("mailbox %s: %s", self.name, told)
            self._healthy = False
            self._sink.refused(self.name, told)
            return float("inf")
        if not problem.transient:
            raise problem
        log.info("mailbox %s: %s", self.name, told)
        if isinstance(problem, MailboxUnreachable | CredentialError):
            self._failures += 1
            self._since = self._since or self._clock()
            if self._failures >= NEWS:
                self._healthy = False
                self._sink.unreachable(self.name, told, self._since)
        pause = self._pace.retry * 2.0 ** (min(self._short_lives, 20) - 1)
        return min(pause, self._pace.retry_most) * random.SystemRandom().uniform(0.5, 1.0)

    def _watch(self) -> None:
        """Connect, and watch on ever fresh connections until `wake` or an exception."""
        while not self._leaving():
            with self._session() as session:
                due = time.monotonic() + self._poll
                folders = self._pass(session)
                if folders and session.can_idle:
                    self._idle(session, folders, due)
            self._rest(due - time.monotonic())

    def _idle(self, session: Session, folders: tuple[str, ...], due: float) -> None:
        """Wait in IDLE until `due`, with a pass after each exit from it."""
        wait = self._pace.settle
        while not self._leaving() and time.monotonic() < due:
            until = min(time.monotonic() + wait, due)
            changed = self._sweep.is_behind(session, folders[0]) or self._idle_once(session, until)
            if self._leaving():
                return
            self._rest(self._last_pass + self._pace.rest - time.monotonic())
            self._pass(session)
            wait = self._pace.settle if changed else self._pace.idle

    def _idle_once(self, session: Session, until: float) -> bool:
        """Stay in IDLE until then or until the server says something; tell whether it did."""
        if not session.enter_idle():
            return True
        self._idling = True
        try:
            state = Idling.QUIET
            while state is Idling.QUIET and not self._leaving() and time.monotonic() < until:
                self._beat()
                began = time.monotonic()
                state = session.wait_idle(max(0.1, min(self._pace.tick, until - began)))
                if state is Idling.QUIET and time.monotonic() - began < 0.1:
                    self._stop.wait(0.2)
            session.leave_idle()
        finally:
            self._idling = False
        return state is Idling.CHANGED

    def _pass(self, session: Session) -> tuple[str, ...]:
        """Search all folders and keep the books about trouble; return the folders that are there.

        Raises:
            MailboxUnreachable: also if none of the folders is there.
        """
        self._last_pass = time.monotonic()
        folders = watched_folders(session, self._settings)
        _, missing = self._search(session, folders)
        present = tuple(folder for folder in folders if folder not in missing)
        if not present:
            raise self._missing_folders(session, missing)
        self._failures = 0
        if missing != self._missing and missing:
            self._healthy = False
            problem = self._missing_folders(session, missing)
            self._sink.unreachable(self.name, problem.message, self._since or self._clock())
        elif not missing:
            self._since = None
            if not self._healthy:
                self._healthy = True
                self._sink.recovered(self.name)
        self._missing = missing
        return present

    def _search(self, session: Session, folders: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        """Search each folder; return how many mails were new, and the folders that are missing."""
        found, missing = 0, []
        for folder in folders:
            self._beat()
            try:
                found += self._sweep.folder(session, folder)
            except FolderMissing:
                missing.append(folder)
        return found, tuple(missing)

    def _missing_folders(self, session: Session, missing: tuple[str, ...]) -> MailboxUnreachable:
        there = safe(", ".join(name for name, _ in session.folders()), 300)
        return MailboxUnreachable(
            f"open folder {safe(', '.join(missing), 200)}: it is not there; the server has {there}",
            "correct `folders` of the mailbox",
        )

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """Log in on a new connection, which `_abort` can break off, and close it at the end."""
        guard = Guard(self._beat)
        with self._lock:
            self._guards.append(guard)
        try:
            if self._stop.is_set():
                guard.abort()
            session = self._login(guard)
            try:
                yield session
            finally:
                session.close()
        finally:
            with self._lock:
                self._guards.remove(guard)

    def _login(self, guard: Guard) -> Session:
        """Connect with the password that worked last; ask for it if there is none or it changed.

        Asking each time would run a password program, which may want a person, at each poll. A
        token is always asked for: it is short-lived. One refused secret is answered with another
        one at most once.
        """
        known = self._remembered
        secret = known or self._secret()
        try:
            session = connect(self._settings, secret, guard)
        except MailboxRefused:
            self._remembered = None
            other = self._other(secret, known)
            if other is None:
                raise
            secret = other
            session = connect(self._settings, secret, guard)
        self._remembered = secret if self._settings.auth == "password" else None
        return session

    def _other(self, refused: str, known: str | None) -> str | None:
        """Return a secret that may do better than a refused one, if there is any."""
        if self._renew is not None:
            return self._renew(refused)
        if known is None:
            return None
        asked = self._secret()
        return None if asked == known else asked

    def _abort(self) -> None:
        with self._lock:
            for guard in self._guards:
                guard.abort()

    def _rest(self, seconds: float) -> None:
        """Pause until `wake`, the stop, or so long, with signs of life."""
        until = time.monotonic() + seconds
        while not self._leaving() and (left := until - time.monotonic()) > 0:
            self._beat()
            self._kick.wait(min(left, self._pace.tick))

    def _leaving(self) -> bool:
        return self._stop.is_set() or self._kick.is_set()

    def _beat(self) -> None:
        self._heartbeat = time.monotonic()
