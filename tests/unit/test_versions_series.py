"""The truth table: generated series of each era and across eras, against what they really hold.

Each series goes through the pure fold and through the catalog, week by week; both must name
exactly the conversations that were begun, changed, renamed or flagged, and deleted.
"""

from __future__ import annotations

import pytest

from backupd.catalog import Catalog
from backupd.demo.exports import Churn, GeneratedExport, Options, series
from backupd.export.conversations import parse
from backupd.export.versions import Change, Folded, Known, fingerprint, fold
from tests.support import FULL, truth
from tests.support.snapshots import MemorySource, slices_of

SIZE, SEEDS = (120, range(5)) if FULL else (25, range(1))
USUAL = Churn(
    new=3, continued=2, edited=2, rewritten=1, deleted=1, retitled=2, flipped=3, noisy=0.3
)
# No export tells whether a flag that its era begins to write was flipped just then.
NO_FLIPS = Churn(new=3, continued=2, edited=2, rewritten=1, deleted=1, retitled=2, flipped=0)
TABLE = [
    pytest.param(eras.split(), churn, id=eras)
    for eras, churn in (
        ("2023 2023 2023 2023", USUAL),
        ("2025 2025 2025 2025", USUAL),
        ("2026 2026 2026 2026", USUAL),
        ("privacy privacy privacy", USUAL),
        ("2023 2023 2025 2025 2026 2026", NO_FLIPS),
        ("2023 2026 2026", NO_FLIPS),
        ("2023 privacy privacy", NO_FLIPS),
        ("2025 2026 privacy 2025 2026", USUAL),
        ("2026 2025 2025 2026", USUAL),
    )
]


def counted(found: Folded) -> dict[str, frozenset[str]]:
    """Return the ids by what the fold says of them."""
    kinds = (Change.NEW, Change.CHANGED, Change.METADATA_CHANGED)
    told = {
        kind.value: frozenset(name for name, change in found.changes.items() if change is kind)
        for kind in kinds
    }
    return told | {"gone": frozenset(found.gone)}


def expected(export: GeneratedExport) -> dict[str, frozenset[str]]:
    """Return the ids by what really happened."""
    real = export.truth
    return {
        "new": real.new,
        "changed": real.changed,
        "metadata_changed": real.metadata_changed,
        "gone": real.gone,
    }


@pytest.mark.parametrize(("eras", "churn"), TABLE)
@pytest.mark.parametrize("seed", SEEDS)
def test_counts_equal_the_truth(eras: list[str], churn: Churn, seed: int) -> None:
    options = Options(churn=churn, asset_share=0.1, asset_size=400)
    known: dict[str, Known] = {}
    source, catalog = MemorySource(), Catalog.open(None)
    for week in series(seed, eras, len(eras), SIZE, options):
        conversations = [parse(data) for data in slices_of(week)]
        states = {item.id: fingerprint(item) for item in conversations}
        found = fold(known, states, None)
        known = found.series
        snapshot = source.add_export(week)
        catalog.sync(source)

        truth.record(" ".join(eras), week.truth, catalog.counts(snapshot))

        assert counted(found) == expected(week)
        assert (found.counts.total, found.counts.unchanged) == (
            week.truth.total,
            len(week.truth.unchanged),
        )
        assert catalog.counts(snapshot) == found.counts == truth.expected(week.truth)
        told = {item.id: item.change for item in catalog.changes(snapshot)}
        assert told == {name: kind for kind, names in counted(found).items() for name in names}
    catalog.close()
