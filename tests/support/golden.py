"""Repositories of every released format, kept for ever, and the program that makes a new one.

    python -m tests.support.golden [NAME]

writes tests/data/golden/NAME-KIND.tar.xz for every kind of repository, NAME being `current` unless
said otherwise. Before a release that changed the format, make one under the name of the format that
is being left (`format-1`) from the last commit that wrote it; from then on it must open.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.support.operations import KINDS, RepositoryKind
from tests.support.storing import conversation, export_bytes, origin

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
EXPORTS = (1, 2)


def export(number: int) -> bytes:
    """Make one of the small exports; 1 and 2 are in every golden repository, 3 is not."""
    talks = [conversation(n, turns=1 + number) for n in range(2 + number)]
    return export_bytes(talks, {f"file-{number}.png": bytes(range(200))}, day=number)


def goldens(kind: RepositoryKind) -> list[Path]:
    """Return the golden repositories of a kind."""
    return sorted(GOLDEN.glob(f"*-{kind.name}.tar.xz"))


def unpacked(golden: Path, directory: Path) -> tuple[Path, list[str]]:
    """Unpack a golden repository; return its place and the SHA-256 of each export in it."""
    with tarfile.open(golden) as archive:
        for entry in archive:
            path = directory / entry.name
            if entry.isdir():
                path.mkdir(parents=True)
            else:
                file = archive.extractfile(entry)
                path.write_bytes(file.read() if file else b"")
            path.chmod(entry.mode)
    return directory / "repository", json.loads((directory / "exports.json").read_text())


def make(kind: RepositoryKind, golden: Path) -> None:
    """Write a golden repository of the format that this program writes."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with kind.create(place / "repository", None) as repository:
            for number in EXPORTS:
                source = place / "export.zip"
                source.write_bytes(export(number))
                repository.add(source, origin(f"export-{number}.zip", number))
        golden.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(golden, "w:xz") as archive:
            archive.add(place / "repository", "repository", filter=_plain)
            digests = [hashlib.sha256(export(number)).hexdigest() for number in EXPORTS]
            data = json.dumps(digests).encode()
            entry = tarfile.TarInfo("exports.json")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what is derived, and who made it when."""
    parts = Path(entry.name).parts
    if parts[1:2] in (("lock",),) or (parts[1:2] == ("cache",) and len(parts) > 2):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "current"
    for known in KINDS:
        make(known, GOLDEN / f"{name}-{known.name}.tar.xz")
        print(GOLDEN / f"{name}-{known.name}.tar.xz")
