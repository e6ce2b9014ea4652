"""`backupd stats` explains the store: a short history each by each, a long one by the year.

And `snapshots`, which lists it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.cli.stats import MOST, growth
from backupd.store.repository import Origin, Repository, Snapshot
from tests.cli.test_verbs import backupd, store
from tests.support.storing import put, week

START = datetime(2017, 1, 2, 12, tzinfo=UTC)


def snapshot(number: int) -> Snapshot:
    """A weekly snapshot of 100 MB that added 1 MB."""
    at = START + timedelta(weeks=number)
    return Snapshot(
        id=f"{number:064x}"[::-1], sha256="", size=100_000_000, origin=Origin(None, at, "import"),
        account=None, account_prefix=None, exported_at=at, era="2025", members=1, conversations=1,
        complete=True, incomplete_reasons=(), unknown_parts=(), kept_whole=False, kept_streams=(),
        encoders=(), recipe=(), packs=(), stored_bytes=1_000_000, proven_at=at,
    )  # fmt: skip


def test_ten_years_of_weeks_are_summed_up_by_year() -> None:
    history = [snapshot(number) for number in range(520)]

    lines = growth(history, every=False).splitlines()
    years, newest = lines[: lines.index("")], lines[lines.index("") + 1 :]

    assert [line.split()[0] for line in years[1:]] == [str(y) for y in range(2017, 2027)] + ["all"]
    assert years[-1].split() == ["all", "520", "52.0", "GB", "520.0", "MB", "1.0", "%"]
    assert [line.split()[0] for line in newest[1:]] == [one.id[:12] for one in history[-10:]]
    assert max(map(len, lines)) <= 80
    assert len(growth(history, every=True).splitlines()) == 1 + 520 + 1


def test_a_history_that_fits_is_shown_each_by_each() -> None:
    assert len(growth([snapshot(n) for n in range(MOST)], every=False).splitlines()) == MOST + 2


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stats")
    with Repository.create(directory / "r") as made:
        put(made, directory, week(1), day=1)
        put(made, directory, week(2), day=2)
    return directory / "r"


def test_what_each_snapshot_added_and_each_kind_takes_makes_the_whole(repository: Path) -> None:
    told = json.loads(store(repository, "stats", "--json"))
    listed = json.loads(store(repository, "snapshots", "--json"))

    assert [(one["id"], one["size"], one["added_bytes"]) for one in told["added"]] == [
        (one["id"], one["size"], one["stored_bytes"]) for one in listed
    ]
    kinds = sum(kind["stored_bytes"] for kind in told["kinds"].values())
    added = sum(one["added_bytes"] for one in told["added"])
    assert kinds < added <= told["stored_bytes"] < told["raw_bytes"]


def test_a_person_reads_it_at_80_columns(repository: Path) -> None:
    text = store(repository, "stats")

    assert max(map(len, text.splitlines())) <= 80
    assert "pictures and files" in text
    assert "of the ZIPs" in text


def test_snapshots_fit_80_columns_and_say_what_is_proven(repository: Path) -> None:
    done = backupd("--repository", repository, "snapshots")

    assert max(map(len, done.stdout.splitlines())) <= 80
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["STATE", "proven", "proven"]
    assert done.stderr == "2 snapshots, all proven byte for byte\n"
