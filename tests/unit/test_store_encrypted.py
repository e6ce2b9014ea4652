"""An encrypted repository does all that a plain one does, and tells a stranger nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.demo.exports.series import series
from backupd.errors import CredentialError, RepositoryDamaged, RepositoryRefused, UsageError
from backupd.store.derived import Access, lies_in_memory
from backupd.store.envelope import Purpose
from backupd.store.repository import Origin, Repository
from tests.support.sealing import NOW, PASSPHRASE, access, made, new_keys, opened
from tests.support.storing import conversation, copied, export_bytes, files_below, origin, put, week

ERAS = ["2023", "2025", "2026", "privacy"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    with made(tmp_path / "repository") as repository:
        yield repository


def rebuilt(repository: Repository) -> list[str]:
    return [
        hashlib.sha256(b"".join(repository.rebuild(snapshot))).hexdigest()
        for snapshot in repository.snapshots()
    ]


@pytest.mark.parametrize("era", ERAS)
def test_exports_of_every_era_come_back(tmp_path: Path, era: str) -> None:
    exports = list(series(seed=5, era=era, exports=2, conversations=15))
    zips = [export.write(tmp_path / export.file_name) for export in exports]
    with made(tmp_path / "r") as sealed, Repository.create(tmp_path / "p") as plain:
        for path in zips:
            sealed.add(path, Origin(path.name, NOW, "import"))
            plain.add(path, Origin(path.name, NOW, "import"))

    with opened(tmp_path / "r") as repository, Repository.open(tmp_path / "p") as plain:
        wanted = [hashlib.sha256(path.read_bytes()).hexdigest() for path in zips]
        assert sorted(rebuilt(repository)) == sorted(wanted)
        assert repository.check(read_data=True, drill=True).ok
        assert repository.stats().objects == plain.stats().objects
        assert counts(repository) == counts(plain)


def test_encryption_costs_next_to_no_room(tmp_path: Path) -> None:
    sizes = []
    for keys in (None, new_keys()):
        place = tmp_path / ("plain" if keys is None else "sealed")
        with Repository.create(place, keys=keys) as repository:
            for export in series(seed=1, exports=2, conversations=60):
                path = export.write(tmp_path / export.file_name)
                repository.add(path, Origin(path.name, NOW, "import"))
            sizes.append(repository.stats().stored_bytes)

    assert sizes[0] < sizes[1] <= sizes[0] * 1.02


def counts(repository: Repository) -> list[object]:
    catalog = Catalog.open(repository.catalog)
    try:
        catalog.sync(repository)
        return [catalog.counts(snapshot.id) for snapshot in repository.snapshots()]
    finally:
        catalog.close()


def test_the_same_export_again_adds_nothing(repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, week(1))
    before = files_below(repository.path)

    again = put(repository, tmp_path, week(1))

    assert again.already_stored
    assert files_below(repository.path) == before


def test_index_made_anew_and_members_restored(repository: Repository, tmp_path: Path) -> None:
    put(repository, tmp_path, week(1))
    snapshot = repository.snapshots()[0]

    assert repository.rebuild_index().packs == 1
    repository.restore_zip(snapshot, tmp_path / "back.zip")
    repository.restore_members(snapshot, tmp_path / "members")

    assert (tmp_path / "back.zip").read_bytes() == week(1)
    assert json.loads((tmp_path / "members/conversations.json").read_bytes())


def test_equal_exports_in_two_repositories_share_no_bytes(tmp_path: Path) -> None:
    names, blocks = [], []
    for place in ("one", "two"):
        with made(tmp_path / place) as repository:
            put(repository, tmp_path, week(1))
        files = [p for p in (tmp_path / place).rglob("*") if p.is_file() and "packs" in p.parts]
        names.append({path.name for path in files})
        data = b"".join(path.read_bytes()[16:-64] for path in files)
        blocks.append({data[start : start + 16] for start in range(len(data) - 15)})

    assert not names[0] & names[1]
    assert not blocks[0] & blocks[1]


TALK = conversation(7)
PICTURE = bytes(range(256)) * 40


def telling() -> dict[str, bytes]:
    """Everything by which a stranger might recognise an export, as it might be written."""
    data = export_bytes([TALK], {"file-abc.png": PICTURE})
    hashes = {
        "hash of the ZIP": hashlib.sha256(data).digest()[:16],
        "hash of a picture": hashlib.sha256(PICTURE).digest()[:16],
        "hash of a talk": hashlib.sha256(json.dumps(TALK).encode()).digest()[:16],
        "hash of the user": hashlib.sha256(b"user-abc").digest()[:16],
        "hash of a bad ZIP": hashlib.sha256(b"PK no zip").digest()[:16],
    }
    words = {
        word: word.encode()
        for word in (
            "conversations.json", "file-abc", "user-abc", "a@example.org", "the-name-of-the.zip",
            "quick", "Talk 7", str(TALK["conversation_id"]), "a-rule", "a-mailbox",
        )
    }  # fmt: skip
    hexes = {f"{name}, hex": value.hex().encode() for name, value in hashes.items()}
    return {**hashes, **hexes, **words, "a picture": PICTURE[:24]}


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_stranger_finds_nothing_that_he_knows(tmp_path: Path, encrypted: bool) -> None:
    """The same search in a plain repository finds all but what is compressed away."""
    place = tmp_path / "repository"
    keys = new_keys() if encrypted else None
    source = tmp_path / "the-name-of-the.zip"
    with Repository.create(place, keys=keys) as repository:
        source.write_bytes(export_bytes([TALK], {"file-abc.png": PICTURE}))
        known = Origin(source.name, NOW, "mail", mailbox="a-mailbox")
        repository.add(source, known)
        source.write_bytes(b"PK no zip")
        repository.quarantine(source, "a-rule", "why", known)
        catalog = Catalog.open(repository.catalog)
        catalog.sync(repository)
        catalog.close()

    found = set()
    for path in place.rglob("*"):
        text = str(path.relative_to(place)).encode()
        data = text + (path.read_bytes() if path.is_file() else b"")
        found |= {name for name, value in telling().items() if value in data}

    if encrypted:
        assert found == set()
        assert not list((place / "cache").iterdir())
        assert not list((place / "incoming").iterdir())
    else:
        assert {"hash of the ZIP, hex", "hash of a picture", "a-rule", "user-abc"} <= found | {
            "user-abc"
        }


def test_quarantined_bytes_come_back_as_received(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "bad.zip"
    source.write_bytes(b"PK no zip" * 300_000)

    kept = repository.quarantine(source, "no-zip", "it is none", origin())
    assert repository.quarantine(source, "no-zip", "it is none", origin()) == kept
    assert repository.release(kept.name[:8], tmp_path / "back") == len(source.read_bytes())

    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert kept.read_bytes()[-100:] != source.read_bytes()[-100:]
    assert repository.check(read_data=True).ok
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:-1])
    assert not repository.check(read_data=True).ok
    with pytest.raises(RepositoryDamaged):
        repository.release(kept.name[:8], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_quarantined_bytes_of_a_plain_repository_come_back(tmp_path: Path) -> None:
    source = tmp_path / "bad.zip"
    source.write_bytes(b"PK no zip")
    with Repository.create(tmp_path / "r") as repository:
        kept = repository.quarantine(source, "no-zip", "it is none", origin())
        repository.release(kept.stem, tmp_path / "back")
        with pytest.raises(UsageError, match="there is none"):
            repository.release("zz", tmp_path / "x")
        with pytest.raises(UsageError, match="exists already"):
            repository.release(kept.stem, tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == b"PK no zip"


def test_derived_files_lie_where_they_were_ordered(tmp_path: Path) -> None:
    made(tmp_path / "r").close()
    with Repository.open(tmp_path / "r", access=access(cache=str(tmp_path / "place"))) as chosen:
        assert chosen.derived is not None
        assert chosen.derived.parent == tmp_path / "place"
        assert {p.stat().st_mode & 0o077 for p in (tmp_path / "place").rglob("*")} == {0}
    copied(tmp_path / "r", tmp_path / "copy")
    with Repository.open(tmp_path / "copy", access=access(cache=str(tmp_path / "place"))) as copy:
        assert copy.derived not in (None, chosen.derived)
    with Repository.open(tmp_path / "r", access=access(cache="auto")) as alone:
        assert alone.derived is None
        assert alone.catalog is None
    for place in ("repository", str(tmp_path / "r/cache"), "elsewhere"):
        with pytest.raises(RepositoryRefused):
            Repository.open(tmp_path / "r", access=access(cache=place))


@pytest.mark.skipif(not lies_in_memory(Path("/dev/shm")), reason="/dev/shm is not in memory")
def test_derived_files_lie_in_memory_if_there_is_a_private_place(tmp_path: Path) -> None:
    if lies_in_memory(tmp_path):
        pytest.skip("the directory for temporary files lies in memory itself")
    made(tmp_path / "r").close()
    place = Path("/dev/shm") / f"backupd-test-{os.getpid()}"
    there = Access(lambda: PASSPHRASE, runtime=(tmp_path, place))
    try:
        with Repository.open(tmp_path / "r", access=there) as repository:
            assert repository.derived is not None
            assert repository.derived.parent == place
        place.chmod(0o755)
        with Repository.open(tmp_path / "r", access=there) as repository:
            assert repository.derived is None
    finally:
        for path in sorted(place.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        place.rmdir()


def test_a_repository_opened_again_needs_no_passphrase(repository: Repository) -> None:
    with repository.reopen() as again:
        assert again.check().ok


def test_a_header_that_lost_its_encryption_is_refused(tmp_path: Path) -> None:
    """Else a stranger with write access would get the next exports in the clear."""
    made(tmp_path / "r").close()
    Repository.create(tmp_path / "p").close()
    header = tmp_path / "r/backupd-repository.json"
    header.unlink()
    header.write_bytes((tmp_path / "p/backupd-repository.json").read_bytes())

    with pytest.raises(RepositoryRefused, match="has keys"):
        opened(tmp_path / "r")
    with pytest.raises(UsageError, match="not encrypted"):
        Repository.open(tmp_path / "p", access=Access(expect_encrypted=True))


def test_a_program_that_knows_no_encryption_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "r").close()
    monkeypatch.setattr("backupd.store.header.FEATURES", frozenset())

    with pytest.raises(RepositoryRefused, match="unknown features: encryption"):
        opened(tmp_path / "r")


def test_without_a_passphrase_nothing_opens(tmp_path: Path) -> None:
    made(tmp_path / "r").close()

    with pytest.raises(CredentialError, match="no passphrase"):
        Repository.open(tmp_path / "r")
    with pytest.raises(CredentialError, match="no key opens"):
        opened(tmp_path / "r", "wrong passphrase")


def test_every_purpose_of_a_repository_is_sealed(repository: Repository, tmp_path: Path) -> None:
    """Each file of a snapshot opens under its own purpose and name only."""
    put(repository, tmp_path, week(1))
    cipher = repository._snapshots.envelope  # the tests play the program
    snapshot = repository.snapshots()[0].id
    manifest = (repository.path / "snapshots" / snapshot).read_bytes()
    proof = (repository.path / "proofs" / snapshot).read_bytes()

    assert cipher.unseal(Purpose.MANIFEST, b"", manifest).startswith(b'{"account"')
    assert cipher.unseal(Purpose.PROOF, snapshot.encode(), proof).startswith(b'{"check"')
