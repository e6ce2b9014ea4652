"""Small exports for the store's tests, and a file system that fails or ends the process."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from backupd.store.fsio import FileSystem
from backupd.store.repository import Added, Origin, Repository
from tests.support import FULL

T = TypeVar("T")
KILLED = 137
WORDS = "the quick brown fox jumps over a lazy dog while nobody watches from the old stone wall"


def origin(name: str = "export.zip", day: int = 1) -> Origin:
    """Say that an export came by hand on a day of November 2026."""
    return Origin(name, datetime(2026, 11, day, 9, 30, tzinfo=UTC), "import")


def conversation(number: int, turns: int = 6, seed: int = 0) -> dict[str, object]:
    """Make one conversation; the same arguments give the same text."""
    dice = random.Random(f"{number}/{seed}")
    mapping = {}
    for turn in range(turns):
        dice_turn = random.Random(f"{number}/{turn}")
        text = " ".join(dice_turn.choices(WORDS.split(), k=60)) + " <b>&'\"\\ end"
        mapping[f"node-{number}-{turn}"] = {"message": {"content": {"parts": [text]}}}
    return {
        "title": f"Talk {number}",
        "create_time": 1.7e9 + number,
        "mapping": mapping,
        "conversation_id": f"{number:08d}-aaaa-4bbb-8ccc-ddddeeeeffff",
        "noise": dice.random() if seed else 0,
    }


def export_bytes(
    conversations: list[dict[str, object]], assets: dict[str, bytes] | None = None, day: int = 1
) -> bytes:
    """Make a ZIP of the 2023 kind; `day` changes its time stamps only."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:

        def put(name: str, data: bytes) -> None:
            archive.writestr(_entry(name, day), data)

        put("user.json", b'{"id": "user-abc", "email": "a@example.org"}')
        put("conversations.json", json.dumps(conversations).encode())
        page = "<html><script>var jsonData = " + json.dumps(conversations) + ";</script></html>"
        put("chat.html", page.encode())
        for name, data in (assets or {}).items():
            put(name, data)
    return target.getvalue()


def _entry(name: str, day: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (2026, 11, day, 9, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def week(number: int) -> bytes:
    """Make the export of a week.

    Some conversations grow, some are new, one is in this week only; one picture is new.
    """
    numbers = (100 + number, *range(1, 20 + number))
    talks = [conversation(n, turns=6 + (number if n % 5 == 0 else 0)) for n in numbers]
    pictures = {f"file-{n}.png": random.Random(n).randbytes(3000) for n in range(3 + number)}
    return export_bytes(talks, pictures, day=number)


def put(repository: Repository, directory: Path, data: bytes, day: int = 1) -> Added:
    """Add an export given as bytes."""
    source = directory / f"source-{day}.zip"
    source.write_bytes(data)
    return repository.add(source, origin(source.name, day))


def copied(template: Path, target: Path) -> Path:
    """Copy a closed repository, modes kept."""
    shutil.copytree(template, target)
    return target


@dataclass(frozen=True)
class Fault:
    """What happens at one operation, and whether at all later ones too."""

    at: int
    how: str
    for_ever: bool = False


class FaultyFs(FileSystem):
    """Counts operations and lets the one numbered `fault.at` go wrong.

    `how`: "before" and "after" end the process there, "half" ends it after half of a write; the
    name of an errno fails the operation; "short" writes less than asked and goes on.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.names: list[str] = []
        self.paths: list[Path] = []
        self._fault = fault

    def operate(self, name: str, path: Path, action: Callable[[], T]) -> T:
        """Do one step, or what the fault says."""
        number = len(self.names)
        self.names.append(name)
        self.paths.append(path)
        if not self._strikes(number):
            return super().operate(name, path, action)
        assert self._fault is not None
        how = self._fault.how
        if how == "before":
            os._exit(KILLED)
        if how in ("after", "half", "short"):
            result = super().operate(name, path, action)
            if how != "short":
                os._exit(KILLED)
            return result

        def fail() -> T:
            number = getattr(errno, how)
            raise OSError(number, os.strerror(number))

        return super().operate(name, path, fail)

    def write_some(self, descriptor: int, data: memoryview, path: Path) -> int:
        """Write a part only, where the fault says so."""
        if self._fault and self._fault.how in ("half", "short") and self._strikes(len(self.names)):
            data = data[: max(1, len(data) // 2)]
        return super().write_some(descriptor, data, path)

    @property
    def struck(self) -> str | None:
        """The name of the first operation that went wrong; None if so many were not done."""
        at = self._fault.at if self._fault else len(self.names)
        return self.names[at] if at < len(self.names) else None

    def _strikes(self, number: int) -> bool:
        fault = self._fault
        if fault is None:
            return False
        return number == fault.at or (fault.for_ever and number > fault.at)


def in_child(target: Callable[..., None], *arguments: object) -> int:
    """Call a function in a process of its own; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backupd.store.repository", "tests.support.operations"])
    child = context.Process(target=target, args=arguments)
    child.start()
    child.join(60)
    assert child.exitcode is not None, "the child hangs"
    code = child.exitcode
    child.close()
    return code


def files_below(root: Path) -> set[str]:
    """Name all files of a repository but the derived ones and the lock."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in ("cache", "lock")
    }


def sample(count: int, most: int) -> list[int]:
    """Pick points 0…count-1 evenly, all of them under BACKUPD_FULL=1."""
    if FULL or count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
