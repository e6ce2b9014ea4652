"""Content and parameters give a stream back, whatever they are."""

from __future__ import annotations

import io
import zlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backupd.export import candidates, deflate
from backupd.export.archive import scan
from backupd.export.deflate import Encoder, Proof
from backupd.export.encoders import Flush
from tests.support import FULL
from tests.support.zips import Part, build
from tests.support.zips import deflate as compressed

EXAMPLES = 3000 if FULL else 120

encoders = st.builds(
    Encoder,
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE]),
)
usual = st.builds(Encoder, st.integers(1, 9), st.integers(8, 9))
contents = st.builds(
    lambda parts, repeat: b"".join(parts) * repeat,
    st.lists(st.binary(max_size=300) | st.text(max_size=80).map(str.encode), max_size=20),
    st.integers(1, 400),
)


def stream(content: bytes, encoder: Encoder) -> bytes:
    return compressed(content, encoder.level, encoder.mem_level, encoder.strategy)


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=contents, encoder=encoders, size=st.integers(1, 400_000))
def test_encoding_is_zlib_whatever_the_chunks(content: bytes, encoder: Encoder, size: int) -> None:
    chunks = [content[at : at + size] for at in range(0, min(len(content), size * 500), size)]
    content = b"".join(chunks)

    assert b"".join(deflate.encode(chunks, encoder)) == stream(content, encoder)


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=contents, encoder=usual)
def test_usual_encoders_are_found_and_give_the_stream_back(
    content: bytes, encoder: Encoder
) -> None:
    raw = stream(content, encoder)
    file = io.BytesIO(build(Part(content=content, stream=raw)))
    member = scan(file).members[0]

    found = deflate.find_encoder(file, member)

    assert found is not None
    assert b"".join(deflate.encode([content], found)) == raw


@settings(max_examples=EXAMPLES, deadline=None)
@given(raw=st.binary(max_size=3000))
def test_any_bytes_are_identified_or_not(raw: bytes) -> None:
    found = deflate.identify([raw])

    if found is not None:
        content = zlib.decompressobj(-15).decompress(raw)
        made = b"".join(deflate.encode([content], found))
        assert zlib.decompress(made, -15) == content


others = st.sampled_from(
    [*candidates.ZLIBS[::4], *candidates.streaming(), *list(candidates.whole())[:9]]
)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(content=contents, encoder=others)
@example(content=b"", encoder=next(candidates.whole()))
def test_every_carried_encoder_gives_its_streams_back(content: bytes, encoder: Encoder) -> None:
    raw = b"".join(deflate.encode([content], encoder))
    file = io.BytesIO(build(Part(content=content, stream=raw)))

    found = deflate.find_encoder(file, scan(file).members[0])

    assert zlib.decompress(raw, -15) == content
    assert found is not None
    assert b"".join(deflate.encode([content], found)) == raw


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(
    content=contents,
    encoder=usual,
    places=st.lists(st.floats(0, 1), max_size=5),
    kind=st.sampled_from([Flush.SYNC, Flush.FULL]),
    size=st.integers(1, 400_000),
)
def test_streams_flushed_anywhere_come_back_whatever_the_chunks(
    content: bytes, encoder: Encoder, places: list[float], kind: Flush, size: int
) -> None:
    points = tuple(sorted({int(place * len(content)) for place in places}))
    raw = written(content, encoder, points, kind)
    file = io.BytesIO(build(Part(content=content, stream=raw)))

    found = deflate.find_encoder(file, scan(file).members[0])

    assert found is not None
    size = max(size, len(content) // 500)
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    assert b"".join(deflate.encode(chunks, found)) == raw


def written(content: bytes, encoder: Encoder, points: tuple[int, ...], kind: Flush) -> bytes:
    packer = zlib.compressobj(encoder.level, zlib.DEFLATED, -15, encoder.mem_level)
    made, start = [], 0
    for end in points:
        made += [packer.compress(content[start:end]), packer.flush(kind)]
        start = end
    return b"".join(made) + packer.compress(content[start:]) + packer.flush()


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=contents, known=st.binary(max_size=200), encoder=encoders, at=st.floats(0, 1))
def test_a_proof_is_equality(content: bytes, known: bytes, encoder: Encoder, at: float) -> None:
    raw = stream(content, encoder)
    cut = int(at * len(raw))
    for candidate in (raw, raw[:cut] + known, known):
        proof = Proof(encoder, [candidate[:cut], b"", candidate[cut:]])
        proof.feed(content)

        assert proof.finish() is (candidate == raw)
