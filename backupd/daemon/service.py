"""The daemon process: signals, reloads, the service manager's protocol.

SIGTERM and SIGINT end it, SIGHUP reloads the configuration; a file with problems keeps the old
settings and is told of. READY=1 is sent once every loop has been started.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from datetime import timedelta

from backupd import __version__, notice
from backupd.config import Settings
from backupd.credentials import Credentials
from backupd.daemon.instance import only_instance
from backupd.daemon.session import Session
from backupd.errors import BackupdError, ConfigError
from backupd.export import selftest
from backupd.intake.rooms import Rooms
from backupd.ledger.db import LedgerFailed
from backupd.systemd import service_manager

log = logging.getLogger(__name__)

FAREWELL = 4.0
"""Seconds a stop waits for the loops; the process may end after that (everything is durable)."""
CHANGEOVER = 3600.0
"""Seconds a reload waits for an export that is being stored."""
LAST_TURN = timedelta(seconds=1)
"""How long the last notices may hold up a stop; what is not sent waits in the outbox."""

Load = Callable[[], Settings]
OpenRooms = Callable[[Settings], tuple[Rooms, Credentials]]


class Service:
    """Runs sessions until it is told to stop."""

    def __init__(self, load: Load, open_rooms: OpenRooms) -> None:
        self._load = load
        self._open_rooms = open_rooms
        self._manager = service_manager()
        self._signal = threading.Event()
        self._ending = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            ConfigError, RepositoryMissing, RepositoryLocked, LedgerFailed: at the start only.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        settings = self._load()
        with only_instance(settings.state.path):
            while not self._ending:
                settings = self._serve(settings)

    def _serve(self, settings: Settings) -> Settings:
        rooms, credentials = self._open_rooms(settings)
        idle = True
        try:
            session = Session(rooms, credentials, self._manager)
            session.start()
            _tell(rooms, notice.service_started(version=__version__))
            if not selftest.zlib_reproduces():
                version = selftest.zlib_version()
                _tell(rooms, notice.zlib_differs(version=version, remedy=selftest.REMEDY))
            self._manager.ready(session.status())
            settings = self._wait(rooms, settings)
            if self._ending:
                self._manager.stopping()
            else:
                self._manager.reloading()
            idle = session.stop(lambda: FAREWELL if self._ending else CHANGEOVER)
            if self._ending:
                _tell(rooms, notice.service_stopped(version=__version__))
            _flush(rooms)
        finally:
            credentials.close()
            if idle:
                rooms.close()
        return settings

    def _wait(self, rooms: Rooms, settings: Settings) -> Settings:
        """Wait for a signal; on SIGHUP return the new settings, if they can be used."""
        while True:
            self._signal.wait()
            self._signal.clear()
            if self._ending:
                return settings
            try:
                return self._usable(settings)
            except BackupdError as error:
                log.error("reload: %s; the old settings stay", error.message)  # noqa: TRY400
                problems = error.problems if isinstance(error, ConfigError) else ()
                _tell(rooms, notice.reload_failed(problems=problems or (error.message,)))

    def _usable(self, old: Settings) -> Settings:
        """Load the settings anew and try whether what they name can be opened.

        Raises:
            BackupdError: it cannot; the session under way has not been touched.
        """
        settings = self._load()
        if settings.state.path != old.state.path:
            raise ConfigError(
                "reload configuration: [state] path cannot change while the daemon runs",
                hint="restart the daemon",
            )
        rooms, credentials = self._open_rooms(settings)
        credentials.close()
        rooms.close()
        return settings

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            self._ending = True
        self._signal.set()


def _tell(rooms: Rooms, what: notice.Notice) -> None:
    """Publish a notice about the service; a full disk must neither end it nor hold up its end."""
    try:
        rooms.tell(what)
    except LedgerFailed as error:
        log.error("notice %s: %s; next: %s", what.event, error.message, error.hint)  # noqa: TRY400


def _flush(rooms: Rooms) -> None:
    try:
        rooms.notifier.flush(rooms.clock(), LAST_TURN)
    except LedgerFailed as error:
        log.error("last notices: %s", error.message)  # noqa: TRY400
