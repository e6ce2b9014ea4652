"""A process that keeps one repository open and does what it is told, one JSON line each way.

python -m tests.bench.worker REPOSITORY

["add", ZIP]             store, then prove                ["stats"]     figures by kind
["restore", N]           the Nth export, to nowhere but a hash          ["check"]
["create"]               a new repository
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


class Watch:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> list[float]:
        """Return both."""
        return [time.perf_counter() - self._wall, time.process_time() - self._cpu]


def add(repository: Repository, name: str) -> dict[str, object]:
    """Store a ZIP and prove it; both are timed."""
    path = Path(name)
    watch = Watch()
    added = repository.add(path, Origin(path.name, datetime.now(UTC), "import"), prove=False)
    stored = watch.read()
    if added.snapshot.proven_at is None:
        proven = repository.prove(added.snapshot) is not None
    else:
        proven = True
    return {
        "size": added.snapshot.size,
        "new_bytes": added.new_bytes,
        "already_stored": added.already_stored,
        "kept_whole": added.kept_whole or bool(added.snapshot.kept_streams),
        "stored": stored,
        "proven": watch.read(),
        "exact": proven,
    }


def restore(repository: Repository, number: int) -> dict[str, object]:
    """Rebuild one export and hash what comes."""
    snapshot = repository.snapshots()[number]
    watch = Watch()
    digest = hashlib.sha256()
    for chunk in repository.rebuild(snapshot):
        digest.update(chunk)
    return {"restored": watch.read(), "exact": digest.hexdigest() == snapshot.sha256}


def stats(repository: Repository) -> dict[str, object]:
    """Return what the repository says about itself."""
    return asdict(repository.stats())


def check(repository: Repository) -> dict[str, object]:
    """Read everything and rebuild every export."""
    watch = Watch()
    report = repository.check(read_data=True, drill=True)
    return {"checked": watch.read(), "exact": not report.problems}


def main(place: Path) -> None:
    """Answer lines from stdin until it ends."""
    parts = {"add": add, "restore": restore, "stats": stats, "check": check}
    with Repository.open(place) if place.exists() else Repository.create(place) as repository:
        for line in sys.stdin:
            part, *arguments = json.loads(line)
            answer = parts[part](repository, *arguments)  # type: ignore[operator]
            answer["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
