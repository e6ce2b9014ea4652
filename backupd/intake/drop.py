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
from pathlib import Path

from backupd import notice
from backupd.errors import BackupdError, RepositoryLocked, StorageFull
from backupd.export.archive import ArchiveRefused, looks_complete
from backupd.intake.rooms import Rooms
from backupd.intake.storing import store
from backupd.store.repository import Origin

log = logging.getLogger(__name__)

SETTLE = 2.0
"""Seconds between the two looks that decide whether a file has landed."""


@dataclass(frozen=True, slots=True)
class _Look:
    inode: int
    size: int
    changed_ns: int


class DropFolders:
    """The drop folders of all mailboxes; `alive` is called while long work goes on."""

    def __init__(self, rooms: Rooms, alive: Callable[[], None]) -> None:
        self._rooms = rooms
        self._alive = alive
        self._looks: dict[Path, _Look] = {}
        self.unsettled = False
        """Whether the last scan saw a file that may have landed by the next one, a moment later."""

    def folders(self) -> list[Path]:
        """Return every configured folder once."""
        settings = self._rooms.settings.mailboxes.values()
        return sorted({mailbox.drop_folder for mailbox in settings if mailbox.drop_folder})

    def scan(self) -> int:
        """Store every file that has landed; returns how many were taken."""
        seen: dict[Path, _Look] = {}
        taken = 0
        self.unsettled = False
        for folder in self.folders():
            for path in _zips(folder):
                look = _look(path)
                if look is None:
                    continue
                if self._looks.get(path) == look and _complete(path):
                    taken += self._take(path, look)
                else:
                    self.unsettled |= self._looks.get(path) != look
                    seen[path] = look
        self._looks = seen
        return taken

    def settle(self, cancel: threading.Event) -> int:
        """Look twice, a moment apart, so that one call takes what has landed."""
        if not any(_zips(folder) for folder in self.folders()):
            return 0
        taken = self.scan()
        cancel.wait(SETTLE)
        return taken + self.scan()

    def _take(self, path: Path, look: _Look) -> int:
        origin = Origin(
            file_name=path.name,
            received_at=self._rooms.clock(),
            source="drop",
            delivery=None,
            mailbox=None,
        )
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
            part, kind = "drop folder", type(error).__name__
            self._rooms.tell(notice.internal_error(part=part, kind=kind))
            return 0
        if _look(path) == look:
            path.unlink()
        return 1


def _zips(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".zip")
    except OSError as error:
        log.warning("drop folder cannot be read: %s", error.strerror)
        return []


def _look(path: Path) -> _Look | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return _Look(found.st_ino, found.st_size, found.st_mtime_ns)


def _complete(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            looks_complete(file)
    except (ArchiveRefused, OSError):
        return False
    return True
