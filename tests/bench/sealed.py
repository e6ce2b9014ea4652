"""What encryption costs: the same work on a plain and on an encrypted repository, turn by turn.

Both take the same exports in the same process, one after the other, in an order that alternates,
so that whatever else the machine does hits both; of each step the quickest round counts. Times are
wall and processor seconds; sizes are firm.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from backupd.demo.exports import Era
from backupd.store.keys import NewKeys
from backupd.store.repository import Repository
from tests.bench import shapes
from tests.bench.shapes import Shape
from tests.bench.tools import say
from tests.bench.worker import Watch, add, check, restore
from tests.support.operations import ENCRYPTED, KINDS, PLAIN, RepositoryKind
from tests.support.sealing import NOW, PASSPHRASE, RECOVERY, access

EXPORTS = 3
WALL, SIZE = 1.15, 1.02
STEPS = ("stored", "stored and proven", "restored", "everything checked")


@dataclass(frozen=True, slots=True)
class Round:
    """Wall and processor seconds of each of `STEPS` and the size of the repository, in bytes."""

    times: tuple[tuple[float, float], ...]
    size: int


def table(work: Path, shape: Shape, era: Era, rounds: int) -> tuple[str, bool]:
    """Return the figures as text, and whether both limits hold."""
    zips = []
    for export in islice(shapes.exports(shape, era), EXPORTS):
        export.write(work / f"{len(zips)}.zip")
        zips.append(work / f"{len(zips)}.zip")
    found: dict[RepositoryKind, list[Round]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS if number % 2 else reversed(KINDS):
            found[kind].append(_round(kind, work / "repository", zips))
        say(f"round {number + 1} of {rounds}")
    return _laid_out(shape, era, found, _opening(work / "opened"))


def _round(kind: RepositoryKind, place: Path, zips: list[Path]) -> Round:
    """Store and prove all exports, restore the last, check everything."""
    with kind.create(place, None) as repository:
        added = [add(repository, str(path)) for path in zips]
        parts = [
            [answer["stored"] for answer in added],
            [answer["proven"] for answer in added],
            [restore(repository, len(zips) - 1)["restored"]],
            [check(repository)["checked"]],
        ]
        size = repository.stats().stored_bytes
    shutil.rmtree(place)
    return Round(tuple((_sum(part, 0), _sum(part, 1)) for part in parts), size)


def _sum(times: list[object], part: int) -> float:
    return sum(each[part] for each in times)  # type: ignore[index]


def _opening(place: Path) -> float:
    """Return the seconds that a passphrase takes at each opening, as `init` sets it."""
    Repository.create(place, keys=NewKeys(PASSPHRASE, RECOVERY, NOW)).close()
    quickest = 60.0
    for _ in range(3):
        watch = Watch()
        Repository.open(place, access=access()).close()
        quickest = min(quickest, watch.read()[0])
    return quickest


def _laid_out(
    shape: Shape, era: Era, found: dict[RepositoryKind, list[Round]], opening: float
) -> tuple[str, bool]:
    plain, sealed = found[PLAIN], found[ENCRYPTED]
    lines = [
        f"series {shape.name}, era {era}, {EXPORTS} exports, the quickest of {len(plain)} rounds",
        "",
        f"{'wall / CPU':<22} {'plain':>15} {'encrypted':>15} {'ratio':>13}  limit",
    ]
    walls = []
    for number, step in enumerate(STEPS):
        one, two = _quickest(plain, number), _quickest(sealed, number)
        walls.append(two[0] / one[0])
        ratios = f"{walls[-1]:.2f} / {two[1] / one[1]:.2f}"
        lines.append(f"{step:<22} {_pair(one):>15} {_pair(two):>15} {ratios:>13}  {WALL}")
    sizes = plain[0].size, sealed[0].size
    size = sizes[1] / sizes[0]
    cells = (f"{each / 1e6:.3f} MB" for each in sizes)
    lines.append(f"{'size':<22} {next(cells):>15} {next(cells):>15} {size:>13.4f}  {SIZE}")
    lines.append(f"{'opening, passphrase':<22} {'':>15} {f'{opening:.2f} s':>15}")
    return "\n".join(lines), max(walls) <= WALL and size <= SIZE


def _quickest(rounds: list[Round], step: int) -> tuple[float, float]:
    wall, cpu = zip(*(each.times[step] for each in rounds), strict=True)
    return min(wall), min(cpu)


def _pair(times: tuple[float, float]) -> str:
    return f"{times[0]:.2f} / {times[1]:.2f} s"
