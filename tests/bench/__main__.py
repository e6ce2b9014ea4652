"""Measure the store on a generated series of weekly exports and print one table.

    ./dev bench                              a small series, about a minute
    ./dev bench --exports 12 --conversations 379      the shape of the S series
    ./dev bench --json                       the figures as JSON

The series is the same for the same arguments. Adding and restoring run in processes of their own,
so that their peak memory is theirs. Byte figures are firm; times are one run on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from backupd.demo.exports import Era, series


def main() -> int:
    """Generate, measure, print; exit code 1 if a restored export differs."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="backupd-bench-") as name:
        work = Path(name)
        print(f"generating {options.exports} exports of era {options.era} …", file=sys.stderr)
        zips = generate(work / "zips", options.era, options.exports, options.conversations)
        print("adding …", file=sys.stderr)
        added = worker("add", work / "repository", *zips)
        print("restoring …", file=sys.stderr)
        restored = worker("restore", work / "repository", *zips)
    result = {"series": vars(options), "added": added, "restored": restored}
    print(json.dumps(result, indent=2) if options.json else table(added, restored))
    return 0 if restored["exact"] else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--era", choices=get_args(Era), default="2025")
    parser.add_argument("--exports", type=int, default=6, help="weekly exports (6)")
    parser.add_argument("--conversations", type=int, default=150, help="in the first export (150)")
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser.parse_args()


def generate(directory: Path, era: Era, exports: int, conversations: int) -> list[Path]:
    """Write a series of exports and return their paths, oldest first."""
    directory.mkdir()
    made = series(1, era, exports, conversations)
    return [export.write(directory / f"{n:02}.zip") for n, export in enumerate(made)]


def worker(*arguments: str | Path) -> dict[str, Any]:
    """Run one part in a process of its own and return its figures."""
    command = [sys.executable, "-m", "tests.bench.worker", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def table(added: dict[str, Any], restored: dict[str, Any]) -> str:
    """Lay the figures out for a person; MB are 10^6 bytes."""
    lines = [
        f"{'export':>6} {'ZIP MB':>8} {'new MB':>8} {'new %':>7} {'add s':>7} {'restore s':>10}"
    ]
    for number, (one, seconds) in enumerate(
        zip(added["exports"], restored["seconds"], strict=True)
    ):
        share = 100 * one["new_bytes"] / one["size"]
        lines.append(
            f"{number:>6} {one['size'] / 1e6:>8.2f} {one['new_bytes'] / 1e6:>8.3f} {share:>7.2f}"
            f" {one['seconds']:>7.2f} {seconds:>10.2f}"
        )
    raw, stored = added["raw_bytes"], added["stored_bytes"]
    lines += [
        "",
        f"ZIPs          {raw / 1e6:10.2f} MB",
        f"stored        {stored / 1e6:10.2f} MB, ratio {raw / stored:.1f}",
        f"derived cache {added['cache_bytes'] / 1e6:10.2f} MB",
        f"add           {sum(one['seconds'] for one in added['exports']):10.2f} s, proof included",
        f"restore       {sum(restored['seconds']):10.2f} s",
        f"peak memory   {added['peak_mb']:10.0f} MB adding, {restored['peak_mb']:.0f} MB restoring",
        f"exact         {'every export' if restored['exact'] else 'NO'}",
        "",
        f"{'kind':<14} {'objects':>8} {'raw MB':>9} {'stored MB':>10}",
    ]
    lines += [
        f"{kind['kind']:<14} {kind['objects']:>8} {kind['raw_bytes'] / 1e6:>9.2f}"
        f" {kind['stored_bytes'] / 1e6:>10.3f}"
        for kind in added["kinds"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
