"""What the catalog asks of a source holds for the repository and for its stand-in in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backupd.catalog import Catalog
from backupd.demo.exports import Churn, GeneratedExport, Options, series
from backupd.export.versions import Counts
from backupd.store.repository import Repository
from backupd.store.snapshot import Origin
from tests.support.snapshots import MemorySource, slices_of

Filled = Callable[[Sequence[GeneratedExport]], Any]
CHURN = Churn(new=2, continued=1, edited=1, rewritten=1, deleted=1, retitled=1, flipped=1)


@pytest.fixture(params=["memory", "repository"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """A source that holds the exports it is given."""
    opened: list[Repository] = []

    def memory(exports: Sequence[GeneratedExport]) -> MemorySource:
        source = MemorySource()
        for export in exports:
            source.add_export(export)
        return source

    def repository(exports: Sequence[GeneratedExport]) -> Repository:
        Repository.create(tmp_path / "repository").close()
        opened.append(Repository.open(tmp_path / "repository", write=True))
        with opened[0].lock():
            for export in exports:
                source = export.write(tmp_path / export.file_name)
                origin = Origin(export.file_name, export.exported_at, "import")
                opened[0].add(source, origin)
        return opened[0]

    yield memory if request.param == "memory" else repository
    for each in opened:
        each.close()


def exports(*eras: Any) -> list[GeneratedExport]:
    """Return a short series."""
    options = Options(churn=CHURN, asset_share=0.1, asset_size=300)
    return list(series(3, eras, len(eras), 12, options))


def counts(export: GeneratedExport) -> Counts:
    """Return what really happened."""
    told = export.truth
    return Counts(
        told.total, len(told.new), len(told.changed), len(told.metadata_changed),
        len(told.unchanged), len(told.gone),
    )  # fmt: skip


@pytest.mark.parametrize("era", ["2023", "2025", "2026", "privacy"])
def test_slices_are_those_of_the_conversations_files(filled: Filled, era: Any) -> None:
    (export,) = exports(era)
    source = filled([export])
    (snapshot,) = source.snapshots()
    ids = list(source.conversation_ids(snapshot))

    found = dict(source.read_many(ids))
    assert [found[name] for name in ids] == list(slices_of(export))


def test_unknown_slices_are_left_out(filled: Filled) -> None:
    source = filled(exports("2025"))

    assert list(source.read_many([bytes(32)])) == []


def test_catalog_of_a_source_tells_the_truth(filled: Filled) -> None:
    weeks = exports("2025", "2025", "2026", "2026")
    source = filled(weeks)
    catalog = Catalog.open(None)
    catalog.sync(source)
    in_order = sorted(source.snapshots(), key=lambda item: item.exported_at or item.received_at)

    assert [catalog.counts(item.id) for item in in_order] == [counts(week) for week in weeks]
    catalog.close()
