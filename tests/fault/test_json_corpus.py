"""Hostile JSON through the real command: stored, given back byte for byte, the rest read (T11).

Each kind stands as conversations.json of 2025, as a shard of 2026, in chat.html and as user.json.
A process with bounds of memory and processor time, which the kernel enforces, imports them; the
exports come back byte for byte, the repository is sound, the catalog reads the sound conversations
around what cannot be read, and counts what cannot. Under BACKUPD_FULL=1 all kinds, else some.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from functools import cache
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.store.repository import Repository
from tests.support import FULL
from tests.support.bounded import bounded
from tests.support.campaign import campaign
from tests.support.json_corpus import GOOD, Kind, documents, elements, sound, surrounded

POSITIONS = ("conversations.json", "conversations-000.json", "chat.html", "user.json")
JSON = campaign("hostile JSON")
PEAK = 800
"""MiB that a process may ever hold: the largest conversation that is read has 64 MiB."""
PORTION = 40
TOO_LARGE = ("text of 65 MiB", "text of 96 MiB")
"""Larger than the largest window: what stands behind such a conversation is kept, but
not read, and the export counts as incomplete."""


@cache
def kinds() -> tuple[tuple[Kind, bool], ...]:
    """Return every kind, and whether it stands between two sound conversations."""
    return tuple([(kind, True) for kind in elements()] + [(kind, False) for kind in documents()])


def export(kind: Kind, between: bool, position: str) -> bytes:
    """Return an export with the hostile text in one of its places."""
    text = surrounded(kind.make()) if between else kind.make()
    files = {
        "user.json": b'{"id": "user-abc"}',
        "conversations.json": b"[" + sound("another") + b"]",
        "chat.html": b"<html><script>var jsonData = [];</script></html>",
    }
    if position == "conversations-000.json":
        files["conversations-001.json"] = files.pop("conversations.json")
    files[position] = text
    if position == "chat.html":
        files[position] = b"<html><script>var jsonData = " + text + b";</script></html>"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 1, 9, 0, 0)), data)
    return target.getvalue()


@pytest.mark.parametrize("position", POSITIONS)
def test_whatever_stands_there_is_stored_exactly_and_the_rest_is_read(
    position: str, tmp_path: Path
) -> None:
    path = tmp_path / "repository"
    Repository.create(path).close()
    chosen = kinds() if FULL else kinds()[POSITIONS.index(position) * 10 :: 40]
    digests: dict[str, str] = {}
    for start in range(0, len(chosen), PORTION):
        for number, (kind, between) in enumerate(chosen[start : start + PORTION]):
            data = export(kind, between, position)
            (tmp_path / f"{number:03}.zip").write_bytes(data)
            digests[kind.name] = hashlib.sha256(data).hexdigest()
        files = sorted(tmp_path.glob("*.zip"))

        ran = bounded(tmp_path, "--repository", str(path), "import", *map(str, files), seconds=300)

        assert ran.code == 0, ran.err
        assert ran.peak < PEAK
        assert ran.cpu < 20 + 5 * len(files)
        assert "Traceback" not in ran.err
        assert "quarantine" not in ran.err
        for file in files:
            file.unlink()
    _check(path, [kind for kind, _ in chosen], position, digests)
    sound_again = bounded(
        tmp_path, "--repository", str(path), "check", "--read-data", "--drill", seconds=300
    )
    assert sound_again.code == 0, sound_again.err
    assert sound_again.peak < PEAK


def _check(path: Path, chosen: list[Kind], position: str, digests: dict[str, str]) -> None:
    between = {kind.name for kind, inside in kinds() if inside}
    with Repository.open(path) as repository:
        found = {one.sha256: one for one in repository.snapshots()}
        catalog = Catalog.open(None)
        try:
            catalog.sync(repository)
            for kind in chosen:
                with JSON.case(kind.name, position):
                    snapshot = found[digests[kind.name]]
                    back = hashlib.sha256()
                    for chunk in repository.rebuild(snapshot):
                        back.update(chunk)
                    assert back.hexdigest() == digests[kind.name], kind.name
                    summary = catalog.summary(snapshot.id)
                    assert summary is not None, kind.name
                    readable = summary.counts.total
                    assert readable >= 1 or position == POSITIONS[0], kind.name
                    if kind.name in between and position in POSITIONS[:2]:
                        least = 1 if kind.name in TOO_LARGE else len(GOOD)
                        assert readable >= least, (kind.name, readable, summary.unreadable)
                        assert kind.name not in TOO_LARGE or snapshot.complete is False
        finally:
            catalog.close()


def test_what_cannot_be_read_is_counted_and_said(tmp_path: Path) -> None:
    """A person sees that a conversation is stored but cannot be shown."""
    path, source = tmp_path / "repository", tmp_path / "export.zip"
    Repository.create(path).close()
    source.write_bytes(export(Kind("no conversation", lambda: b'{"id": "x"}'), True, POSITIONS[0]))

    ran = bounded(tmp_path, "--repository", str(path), "import", str(source))

    assert ran.code == 0
    assert "2 new, 0 changed, 0 gone, 1 stored but not readable" in ran.err


def test_the_corpus_is_as_large_as_planned() -> None:
    names = [kind.name for kind, _ in kinds()]

    assert len(names) == len(set(names))
    assert len(names) * len(POSITIONS) >= 318 + 200
    assert json.loads(sound("x"))["conversation_id"] == "x"
