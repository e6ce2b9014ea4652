"""Hostile ZIP files: each is refused by its rule, in bounded memory, and never read in part."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from backupd.export.archive import (
    DEFAULT,
    ArchiveLimits,
    ArchiveRefused,
    Rule,
    looks_complete,
    scan,
    verify,
)
from tests.support import FULL, zips
from tests.support.hostile_zips import DATA, SCANNED, STRUCTURE, many_members
from tests.support.zips import Part, Record, build, deflate


def refusal(data: bytes, *, read: bool = False, limits: ArchiveLimits = DEFAULT) -> Rule | None:
    """Return the rule by which a file is refused, None if it is not."""
    file = io.BytesIO(data)
    try:
        archive = scan(file, limits)
        if read:
            verify(file, archive)
    except ArchiveRefused as error:
        return error.rule
    return None


@pytest.mark.parametrize("name", SCANNED)
def test_scan_refuses_by_the_rule_that_is_broken(name: str) -> None:
    rule, make = SCANNED[name]
    limits = ArchiveLimits(max_total=5000) if rule is Rule.TOO_BIG else DEFAULT

    assert refusal(make(), limits=limits) is rule


@pytest.mark.parametrize("name", DATA)
def test_data_that_is_not_as_declared_is_refused_while_reading(name: str) -> None:
    rule, make = DATA[name]
    data = make()
    scan(io.BytesIO(data))

    assert refusal(data, read=True) is rule


def test_the_table_is_large_and_names_every_rule() -> None:
    """A rule without a hostile file that breaks it would be untested."""
    used = {rule for rule, _ in (*SCANNED.values(), *DATA.values())}

    assert len(SCANNED) + len(DATA) >= 130
    assert used == set(Rule)


@pytest.mark.parametrize("name", sorted(STRUCTURE))
def test_the_quick_look_never_raises_anything_else(name: str) -> None:
    with suppress(ArchiveRefused):
        looks_complete(io.BytesIO(STRUCTURE[name][1]()))


@pytest.mark.parametrize(
    "name", ["nothing", "html page", "half", "last byte missing", "one byte more", "70 KB more"]
)
def test_the_quick_look_finds_broken_downloads(name: str) -> None:
    with pytest.raises(ArchiveRefused):
        looks_complete(io.BytesIO(STRUCTURE[name][1]()))


@pytest.mark.parametrize("name", zips.LEGITIMATE)
def test_every_cut_of_a_good_file_is_refused(name: str) -> None:
    data = zips.LEGITIMATE[name]()
    random_cuts = random.Random(name).sample(range(len(data)), min(60, len(data)))

    for cut in (*random_cuts, len(data) - 1, 4):
        assert refusal(data[:cut]) is not None


_BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
from backupd.export.archive import ArchiveRefused, scan, verify
with open(sys.argv[1], "rb") as file:
    try:
        verify(file, scan(file))
        print("accepted", end=" ")
    except ArchiveRefused as error:
        print(error.rule, end=" ")
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
"""


def bounded(path: Path) -> tuple[str, int]:
    """Scan and verify a file in a process of its own; return the outcome and its peak MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _BOUNDED, str(path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    outcome, peak = done.stdout.split()
    return outcome, int(peak)


def test_many_members_need_bounded_memory(tmp_path: Path) -> None:
    """Memory grows with the number of members only, which has a limit."""
    count = 250_000 if FULL else 50_000
    path = tmp_path / "many.zip"
    path.write_bytes(many_members(count))

    outcome, peak = bounded(path)

    assert outcome == "accepted"
    assert peak < 50 + count // 1000


def test_long_names_need_bounded_memory(tmp_path: Path) -> None:
    """In full, a directory just below its size limit, all of it names that grow when folded."""
    path = tmp_path / "names.zip"
    count = 11_500 if FULL else 2000
    path.write_bytes(many_members(count, "ΐ" * 2000))

    outcome, peak = bounded(path)

    assert outcome == "accepted"
    assert peak < 50 + count // 80


@pytest.mark.parametrize(
    ("name", "expected"),
    [("claims: ratio", Rule.RATIO), ("data: declared tiny, is a bomb", Rule.SIZE)],
)
def test_bombs_need_bounded_memory(tmp_path: Path, name: str, expected: Rule) -> None:
    case = SCANNED.get(name) or DATA[name.removeprefix("data: ")]
    path = tmp_path / "bomb.zip"
    path.write_bytes(case[1]())

    outcome, peak = bounded(path)

    assert outcome == expected
    assert peak < 80


def test_a_bomb_within_the_ratio_is_inflated_in_small_pieces(tmp_path: Path) -> None:
    """What is allowed to be large is never held whole."""
    data = deflate(bytes(range(256)) * 4 * 40_000)
    part = Part(content=bytes(range(256)) * 4 * 40_000, stream=data)
    path = tmp_path / "large.zip"
    path.write_bytes(build(part))

    outcome, peak = bounded(path)

    assert outcome == "accepted"
    assert peak < 80


def test_refusals_name_no_member() -> None:
    """A member's name may be personal, so it stays out of messages."""
    secret = b"salary negotiation.docx"
    makers = (
        build(Part(secret, central=Record(method=99))),
        build(Part(secret), Part(secret)),
        build(Part(secret + b"\0")),
        build(Part(secret, local=Record(crc32=0))),
    )

    for data in makers:
        with pytest.raises(ArchiveRefused) as caught:
            scan(io.BytesIO(data))
        assert "salary" not in str(caught.value) + caught.value.detail
