"""Content and parameters give a stream back, whatever they are."""

from __future__ import annotations

import io
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export import deflate
from backupd.export.archive import scan
from backupd.export.deflate import Encoder, Proof
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

    assert found is None or found in deflate.CANDIDATES


@settings(max_examples=EXAMPLES, deadline=None)
@given(content=contents, known=st.binary(max_size=200), encoder=encoders, at=st.floats(0, 1))
def test_a_proof_is_equality(content: bytes, known: bytes, encoder: Encoder, at: float) -> None:
    raw = stream(content, encoder)
    cut = int(at * len(raw))
    for candidate in (raw, raw[:cut] + known, known):
        proof = Proof(encoder, [candidate[:cut], b"", candidate[cut:]])
        proof.feed(content)

        assert proof.finish() is (candidate == raw)
