"""Repositories written earlier: each is opened, checked, restored and added to (tests T14).

A repository of a newer format, or with a feature unknown here, is refused and stays as it is.
`python -m tests.support.golden` writes the golden repository of the present format anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from backupd.errors import RepositoryRefused
from backupd.store.repository import Repository
from tests.support.campaign import campaign
from tests.support.golden import export, goldens, unpacked
from tests.support.operations import KINDS, RepositoryKind
from tests.support.storing import origin
from tests.support.syscalls import program, run

CASES = [(kind, golden) for kind in KINDS for golden in goldens(kind)]


def given(repository: Repository) -> list[str]:
    """Return the SHA-256 of each export, rebuilt."""
    found = [b"".join(repository.rebuild(snapshot)) for snapshot in repository.snapshots()]
    return [hashlib.sha256(data).hexdigest() for data in found]


def test_each_kind_has_a_golden_repository() -> None:
    assert {kind.name for kind, _ in CASES} == {kind.name for kind in KINDS}


@pytest.mark.parametrize(("kind", "golden"), CASES, ids=lambda case: getattr(case, "stem", None))
def test_golden_repository_opens_restores_and_takes_more(
    kind: RepositoryKind, golden: Path, tmp_path: Path
) -> None:
    formats = campaign(f"golden repositories, {kind.name}")
    place, digests = unpacked(golden, tmp_path)

    with formats.case("read", golden.name), kind.open(place, False, None) as repository:
        assert given(repository) == digests
        assert repository.check(read_data=True, drill=True).problems == ()
        for number, snapshot in enumerate(repository.snapshots()):
            repository.restore_zip(snapshot, tmp_path / f"{number}.zip")
            assert snapshot.proven_at
    with formats.case("written to", golden.name), kind.open(place, True, None) as repository:
        (tmp_path / "3.zip").write_bytes(export(3))
        assert not repository.add(tmp_path / "3.zip", origin("export-3.zip", 3)).already_stored
        assert repository.add(tmp_path / "0.zip", origin()).already_stored
        assert given(repository) == [*digests, hashlib.sha256(export(3)).hexdigest()]
        assert repository.check(read_data=True, drill=True).problems == ()


def state_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all there is to know of a tree but access times."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.stat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, data)
    return found


def newer_format(header: dict[str, object]) -> None:
    header["format"] = 1000


def unknown_feature(header: dict[str, object]) -> None:
    header["features"] = [*header["features"], "time-travel"]  # type: ignore[misc]


def rewrite_header(place: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the header as a later program would write it, its checksum right."""
    path = place / "backupd-repository.json"
    header = json.loads(path.read_bytes())
    header.pop("check")
    change(header)
    header["check"] = hashlib.sha256(_canonical(header)).hexdigest()
    path.chmod(0o600)
    path.write_bytes(_canonical(header))


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("change", [newer_format, unknown_feature])
@pytest.mark.parametrize(("kind", "golden"), CASES, ids=lambda case: getattr(case, "stem", None))
def test_newer_repository_is_refused_untouched(
    kind: RepositoryKind,
    golden: Path,
    change: Callable[[dict[str, object]], None],
    tmp_path: Path,
) -> None:
    place, _ = unpacked(golden, tmp_path)
    rewrite_header(place, change)
    (tmp_path / "3.zip").write_bytes(export(3))
    before = state_of(place)

    with campaign(f"newer repositories refused, {kind.name}").case(change.__name__, golden.name):
        for write in (False, True):
            with pytest.raises(RepositoryRefused, match=r"newer|unknown"):
                kind.open(place, write, None)
        for words in (("import", tmp_path / "3.zip"), ("check",), ("snapshots",), ("init",)):
            refused = run(program("-m", "backupd", "--repository", place, *words))
            assert refused.returncode not in (0, 3), words
            assert "Traceback" not in refused.stderr
        assert state_of(place) == before
