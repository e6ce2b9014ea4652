"""A file that a person downloaded finds the delivery it belongs to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.intake.handin import in_date_order
from backupd.intake.matching import Candidate, match, plain_name
from backupd.ledger.db import open_database
from backupd.ledger.deliveries import Deliveries
from backupd.ledger.delivery import Delivery
from tests.unit.test_ledger import NOW, opening

PREFIX = "ab" * 32
STAMP = datetime(2026, 2, 28, 12, 1, 6, tzinfo=UTC)
NAME = f"{PREFIX}-2026-02-28-12-01-06-{'cd' * 16}.zip"


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    database = open_database(tmp_path / "ledger.sqlite")
    made = Deliveries(database).open(replace(opening(NAME), account=PREFIX), NOW)
    database.close()
    return made


@pytest.mark.parametrize(
    "name",
    [NAME, NAME.upper(), NAME[:-4] + " (1).zip", NAME[:-4] + "(2).zip", NAME[:-4] + "-copy.zip"],
)
def test_the_promised_name_matches_as_browsers_save_it(delivery: Delivery, name: str) -> None:
    assert match(Candidate(name, None, None), [delivery]) is delivery


@pytest.mark.parametrize(
    ("prefix", "exported", "fits"),
    [
        (None, STAMP, True),
        (PREFIX, STAMP + timedelta(minutes=9), True),
        ("ef" * 32, STAMP, False),
        (PREFIX, STAMP + timedelta(minutes=11), False),
        (PREFIX, None, False),
    ],
)
def test_a_renamed_file_matches_by_account_and_time(
    delivery: Delivery, prefix: str | None, exported: datetime | None, fits: bool
) -> None:
    assert (match(Candidate("export.zip", prefix, exported), [delivery]) is delivery) is fits


def test_two_deliveries_that_fit_by_time_are_left_to_a_person(delivery: Delivery) -> None:
    assert match(Candidate("export.zip", None, STAMP), [delivery, delivery]) is None


def test_plain_name_leaves_other_names_alone() -> None:
    assert plain_name("My Export (final).zip") == "my export (final).zip"


def test_import_goes_by_the_date_in_the_name_then_by_the_file(tmp_path: Path) -> None:
    newest = tmp_path / f"{'a' * 64}-2026-03-01-00-00-00.zip"
    oldest = tmp_path / f"{'b' * 64}-2023-03-01-00-00-00.zip"
    for file in (newest, oldest):
        file.write_bytes(b"")

    assert in_date_order([newest, oldest, tmp_path / "." / newest.name]) == [oldest, newest]
