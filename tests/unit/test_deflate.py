"""Finding the encoder of a stream and writing the stream again."""

from __future__ import annotations

import io
import itertools
import json
import random
import zlib

import pytest

from backupd.export import deflate
from backupd.export.archive import read_member, read_raw, scan
from backupd.export.deflate import Encoder, Proof
from tests.support import zips
from tests.support.zips import STORED, Part, build

WORDS = [word for word in json.__doc__.split() if word] * 3


def prose(size: int, seed: int = 1) -> bytes:
    """Return compressible text."""
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=size // 6)).encode()[:size]


TEXT = prose(700_000)
NOISE = random.Random(2).randbytes(400_000)


def stream(content: bytes, encoder: Encoder) -> bytes:
    return zips.deflate(content, encoder.level, encoder.mem_level, encoder.strategy)


def steps(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("mem_level", [8, 9])
def test_the_encoder_of_a_text_is_found_and_proved(level: int, mem_level: int) -> None:
    raw = stream(TEXT, Encoder(level, mem_level))

    found = deflate.identify(steps(raw, 65536))

    assert found is not None
    assert b"".join(deflate.encode(steps(TEXT, 100_000), found)) == raw


@pytest.mark.parametrize(
    "encoder",
    [
        Encoder(6, mem_level, strategy)
        for mem_level in (8, 9)
        for strategy in (zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
    ]
    + [Encoder(6, 1), Encoder(9, 4)],
)
def test_rare_parameters_are_found(encoder: Encoder) -> None:
    content = TEXT[:300_000]
    raw = stream(content, encoder)

    found = deflate.identify([raw])

    assert found is not None
    assert stream(content, found) == raw


def test_incompressible_data_can_agree_with_several_and_proof_decides() -> None:
    content = NOISE + TEXT[:200_000]
    file = io.BytesIO(build(Part(content=content, stream=stream(content, Encoder(2, 8)))))
    member = scan(file).members[0]

    assert len(list(deflate.agreeing(read_raw(file, member)))) > 1
    found = deflate.find_encoder(file, member)

    assert found is None or deflate.reproduces(file, member, found)


def test_the_encoder_of_the_other_members_is_tried_first() -> None:
    raw = stream(b"short", Encoder(9, 8))

    assert deflate.identify([raw]) == Encoder(6, 8)
    assert deflate.identify([raw], Encoder(9, 8)) == Encoder(9, 8)


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff" * 100, b"\x01", random.Random(3).randbytes(5000), zlib.compress(TEXT)],
    ids=["empty", "bad", "one byte", "noise", "zlib header"],
)
def test_what_is_no_stream_has_no_encoder(raw: bytes) -> None:
    assert deflate.identify([raw]) is None


def test_an_unknown_encoder_is_told_apart() -> None:
    raw = zips.deflate_unknown(TEXT, 50_000)

    assert zlib.decompress(raw, -15) == TEXT
    assert deflate.identify(steps(raw, 65536)) is None


@pytest.mark.parametrize("sizes", [(1,), (7, 300_000), (65_536,), (262_144,), (10_000_000,)])
def test_the_same_content_gives_the_same_stream_however_it_is_cut(sizes: tuple[int, ...]) -> None:
    content = TEXT[:600_000] if sizes == (1,) else TEXT
    chunks, position = [], 0
    for size in itertools.cycle(sizes):
        chunks.append(content[position : position + size])
        position += size
        if position >= len(content):
            break

    assert b"".join(deflate.encode(chunks, Encoder(6, 9))) == stream(content, Encoder(6, 9))


@pytest.mark.parametrize("content", [b"", b"x", TEXT, NOISE], ids=["empty", "x", "text", "noise"])
def test_a_member_is_proved_to_be_reproduced(content: bytes) -> None:
    file = io.BytesIO(build(Part(content=content), Part(b"b", content, STORED)))
    deflated, stored = scan(file).members

    assert deflate.reproduces(file, deflated, Encoder(6, 8))
    assert deflate.find_encoder(file, deflated) is not None
    assert not deflate.reproduces(file, stored, Encoder(6, 8))
    assert deflate.find_encoder(file, stored) is None


def test_a_wrong_encoder_or_damage_disproves() -> None:
    good = build(Part(content=TEXT))
    file = io.BytesIO(good)
    member = scan(file).members[0]
    damaged = bytearray(good)
    damaged[member.data_end - 9] ^= 1

    assert not deflate.reproduces(file, member, Encoder(1, 8))
    assert not deflate.reproduces(io.BytesIO(bytes(damaged)), member, Encoder(6, 8))


@pytest.mark.parametrize("change", ["flip", "cut", "more", "empty"])
def test_a_proof_notices_every_difference_of_the_known_stream(change: str) -> None:
    raw = stream(TEXT, Encoder(6, 8))
    known = {
        "flip": raw[:-5] + bytes((raw[-5] ^ 4,)) + raw[-4:],
        "cut": raw[:-1],
        "more": raw + b"\0",
        "empty": b"",
    }[change]
    proof = Proof(Encoder(6, 8), steps(known, 1000))
    for chunk in steps(TEXT, 70_000):
        proof.feed(chunk)

    assert not proof.finish()
    assert not proof.holds


def test_a_proof_runs_beside_the_reading_of_a_member() -> None:
    file = io.BytesIO(build(Part(content=TEXT)))
    member = scan(file).members[0]
    proof = Proof(Encoder(6, 8), read_raw(file, member))
    seen = b""
    for chunk in read_member(file, member):
        seen += chunk
        assert proof.feed(chunk)

    assert proof.finish()
    assert seen == TEXT


def test_a_disproved_stream_is_read_no_further() -> None:
    taken = []

    def known() -> object:
        for number in range(100):
            taken.append(number)
            yield b"\0" * 1000

    proof = Proof(Encoder(6, 8), known())  # type: ignore[arg-type]
    for chunk in steps(TEXT, 262_144):
        proof.feed(chunk)

    assert not proof.finish()
    assert len(taken) == 1
