"""restic and borg on the same files, on the same machine, in the same run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"restic": "restic", "borg": "borgbackup"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took."""

    wall: float
    cpu: float


def install() -> bool:
    """Make both programs available, as root on Debian by apt-get; say what would be needed."""
    missing = [package for name, package in PACKAGES.items() if shutil.which(name) is None]
    if not missing:
        return True
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if os.geteuid() or not Path("/etc/debian_version").exists():
        say("no comparison; to have one: " + " ".join(command))
        return False
    say("as root: " + " ".join(command))
    subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def say(text: str) -> None:
    """Tell the person at the terminal; the table goes to stdout."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Tools:
    """One repository of each program for folders, and one of restic's for ZIPs."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.sizes: dict[str, list[int]] = {"restic": [], "borg": []}
        self._environment = os.environ | {
            "RESTIC_PASSWORD": "bench",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_BASE_DIR": str(work / "borg-base"),
        }
        for name in ("restic", "restic-zips"):
            self._run(work, "restic", "-q", "init", "-r", work / name)
        self._run(work, "borg", "init", "-e", "none", work / "borg")

    def folder(self, place: Path, number: int) -> None:
        """Store an unzipped export with both programs."""
        self._run(place, "restic", "-q", "-r", self._work / "restic", "backup", ".")
        archive = f"{self._work / 'borg'}::{number}"
        self._run(place, "borg", "create", "--compression", "zstd,10", archive, ".")
        for name, sizes in self.sizes.items():
            sizes.append(tree_size(self._work / name))

    def zip(self, path: Path) -> Cost:
        """Store a ZIP as it is with restic and return what that took."""
        return self._run(
            path.parent, "restic", "-q", "-r", self._work / "restic-zips", "backup", path.name
        )

    def _run(self, place: Path, *command: str | Path) -> Cost:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(
            [str(part) for part in command],
            cwd=place,
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(wall, cpu)


def tree_size(place: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
