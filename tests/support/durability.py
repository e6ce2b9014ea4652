"""A model of what a disk may hold after a power cut: all that is durable, any part of the rest.

`Recorder` follows every step of a store. A file's bytes are durable from its fsync on, a name from
the fsync of its directory on; nothing else is. `State` is one moment; `write` makes a tree that a
disk may show after a cut at that moment. Harsher than most file systems: a directory that was not
synced may miss any of its new names, whatever was synced elsewhere meanwhile.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from backupd.store.fsio import FileSystem

T = TypeVar("T")
Entries = dict[str, int | None]  # a name, and the file's number; None is a directory


class Luck(Enum):
    """Which of the steps that were not made durable are on the disk all the same."""

    NONE = "nothing"
    NAMES = "all names, no bytes"
    MIXED = "some of all"


@dataclass(frozen=True)
class State:
    """One moment: durable and present entries of each directory, durable and present bytes."""

    step: str
    durable: dict[str, Entries]
    present: dict[str, Entries]
    synced: dict[int, bytes]
    written: dict[int, bytes]

    def write(self, target: Path, luck: Luck, dice: random.Random) -> None:
        """Make the tree that the disk may show."""
        self._directory(".", target, luck, dice, {})

    def _directory(
        self, name: str, target: Path, luck: Luck, dice: random.Random, made: dict[int, Path]
    ) -> None:
        target.mkdir(mode=0o700)
        durable, present = self.durable.get(name, {}), self.present.get(name, {})
        for entry in sorted({*durable, *present}):
            at = present if self._is_new(luck, dice) else durable
            if entry not in at:
                continue
            number = at[entry]
            if number is None:
                self._directory(f"{name}/{entry}", target / entry, luck, dice, made)
            elif number in made:
                os.link(made[number], target / entry)
            else:
                made[number] = target / entry
                made[number].write_bytes(self._bytes(number, luck, dice))

    def _is_new(self, luck: Luck, dice: random.Random) -> bool:
        return luck is Luck.NAMES or (luck is Luck.MIXED and dice.random() < 0.5)

    def _bytes(self, number: int, luck: Luck, dice: random.Random) -> bytes:
        if number in self.synced:
            return self.synced[number]
        data = self.written.get(number, b"")
        choices = (b"", bytes(len(data)), data[: len(data) // 2], data)
        return dice.choice(choices) if luck is Luck.MIXED else b""


class Recorder(FileSystem):
    """Does every step and notes what is durable after it; `root` is durable at first.

    Derived files do not pass here; they are as they were at first, or absent.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._synced: dict[int, bytes] = {}
        self._durable = self._tree()
        for path in root.rglob("*"):
            if path.is_file():
                self._synced[path.stat().st_ino] = path.read_bytes()
        self._derived = self._durable["./cache"]
        self.states = [self._state("begin")]

    def operate(self, name: str, path: Path, action: Callable[[], T]) -> T:
        """Do one step and note the state after it."""
        result = super().operate(name, path, action)
        if path.is_relative_to(self._root):
            self._note(name, path)
            self.states.append(self._state(f"{name} {path.relative_to(self._root)}"))
        return result

    def _note(self, name: str, path: Path) -> None:
        if name == "create":  # a number may be used again
            self._synced.pop(path.stat().st_ino, None)
        elif name == "fsync":
            self._synced[path.stat().st_ino] = path.read_bytes()
        elif name == "fsync-directory":
            key = self._key(path)
            self._durable = {**self._durable, key: self._tree()[key]}

    def _state(self, step: str) -> State:
        present = {**self._tree(), "./cache": self._derived}
        files = [path for path in self._root.rglob("*") if path.is_file()]
        written = {path.stat().st_ino: path.read_bytes() for path in files if self._counts(path)}
        return State(step, dict(self._durable), present, dict(self._synced), written)

    def _counts(self, path: Path) -> bool:
        return path.relative_to(self._root).parts[0] != "cache"

    def _tree(self) -> dict[str, Entries]:
        directories = [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]
        return {self._key(directory): _entries(directory) for directory in directories}

    def _key(self, directory: Path) -> str:
        relative = directory.relative_to(self._root)
        return "." if relative == Path() else f"./{relative}"


class WithoutDirectorySync(Recorder):
    """The negative control: names are never made durable, though the store believes they are."""

    def sync_directory(self, path: Path) -> None:
        """Do nothing."""


def _entries(directory: Path) -> Entries:
    return {
        path.name: None if path.is_dir() else path.stat().st_ino for path in directory.iterdir()
    }
