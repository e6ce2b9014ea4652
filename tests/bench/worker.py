"""One part of the measurement in a process of its own: `add REPO ZIP…` or `restore REPO ZIP…`.

Prints its figures as JSON.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from backupd.store.repository import Origin, Repository


def add(place: Path, zips: list[Path]) -> dict[str, object]:
    """Make a repository and store the exports in it, each proven as at every intake."""
    exports = []
    with Repository.create(place) as repository:
        for path in zips:
            origin = Origin(path.name, datetime.now(UTC), "import", delivery=None, mailbox=None)
            added = repository.add(path, origin)
            exports.append(
                {
                    "size": added.snapshot.size,
                    "new_bytes": added.new_bytes,
                    "seconds": added.seconds,
                    "kept_whole": added.kept_whole,
                }
            )
        stats = repository.stats()
    return {
        "exports": exports,
        "raw_bytes": stats.raw_bytes,
        "stored_bytes": stats.stored_bytes,
        "cache_bytes": stats.cache_bytes,
        "kinds": [asdict(kind) for kind in stats.kinds],
        "peak_mb": peak_mb(),
    }


def restore(place: Path, zips: list[Path]) -> dict[str, object]:
    """Restore every export, oldest first, and compare it with the ZIP that was added."""
    seconds = []
    exact = True
    with Repository.open(place) as repository:
        snapshots = sorted(repository.snapshots(), key=lambda snapshot: snapshot.received_at)
        for snapshot, original in zip(snapshots, zips, strict=True):
            target = original.with_suffix(".restored")
            began = time.monotonic()
            repository.restore_zip(snapshot, target)
            seconds.append(time.monotonic() - began)
            exact = exact and digest(target) == digest(original)
            target.unlink()
    return {"seconds": seconds, "exact": exact, "peak_mb": peak_mb()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_mb() -> float:
    """Return the most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


PARTS = {"add": add, "restore": restore}

if __name__ == "__main__":
    part, repository_place, *originals = sys.argv[1:]
    print(json.dumps(PARTS[part](Path(repository_place), [Path(name) for name in originals])))
