"""Hundreds of hostile ZIPs through the real command: bytes kept, rule named, bounds held (T10).

Each file is imported into a plain repository, into an encrypted one, and as a part of a sound
export, by a process with bounds of memory and processor time that the kernel enforces. What is
refused must lie in quarantine as received, with its rule and the next step told; what is not must
come back byte for byte, and so must every export around a part that nobody can read.
Under BACKUPD_FULL=1 all files, 32 to a process; else every 16th.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from backupd.export.archive import ArchiveRefused, Rule, scan, verify
from backupd.store.repository import Access, Repository
from tests.support import FULL
from tests.support.bounded import Bounded, bounded
from tests.support.campaign import campaign
from tests.support.sealing import PASSPHRASE, access, made
from tests.support.storing import export_bytes
from tests.support.zip_corpus import SEED, Case, corpus

POSITIONS = ("plain", "encrypted", "inside an export")
ZIPS = campaign("hostile ZIPs", seed=SEED)
PEAK = 200
"""MiB that a process may ever hold; a bomb of the corpus would take up to 20,000."""
CPU_EACH = 8.0
"""Processor seconds for one file, the start of the program included."""
TOLD = re.compile(
    r"(\S+): kept in quarantine, it breaks the rule ([a-z0-9-]+): (.+)\n"
    r"next: download the export again; what was received is kept, and comes back by"
    r" `backupd restore quarantine/([0-9a-f]{12}) --output FILE`"
)


@cache
def cases() -> tuple[Case, ...]:
    """Return the corpus, made when it is first needed."""
    return tuple(corpus())


def portions() -> Iterator[list[int]]:
    """Yield the numbers of the cases that share a process; every 16th of them, or all."""
    found = list(range(0, len(cases()), 1 if FULL else 16))
    size = 32 if FULL else len(found)
    yield from (found[start : start + size] for start in range(0, len(found), size))


def received(case: Case, position: str) -> bytes:
    """Return the file to import."""
    if position != "inside an export":
        return case.make()
    sound = io.BytesIO(export_bytes([{"conversation_id": "c-1", "mapping": {}}]))
    with zipfile.ZipFile(sound, "a") as archive:
        archive.writestr("Conversations__part-0001.zip", case.make(), zipfile.ZIP_STORED)
    return sound.getvalue()


def scan_refuses(data: bytes) -> bool:
    """Say whether the scan alone refuses a file: one that it lets through may be stored whole."""
    try:
        scan(io.BytesIO(data))
    except ArchiveRefused:
        return True
    return False


def refusal(data: bytes) -> Rule | None:
    """Return the rule by which the scan and the reading refuse a file."""
    file = io.BytesIO(data)
    try:
        verify(file, scan(file))
    except ArchiveRefused as refused:
        return refused.rule
    return None


@pytest.mark.parametrize("position", POSITIONS)
def test_whatever_comes_is_kept_within_bounds(position: str, tmp_path: Path) -> None:
    path = tmp_path / "repository"
    key = None
    if position == "encrypted":
        made(path).close()
        (tmp_path / "credentials").mkdir(mode=0o700)
        (tmp_path / "credentials" / "repository").write_text(PASSPHRASE)
        key = access()
    else:
        Repository.create(path).close()
    for numbers in portions():
        files = {f"{number:05}.zip": received(cases()[number], position) for number in numbers}
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        paths = [str(tmp_path / name) for name in files]

        ran = bounded(tmp_path, "--repository", str(path), "import", *paths, seconds=len(paths) + 9)

        _check_bounds(ran, len(paths))
        told = {name: (rule, selector) for name, rule, _, selector in TOLD.findall(ran.err)}
        with Repository.open(path, access=key or Access()) as repository:
            for number, (name, data) in zip(numbers, files.items(), strict=True):
                case = cases()[number]
                with ZIPS.case(case.name, position):
                    _check(repository, case, position, data, told.get(name), tmp_path)
                (tmp_path / name).unlink()
    after = bounded(tmp_path, "--repository", str(path), "check", "--read-data", "--drill")
    assert after.code in (0, 3), after.err
    _check_outside(tmp_path)


def _check_bounds(ran: Bounded, files: int) -> None:
    assert ran.code in (0, 3), ran.err
    assert ran.peak < PEAK
    assert ran.cpu < CPU_EACH + files
    assert "Traceback" not in ran.err
    assert "internal error" not in ran.err


def _check(
    repository: Repository,
    case: Case,
    position: str,
    data: bytes,
    told: tuple[str, str] | None,
    directory: Path,
) -> None:
    expected = refusal(data)
    if position == "inside an export":
        assert expected is None
    elif expected is not None:
        assert expected in case.rules, (case.name, expected)
    else:
        assert not case.rules or case.name.startswith("bit flip"), case.name
    digest = hashlib.sha256(data).hexdigest()
    back = directory / "back"
    if told is not None:
        assert told[0] == expected
        repository.release(told[1], back)
        assert digest not in {snapshot.sha256 for snapshot in repository.snapshots()}
    else:
        assert expected is None or not scan_refuses(data), case.name
        (snapshot,) = (one for one in repository.snapshots() if one.sha256 == digest)
        repository.restore_zip(snapshot, back)
    assert back.read_bytes() == data, case.name
    back.unlink()


def _check_outside(directory: Path) -> None:
    """No member's name became a path."""
    there = {path.name for path in directory.iterdir()}
    assert there <= {"repository", "credentials", "bounded.json", ".cache", ".local"}


def test_the_corpus_is_large_and_has_no_case_twice() -> None:
    assert len(cases()) >= 300
    assert len({case.name for case in cases()}) == len(cases())
    assert {rule for case in cases() for rule in case.rules} >= set(Rule) - {Rule.TOO_BIG}
