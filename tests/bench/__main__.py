"""Measure the store on a generated series of weekly exports, beside restic and borg.

    ./dev bench                              series S in the format of 2025, about two minutes
    ./dev bench --series M --era 2026        26 exports, about 3,000 conversations
    ./dev bench --quick                      seconds; the figures mean little
    ./dev bench --plot docs/growth.svg       draw the growth as well
    ./dev bench --big                        peak memory for 1 GB of JSON and for a ZIP of 5 GB
    ./dev bench --encryption                 what encryption costs, beside a plain repository

The same arguments give the same exports. Byte figures are firm; times are of one run on this
machine, so compare them with those of restic from the same run. Everything happens in a temporary
directory; each export is made, stored by all programs, and deleted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

from tests.bench import big, plot, report, sealed, tools
from tests.bench.measure import Figures, measure
from tests.bench.shapes import SHAPES, quick


def main() -> int:
    """Measure and print; exit code 1 if an export is not exact, or encryption costs too much."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="backupd-bench-", dir=options.dir) as name:
        if options.big:
            print(big.table(Path(name)))
            return 0
        shape = quick(SHAPES[options.series]) if options.quick else SHAPES[options.series]
        if options.encryption:
            text, holds = sealed.table(Path(name), shape, options.era, options.rounds)
            print(text)
            return 0 if holds else 1
        compare = not options.alone and tools.install()
        figures = measure(Path(name), shape, options.era, compare=compare)
    print(json.dumps(asdict(figures), indent=2) if options.json else report.table(figures))
    if options.plot:
        options.plot.write_text(_drawing(figures))
    return 0 if report.is_exact(figures) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--series", choices=sorted(SHAPES), default="S")
    parser.add_argument("--era", choices=("2025", "2026"), default="2025")
    parser.add_argument("--quick", action="store_true", help="a few small exports only")
    parser.add_argument("--alone", action="store_true", help="without restic and borg")
    parser.add_argument("--big", action="store_true", help="peak memory with very large exports")
    parser.add_argument("--encryption", action="store_true", help="encrypted against plain")
    parser.add_argument("--rounds", type=int, default=7, help="with --encryption: how many")
    parser.add_argument("--plot", type=Path, help="write a drawing of the growth (SVG)")
    parser.add_argument("--dir", type=Path, help="where the temporary directory is made")
    parser.add_argument("--json", action="store_true", help="write JSON")
    return parser.parse_args()


def _drawing(figures: Figures) -> str:
    lines = {
        "ZIPs kept": list(accumulate(week["size"] / 1e6 for week in figures.weeks)),
        **{name: [size / 1e6 for size in sizes] for name, sizes in figures.others.items()},
        "backupd": list(accumulate(week["new_bytes"] / 1e6 for week in figures.weeks)),
    }
    title = (
        f"Series {figures.shape.name}, {figures.era}: bytes stored"
        " (restic and borg: unzipped, they cannot give the ZIP back)"
    )
    return plot.svg(title, lines)


if __name__ == "__main__":
    raise SystemExit(main())
