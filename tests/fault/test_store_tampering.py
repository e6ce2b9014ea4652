"""Somebody with the files of an encrypted repository, but without its keys, changes them.

He knows the format and makes all names and plain checksums right again. Whatever he does, no other
bytes come out: the change is found and named, and what he did not touch still restores.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from backupd.errors import BackupdError, RepositoryDamaged
from backupd.store.envelope import Cipher, Forged, Purpose
from backupd.store.frames import Codec
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.naming import Kind, frame_name
from backupd.store.packs import ObjectEntry, PackDamaged, PackWriter, frame_context, read_directory
from backupd.store.repository import Repository
from tests.support.sealing import by_recovery_key, changed, flipped, made, new_keys, opened
from tests.support.storing import copied, put, sample, week

TRAILER = struct.Struct("<QQ32s16s")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with made(root / "repository") as repository:
        put(repository, root, week(1), 1)
        put(repository, root, week(2), 2)
    return root / "repository"


def packs(place: Path) -> list[Path]:
    return sorted(place.glob("packs/*/*.pack"))


def renamed(pack: Path) -> Path:
    """Give a changed pack the name that its bytes ask for."""
    name = hashlib.sha256(pack.read_bytes()).hexdigest()
    target = pack.parent.parent / name[:2] / f"{name}.pack"
    target.parent.mkdir(exist_ok=True, mode=0o700)
    return pack.rename(target)


def with_honest_trailer(pack: Path) -> Path:
    """Make the checksum of a changed directory right, and the name too."""

    def repair(data: bytes) -> bytes:
        offset, length, _, end = TRAILER.unpack(data[-TRAILER.size :])
        digest = hashlib.sha256(data[offset : offset + length]).digest()
        return data[: -TRAILER.size] + TRAILER.pack(offset, length, digest, end)

    changed(pack, repair)
    return renamed(pack)


def never_other_bytes(place: Path) -> int:
    """Return how many exports still come back; what comes back is what was stored."""
    good = 0
    with opened(place) as repository:
        for snapshot in repository.snapshots():
            try:
                data = b"".join(repository.rebuild(snapshot))
            except RepositoryDamaged:
                continue
            assert data in (week(1), week(2))
            good += 1
    return good


def bits(size: int, most: int) -> list[int]:
    return sample(size * 8, most)


def test_a_flipped_bit_anywhere_in_a_pack_is_named(template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    with opened(place) as repository:
        for pack in packs(place):
            for bit in bits(pack.stat().st_size, 60):
                changed(pack, flipped(bit))
                assert not repository.check(read_data=True).ok, (pack.name, bit)
                changed(pack, flipped(bit))
        assert repository.check(read_data=True).ok


def test_a_flipped_bit_under_an_honest_name_is_found(template: Path, tmp_path: Path) -> None:
    """The pack gets the name of its new bytes; only the sealing can tell."""
    size = packs(template)[0].stat().st_size
    for bit in bits(size, 25):
        place = copied(template, tmp_path / "r")
        changed(packs(place)[0], flipped(bit))
        with_honest_trailer(packs(place)[0]) if bit // 8 < size - TRAILER.size else renamed(
            packs(place)[0]
        )

        with opened(place) as repository:
            assert not repository.check(read_data=True).ok, bit
        never_other_bytes(place)
        shutil.rmtree(place)


@pytest.mark.parametrize("kind", ["snapshots", "proofs", "keys"])
def test_every_flipped_bit_of_a_small_file_is_named(
    template: Path, tmp_path: Path, kind: str
) -> None:
    place = copied(template, tmp_path / "r")
    path = sorted((place / kind).iterdir())[0]
    for bit in bits(path.stat().st_size, 120):
        changed(path, flipped(bit))
        with opened_by_another_key(place) as repository:
            problems = repository.check().problems
        assert [p for p in problems if p.path == f"{kind}/{path.name}"], bit
        changed(path, flipped(bit))


def opened_by_another_key(place: Path) -> Repository:
    """Open by whichever of passphrase and recovery key still opens."""
    try:
        return opened(place)
    except BackupdError:
        return Repository.open(place, access=by_recovery_key())


def test_files_of_two_snapshots_cannot_be_swapped(template: Path, tmp_path: Path) -> None:
    for kind in ("snapshots", "proofs"):
        place = copied(template, tmp_path / kind)
        one, two = sorted((place / kind).iterdir())
        first, second = one.read_bytes(), two.read_bytes()
        changed(one, lambda _, data=second: data)
        changed(two, lambda _, data=first: data)

        with opened(place) as repository:
            named = {p.path for p in repository.check().problems}
        assert named >= {f"{kind}/{one.name}", f"{kind}/{two.name}"}


def test_a_file_of_one_kind_is_none_of_another(template: Path, tmp_path: Path) -> None:
    """A proof under the name of its bytes is no snapshot, although it is genuine."""
    place = copied(template, tmp_path / "r")
    proof = sorted((place / "proofs").iterdir())[0].read_bytes()
    name = hashlib.sha256(proof).hexdigest()
    (place / "snapshots" / name).write_bytes(proof)

    with opened(place) as repository:
        assert [p.path for p in repository.check().problems] == [f"snapshots/{name}"]
        assert len(repository.snapshots()) == 2


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "empty": lambda data: data[:0],
    "grown": lambda data: data + b"\0",
}


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("kind", ["packs/*", "snapshots", "proofs", "keys"])
def test_truncation_is_named(template: Path, tmp_path: Path, kind: str, how: str) -> None:
    place = copied(template, tmp_path / "r")
    path = sorted(place.glob(f"{kind}/*"))[-1]
    changed(path, CUTS[how])

    with opened_by_another_key(place) as repository:
        assert not repository.check(read_data=True).ok


def test_a_pack_of_another_repository_is_refused(template: Path, tmp_path: Path) -> None:
    with made(tmp_path / "other") as other:
        put(other, tmp_path, week(1))
    place = copied(template, tmp_path / "r")
    foreign = packs(tmp_path / "other")[0]
    target = place / "packs" / foreign.parent.name
    target.mkdir(exist_ok=True, mode=0o700)
    shutil.copy(foreign, target / foreign.name)

    with opened(place) as repository:
        (problem,) = repository.check().problems
    assert foreign.name in problem.path
    assert never_other_bytes(place) == 2


def test_payloads_of_two_frames_cannot_be_swapped(tmp_path: Path) -> None:
    """Not between objects, kinds, codecs or prefixes, whatever the directory would say."""
    cipher = Cipher(bytes(32))
    writer = PackWriter(NewFile(FileSystem(), temporary(tmp_path)), 1, cipher)
    names = [cipher.object_id(bytes([n]) * 50) for n in range(2)]
    for number, name in enumerate(names):
        item = ObjectEntry(name, 50, b"")
        writer.add(Kind.ASSET, (Codec.PLAIN, bytes([number]) * 50), (), (item,))
    sealed = writer.seal()
    data = sealed.path.read_bytes()
    directory, _ = read_directory(sealed.path, cipher)
    one, two = directory.frames
    payload = data[one.offset : one.offset + one.length]
    true = frame_context(frame_name(names[:1]), Kind.ASSET, Codec.PLAIN, ())

    assert cipher.unseal(Purpose.FRAME, true, payload) == bytes(50)
    for context in (
        frame_context(frame_name(names[1:]), Kind.ASSET, Codec.PLAIN, ()),
        frame_context(frame_name(names[:1]), Kind.STREAM, Codec.PLAIN, ()),
        frame_context(frame_name(names[:1]), Kind.ASSET, Codec.ZSTD, ()),
        frame_context(frame_name(names[:1]), Kind.ASSET, Codec.PLAIN, (names[1],)),
    ):
        with pytest.raises(Forged):
            cipher.unseal(Purpose.FRAME, context, payload)
    assert one.length == two.length
    assert one.checksum != two.checksum


def test_swapped_payloads_in_a_pack_are_found(template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    for pack in packs(place):
        with opened(place) as repository:
            directory, _ = read_directory(pack, repository._snapshots.envelope)
        frames = sorted(directory.frames, key=lambda f: f.length)
        one, two = min(itertools.pairwise(frames), key=lambda pair: pair[1].length - pair[0].length)

        def swap(data: bytes, one: object = one, two: object = two) -> bytes:
            out = bytearray(data)
            size = min(one.length, two.length)
            a, b = slice(one.offset, one.offset + size), slice(two.offset, two.offset + size)
            out[a], out[b] = data[b], data[a]
            return bytes(out)

        changed(pack, swap)
        renamed(pack)

    with opened(place) as repository:
        problems = repository.check(read_data=True).problems
    assert len([p for p in problems if p.path.startswith("packs/")]) >= 2
    assert never_other_bytes(place) == 0


def test_directory_from_another_pack_is_refused(template: Path, tmp_path: Path) -> None:
    place = copied(template, tmp_path / "r")
    one, two = packs(place)
    other = two.read_bytes()
    offset, length, _, _ = TRAILER.unpack(other[-TRAILER.size :])
    taken = other[offset : offset + length]

    def transplant(data: bytes) -> bytes:
        start = TRAILER.unpack(data[-TRAILER.size :])[0]
        digest = hashlib.sha256(taken).digest()
        return data[:start] + taken + TRAILER.pack(start, len(taken), digest, b"backupd pack end")

    changed(one, transplant)

    with opened(place) as repository, pytest.raises(PackDamaged):
        read_directory(renamed(one), repository._snapshots.envelope)


def test_creation_broken_off_leaves_a_place_where_one_can_be_made(tmp_path: Path) -> None:
    made(tmp_path / "r").close()
    (tmp_path / "r/backupd-repository.json").unlink()

    with Repository.create(tmp_path / "r", keys=new_keys()) as repository:
        assert repository.keys is not None
        assert len(repository.keys.all()) == 2
        assert repository.check().ok
