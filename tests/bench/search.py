"""What search costs: how long an answer takes, and how large the index is beside the text.

    python -m tests.bench.search [CONVERSATIONS]

In this process, on a catalog in a temporary directory, the file cached by the system.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from backupd.catalog import Catalog, Wanted
from backupd.catalog.database import CatalogFile
from backupd.demo.exports import series
from tests.support.snapshots import MemorySource, slices_of

SEED = 11


def main(conversations: int) -> None:
    """Make a catalog of so many conversations and one weekly export more, and ask it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.sqlite"
        catalog, source = Catalog.open(path), MemorySource()
        weeks = series(SEED, exports=2, conversations=conversations)
        unique: list[str] = []
        for week in weeks:
            size = sum(map(len, slices_of(week)))
            source.add_export(week)
            begun = time.perf_counter()
            catalog.sync(source)
            spent = time.perf_counter() - begun
            rate = size / 1e6 / spent
            print(f"{size / 1e6:.0f} MB of JSON taken in: {spent:.2f} s, {rate:.0f} MB/s")
            unique += [change.word for change in week.truth.added if change.word]
        ask(catalog, unique)
        catalog.close()
        sizes(path)


def ask(catalog: Catalog, unique: list[str]) -> None:
    """Print the latency of some kinds of queries."""
    kinds = {
        "a rare word": random.Random(SEED).sample(unique, min(60, len(unique))),
        "a usual word": ["window", "paper", "system", "often", "garden", "reader"],
        "the commonest word": ["the", "a", "this"],
        "two words": ["window paper", "system garden", "I call this", "often reader"],
        "a phrase": ['"I call this"', '"window of the"', '"the system"'],
        "a beginning": ["sys*", "win*", "gard*", "sy*"],
        "boolean": ["(window OR paper) -system", "garden AND NOT reader", "system OR often"],
    }
    every: list[float] = []
    for kind, queries in kinds.items():
        spent = []
        for query in queries:
            for _ in range(3):
                begun = time.perf_counter()
                catalog.search(Wanted(query), datetime(2026, 1, 1, tzinfo=UTC))
                spent.append((time.perf_counter() - begun) * 1000)
        every += [statistics.median(spent)]
        print(f"{kind:20} median {statistics.median(spent):7.2f} ms   max {max(spent):7.2f} ms")
    print(f"{'median of the kinds':20} {statistics.median(every):.2f} ms")


def sizes(path: Path) -> None:
    """Print what each part of the file takes, beside the text."""
    file = CatalogFile(path)
    with file.reading() as connection:
        text = connection.execute("SELECT sum(length(CAST(text AS BLOB))) FROM texts").fetchone()[0]
        words = connection.execute("SELECT sum(length(block)) FROM words_data").fetchone()[0]
        turns = connection.execute("SELECT count(*) FROM turns").fetchone()[0]
    file.close()
    whole = path.stat().st_size
    share = words / text
    print(f"{turns:,} turns, text {text / 1e6:.1f} MB, words {words / 1e6:.1f} MB ({share:.2f})")
    print(f"whole catalog {whole / 1e6:.1f} MB ({whole / text:.2f} of the text)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
