"""Sealing: what is sealed opens as itself and as nothing else, and no key is used twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.store import crypto, recovery
from backupd.store.crypto import SEGMENT_BYTES, Forged, Purpose
from backupd.store.envelope import PLAIN, Cipher

KEY = bytes(range(32))
PURPOSES = st.sampled_from(Purpose)


@settings(deadline=None)
@given(PURPOSES, st.binary(max_size=80), st.binary(max_size=3000))
def test_sealed_bytes_open_as_themselves(purpose: Purpose, context: bytes, data: bytes) -> None:
    sealed = crypto.seal(KEY, purpose, context, data)

    assert crypto.unseal(KEY, purpose, context, sealed) == data
    assert len(sealed) == len(data) + crypto.OVERHEAD


def test_every_flipped_bit_and_every_cut_is_found() -> None:
    sealed = crypto.seal(KEY, Purpose.PROOF, b"id", b"some bytes")

    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Forged):
            crypto.unseal(KEY, Purpose.PROOF, b"id", bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(Forged):
            crypto.unseal(KEY, Purpose.PROOF, b"id", sealed[:length])


@pytest.mark.parametrize(
    ("key", "purpose", "context"),
    [
        (bytes(32), Purpose.PROOF, b"id"),
        (KEY, Purpose.FRAME, b"id"),
        (KEY, Purpose.PROOF, b"i"),
        (KEY, Purpose.PROOF, b"id "),
    ],
)
def test_another_key_purpose_or_id_opens_nothing(
    key: bytes, purpose: Purpose, context: bytes
) -> None:
    sealed = crypto.seal(KEY, Purpose.PROOF, b"id", b"data")

    with pytest.raises(Forged):
        crypto.unseal(key, purpose, context, sealed)


LENGTHS = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES]


def sealed_stream(data: bytes, step: int) -> list[bytes]:
    chunks = (data[start : start + step] for start in range(0, len(data), step))
    return list(crypto.seal_stream(KEY, Purpose.QUARANTINE, b"name", chunks))


def opened(parts: list[bytes]) -> bytes:
    return b"".join(crypto.unseal_stream(KEY, Purpose.QUARANTINE, b"name", parts))


@pytest.mark.parametrize("length", LENGTHS)
def test_streams_open_as_themselves_however_they_are_cut_in_pieces(length: int) -> None:
    data = bytes(n * 7 % 251 for n in range(1000)) * (length // 1000 + 1)
    data = data[:length]
    whole = b"".join(sealed_stream(data, 300_001))

    assert opened([whole]) == data
    assert opened([whole[:5], whole[5:40], whole[40:]]) == data


FORGERIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "cut after a segment": lambda parts: parts[:-1],
    "cut in a segment": lambda parts: [*parts[:-1], parts[-1][:-1]],
    "grown": lambda parts: [*parts, b"x"],
    "swapped": lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
    "a segment left out": lambda parts: [parts[0], *parts[2:]],
    "a segment twice": lambda parts: [*parts[:2], *parts[1:]],
    "nothing": lambda parts: parts[:0],
    "salt only": lambda parts: parts[:1],
    "another salt": lambda parts: [bytes(32), *parts[1:]],
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_changed_stream_does_not_open(how: str) -> None:
    parts = sealed_stream(bytes(3 * SEGMENT_BYTES), 1 << 20)

    with pytest.raises(Forged):
        opened(FORGERIES[how](parts))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every (key, nonce) that anything is encrypted with, in order."""
    pairs: list[tuple[bytes, bytes]] = []
    real = crypto.AESGCM

    class Recording:
        def __init__(self, key: bytes) -> None:
            self._key = key
            self._real = real(key)

        def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
            pairs.append((self._key, nonce))
            return self._real.encrypt(nonce, data, associated)

    monkeypatch.setattr(crypto, "AESGCM", Recording)
    return pairs


def test_no_key_and_nonce_ever_repeat(used: list[tuple[bytes, bytes]]) -> None:
    """100,000 objects, all of the same bytes and the same name, and some streams."""
    cipher = Cipher(KEY)
    for number in range(100_000):
        cipher.seal(Purpose(number % 6 + 1), b"the same id", b"the same bytes")
    for _ in range(10):
        list(cipher.seal_stream(Purpose.QUARANTINE, b"n", [bytes(2 * SEGMENT_BYTES + 1)]))

    assert len(used) == 100_000 + 30
    assert len(set(used)) == len(used)
    assert len({key for key, _ in used}) == 100_000 + 10


def test_equal_bytes_never_give_equal_bytes() -> None:
    cipher = Cipher(KEY)
    made = {cipher.seal(Purpose.FRAME, b"id", bytes(64)) for _ in range(1000)}

    assert len(made) == 1000
    assert len({sealed[32:64] for sealed in made}) == 1000


def test_names_and_sub_keys_differ_with_the_master_key_and_with_the_label() -> None:
    one, two = Cipher(KEY), Cipher(bytes(32))

    assert one.object_id(b"x") == Cipher(KEY).object_id(b"x")
    assert len({e.object_id(b"x") for e in (one, two, PLAIN)}) == 3
    assert one.object_id(bytes(32)).hex() != one.file_name(bytes(32))
    assert len({crypto.derive(KEY, p.name) for p in Purpose}) == len(Purpose)


def test_a_cipher_does_not_show_its_key() -> None:
    assert KEY.hex() not in repr(Cipher(KEY))
    assert repr(KEY) not in repr(Cipher(KEY))


SIZES = st.sampled_from([recovery.RECOVERY_SIZE, recovery.MASTER_SIZE])


@given(SIZES.flatmap(lambda size: st.binary(min_size=size, max_size=size)), st.randoms())
def test_keys_on_paper_are_read_however_they_are_typed(key: bytes, dice: object) -> None:
    text = recovery.written(key)

    assert recovery.read(text) == key
    assert recovery.read(text.lower().replace("-", " ")) == key
    assert recovery.read(text.replace("0", "O").replace("1", "l")) == key
    assert set(text) <= set(recovery.ALPHABET + "-")
    assert not set("ILOU") & set(text)


def test_every_wrong_character_is_found() -> None:
    plain = recovery.new().replace("-", "")

    for place, right in enumerate(plain):
        for wrong in recovery.ALPHABET.replace(right, ""):
            with pytest.raises(recovery.Mistyped):
                recovery.read(plain[:place] + wrong + plain[place + 1 :])


def test_swapped_lost_and_foreign_groups_are_found() -> None:
    groups = recovery.new().split("-")
    assert len(groups) == 9
    assert len(recovery.written(KEY).split("-")) == 14
    for wrong in (
        [groups[1], groups[0], *groups[2:]],
        groups[1:],
        [*groups, groups[0]],
        [*groups[:-1], "?!AB"],
        [],
    ):
        if wrong != groups:
            with pytest.raises(recovery.Mistyped) as caught:
                recovery.read("-".join(wrong))
            assert groups[3] not in str(caught.value)
