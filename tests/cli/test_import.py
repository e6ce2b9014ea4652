"""`backupd import` of many ZIPs: what is seen at a terminal, what is told, and Ctrl-C."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from backupd.cli.progress import ImportProgress
from tests.cli.test_verbs import backupd, store
from tests.support.storing import week
from tests.support.terminal import Terminal


@pytest.fixture
def place(tmp_path: Path) -> Path:
    store(tmp_path / "r", "init")
    return tmp_path / "r"


@pytest.fixture
def zips(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.zip" for number in range(1, 5)]
    for number, path in enumerate(paths, 1):
        path.write_bytes(week(number))
    return paths


def test_each_file_says_what_it_brought_and_the_end_sums_up(place: Path, zips: list[Path]) -> None:
    again, broken = zips[0].with_name("again.zip"), zips[0].with_name("broken.zip")
    again.write_bytes(zips[0].read_bytes())
    broken.write_bytes(b"no ZIP")

    told = backupd("--repository", place, "import", *zips, again, broken, code=3).stderr

    assert "1.zip: 21 new, 0 changed, 0 gone; " in told
    assert "2.zip: 2 new, 0 changed, 1 gone; " in told
    assert "again.zip: stored already" in told
    assert re.search(
        r"6 files: 4 stored, 1 stored already, 1 in quarantine; [\d.]+ kB in [\d.]+ kB \(", told
    )


def test_a_link_to_a_zip_is_followed(place: Path, zips: list[Path]) -> None:
    link = zips[0].with_name("link.zip")
    link.symlink_to(zips[1])

    told = backupd("--repository", place, "import", zips[0], link).stderr

    assert "2 files: 2 stored" in told


def test_progress_at_a_terminal_leaves_room_for_what_is_told(place: Path, zips: list[Path]) -> None:
    terminal = Terminal("--repository", place, "import", *zips, kind="xterm")

    assert terminal.ended() == 0
    assert re.search(r"[0-4] of 4 done .*(-:--:--|\d:\d\d:\d\d)", terminal.seen)
    assert "4 files: 4 stored" in terminal.seen
    assert max(map(len, terminal.lines)) <= 80


def test_two_files_under_way_make_one_time_left() -> None:
    first, second = Path("1.zip"), Path("2.zip")
    with Bars(console=Console(file=io.StringIO())) as bars:
        progress = ImportProgress(bars, {first: 3000, second: 1000})
        progress.show(first, "hash", 3000, 3000)
        progress.show(first, "store", 3000, 3000)
        progress.show(first, "prove", 1500, 3000)
        progress.show(second, "store", 500, 1000)
        whole, *stages = bars.tasks

        assert (whole.description, whole.total) == ("0 of 2 done", 4000)
        assert whole.completed == pytest.approx(3000 * 0.75 + 1000 * 0.225)
        shown = [task.description for task in stages if task.visible]
        assert shown == ["storing 2/2", "proving 1/2"]

        progress.end(first)

        assert (whole.description, whole.completed) == ("1 of 2 done", pytest.approx(3225))


def test_interrupted_it_leaves_nothing_behind_and_goes_on_when_repeated(
    place: Path, tmp_path: Path
) -> None:
    zips = [tmp_path / f"{number}.zip" for number in range(1, 25)]
    for number, path in enumerate(zips, 1):
        path.write_bytes(week(number))
    terminal = Terminal("--repository", place, "import", *zips, kind="xterm")
    terminal.until("2.zip: 2 new")
    terminal.interrupt()

    assert terminal.ended() == 130
    assert "the same command goes on" in terminal.seen
    assert list((place / "incoming").iterdir()) == []
    store(place, "import", *zips)
    listed = json.loads(store(place, "snapshots", "--json"))
    assert [one["proven_at"] is not None for one in listed] == [True] * 24
    assert json.loads(store(place, "check", "--drill", "--json"))["problems"] == []
