"""Drop folders: a ZIP that a person downloaded lands there and is stored.

A file counts as landed when it is a regular `*.zip` file that ends as a ZIP ends and has not
changed between two looks. It is removed from the folder only after its snapshot was rebuilt and
hashed equal (I4), or after its bytes lie in quarantine. Files under other names, links and
unfinished downloads are left alone.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backupd import notice
from backupd.errors import BackupdError, RepositoryLocked, StorageFull
from backupd.export.archive import ArchiveRefused, looks_complete
from backupd.export.layout import exported_at
from backupd.intake.handin import origin_of
from backupd.intake.rooms import Rooms
from backupd.intake.storing import store

log = logging.getLogger(__name__)

SETTLE = 2.0
"""Seconds between the two looks that decide whether a file has landed."""
PATIENCE = timedelta(minutes=10)
"""A file that has not changed for so long and is no complete ZIP is told of."""


@dataclass(frozen=True, slots=True)
class _Look:
    inode: int
    size: int
    changed_ns: int


class DropFolders:
    """The drop folders of all mailboxes; `alive` is called while long work goes on."""

    def __init__(self, rooms: Rooms, cancel: threading.Event, alive: Callable[[], None]) -> None:
        self._rooms = rooms
        self._cancel = cancel
        self._alive = alive
        self._looks: dict[Path, _Look] = {}
        self._since: dict[Path, tuple[_Look, datetime]] = {}
        self._done: dict[Path, _Look] = {}
        self._unreadable: set[Path] = set()
        self.unsettled = False
        """Whether the last scan saw a file that may have landed by the next one, a moment later."""

    def folders(self) -> list[Path]:
        """Return every configured folder once."""
        settings = self._rooms.settings.mailboxes.values()
        return sorted({mailbox.drop_folder for mailbox in settings if mailbox.drop_folder})

    def scan(self) -> int:
        """Store every file that has landed, oldest export first; returns how many were taken."""
        seen: dict[Path, _Look] = {}
        landed: list[Path] = []
        self.unsettled = False
        for path in self._zips():
            look = _look(path)
            if look is None or self._done.get(path) == look:
                continue
            seen[path] = look
            if self._looks.get(path) != look:
                self.unsettled = True
            elif (problem := _problem(path)) is None:
                landed.append(path)
            else:
                self._tell_waiting(path, look, problem)
        self._looks = seen
        self._since = {path: since for path, since in self._since.items() if path in seen}
        landed.sort(key=lambda path: (_time(path, seen[path]), path))
        return sum(self._take(path, seen[path]) for path in landed if not self._cancel.is_set())

    def settle(self) -> int:
        """Look twice, a moment apart, so that one call takes what has landed."""
        if not self._zips():
            return 0
        taken = self.scan()
        self._cancel.wait(SETTLE)
        return taken + self.scan()

    def _take(self, path: Path, look: _Look) -> int:
        origin = origin_of(path, "drop", self._rooms.clock())
        try:
            store(self._rooms, path, origin, None, lambda _stage, _done, _total: self._alive())
        except RepositoryLocked:
            log.info("drop folder: the repository is in use, the file waits")
            return 0
        except StorageFull:
            self._rooms.tell(notice.disk_low(delivery=None, missing=look.size, time_left=None))
            return 0
        except BackupdError as error:
            log.error("drop folder: %s", error.message)  # noqa: TRY400 - the message says it all
            self._tell_not_stored(path, error.message)
            return 0
        self._remove(path, look)
        return 1

    def _tell_not_stored(self, path: Path, reason: str) -> None:
        if _look(path) is None:
            return  # the person took it back
        self._rooms.tell(
            notice.not_stored(source="drop", reason=reason, delivery=None, file=path.name)
        )

    def _remove(self, path: Path, look: _Look) -> None:
        """Remove what was dealt with; a file that was replaced meanwhile is another file."""
        if _look(path) != look:
            return
        try:
            path.unlink()
        except OSError as error:
            log.warning("drop folder: a stored file cannot be removed: %s", error.strerror)
            self._done[path] = look
            self._rooms.tell(notice.not_removed(file=path.name, folder=str(path.parent)))

    def _tell_waiting(self, path: Path, look: _Look, problem: str) -> None:
        """Tell once of a file that does not change any more and still cannot be taken."""
        now = self._rooms.clock()
        known, since = self._since.setdefault(path, (look, now))
        if known != look:
            self._since[path] = (look, now)
        elif now - since >= PATIENCE:
            self._rooms.tell(
                notice.not_a_zip(file=path.name, folder=str(path.parent), reason=problem)
            )

    def _zips(self) -> list[Path]:
        """List the ZIPs in every folder; a folder that cannot be read is logged once."""
        found: list[Path] = []
        for folder in self.folders():
            try:
                found += sorted(one for one in folder.iterdir() if one.suffix.lower() == ".zip")
                self._unreadable.discard(folder)
            except OSError as error:
                if folder not in self._unreadable:
                    log.warning("drop folder %s cannot be read: %s", folder, error.strerror)
                self._unreadable.add(folder)
        return found


def _problem(path: Path) -> str | None:
    """Say why a file cannot be taken; None if it ends as a ZIP ends."""
    try:
        with path.open("rb") as file:
            looks_complete(file)
    except ArchiveRefused as refused:
        return refused.detail
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return None


def _time(path: Path, look: _Look) -> datetime:
    return exported_at(path.name) or datetime.fromtimestamp(look.changed_ns // 10**9, UTC)


def _look(path: Path) -> _Look | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _Look(found.st_ino, found.st_size, found.st_mtime_ns)
