"""Encoders that are more than zlib with three parameters: flushes, windows, other libraries."""

from __future__ import annotations

import io
import json
import random
import sys
import zlib
from dataclasses import replace
from subprocess import run

import pytest

from backupd.errors import RebuildImpossible
from backupd.export import candidates, deflate, encoders
from backupd.export.archive import read_raw, scan
from backupd.export.deflate import Encoder, Search
from backupd.export.encoders import Flush, Flushes, Library
from backupd.export.flushes import scanned
from backupd.export.writing import WHOLE
from tests.support.zips import Part, build, deflate_flushing, deflate_unknown

DICE = random.Random(1)
TALKS = json.dumps(
    [{"n": DICE.random(), "id": DICE.getrandbits(64)} for _ in range(2_400)]
).encode()
KIB = 1024


def steps(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def written(encoder: Encoder, content: bytes) -> bytes:
    return b"".join(deflate.encode([content], encoder))


def found_for(raw: bytes, content: bytes) -> Encoder | None:
    """Return the encoder proved for a member with this stream."""
    file = io.BytesIO(build(Part(content=content, stream=raw)))
    return deflate.find_encoder(file, scan(file).members[0])


@pytest.mark.parametrize("kind", [Flush.SYNC, Flush.FULL], ids=["sync", "full"])
@pytest.mark.parametrize(
    "points",
    [
        range(16 * KIB, len(TALKS), 16 * KIB),
        [*range(32 * KIB, len(TALKS), 32 * KIB), len(TALKS)],
        range(len(TALKS) // 4, len(TALKS) + 1, len(TALKS) // 4),
        [2000],
        [0, 70, 4000, 4001, 60_000],
        [len(TALKS)],
        [len(TALKS) - 10],
    ],
    ids=["16 KiB", "and at the end", "quarters", "once", "at random", "end", "late"],
)
def test_a_writer_that_flushes_is_imitated(points: list[int], kind: Flush) -> None:
    raw = deflate_flushing(TALKS, points, kind)

    found = found_for(raw, TALKS)

    assert found is not None and found.library is None
    assert written(found, TALKS) == raw


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("period", [8 * KIB, 64 * KIB])
def test_partial_flushes_are_guessed_by_their_usual_periods(period: int, at_end: bool) -> None:
    points = [*range(period, len(TALKS), period), *([len(TALKS)] if at_end else [])]
    raw = deflate_flushing(TALKS, points, zlib.Z_PARTIAL_FLUSH)

    found = found_for(raw, TALKS)

    assert found is not None
    assert found.flushes == Flushes(Flush.PARTIAL, period, at_end)


def test_regular_flushes_are_a_period_and_others_a_list() -> None:
    regular = scanned(steps(deflate_flushing(TALKS, range(8192, len(TALKS), 8192)), 1000))
    others = scanned([deflate_flushing(TALKS, [10, 5000])])

    assert regular.flushes(Flush.SYNC) == Flushes(Flush.SYNC, 8192)
    assert others.flushes(Flush.FULL) == Flushes(Flush.FULL, points=(10, 5000))
    assert scanned([written(Encoder(6, 8), TALKS)]).flushes(Flush.SYNC) is None
    assert scanned([b"\xff" * 100]).flushes(Flush.SYNC) is None


@pytest.mark.parametrize("window", range(9, 15))
def test_smaller_windows_are_found(window: int) -> None:
    encoder = Encoder(6, 8, window=window)
    raw = written(encoder, TALKS)

    assert written(deflate.identify([raw]) or Encoder(1, 8), TALKS) == raw


CARRIED = [
    encoder
    for encoder in (*candidates.streaming(), *candidates.whole())
    if encoder.feed in (0, encoders.STEP, 8 * KIB)
    and (encoder.library is None or encoder.library.name != "libdeflate" or encoder.level < 10)
]


@pytest.mark.parametrize("encoder", CARRIED, ids=lambda encoder: encoder.text)
def test_other_libraries_are_found_and_proved(encoder: Encoder) -> None:
    content = TALKS[: 40 * KIB]
    raw = written(encoder, content)

    found = found_for(raw, content)

    assert found is not None
    assert written(found, content) == raw
    if found.library is not None:
        assert len(found.library.mark) == encoders.MARK_SIZE


def test_all_libraries_of_the_extra_are_here() -> None:
    assert encoders.installed() == encoders.LIBRARIES
    assert encoders.missing() == ()


def test_programs_that_need_no_library_load_none() -> None:
    code = (
        "import sys, backupd.store.repository as r, backupd.daemon.service, backupd.__main__;"
        "print(sorted({'zlib_ng', 'isal', 'deflate'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the extra's libraries."""
    for name in ("zlib_ng", "isal", "deflate"):
        monkeypatch.setitem(sys.modules, name, None)


def known(level: int = 6) -> Encoder:
    return encoders.marked(encoders.candidate(encoders.ZLIB_NG, level, 8, encoders.STEP))


def test_a_missing_library_is_named_with_its_remedy(request: pytest.FixtureRequest) -> None:
    encoder = known()
    version = encoder.library.version if encoder.library else ""
    request.getfixturevalue("bare")

    assert not encoders.is_usable(encoder)
    with pytest.raises(RebuildImpossible, match=f"needs zlib-ng.*{version}") as caught:
        written(encoder, b"text")
    assert "backupd[encoders]" in caught.value.hint and f"zlib-ng=={version}" in caught.value.hint
    assert deflate.identify([written(Encoder(6, 8), TALKS)]) == Encoder(6, 8)
    assert deflate.identify([zlib_ng_stream], encoder) is None


zlib_ng_stream = written(encoders.candidate(encoders.ZLIB_NG, 9, 8, encoders.STEP), TALKS)


def test_a_library_that_writes_other_bytes_now_is_not_used() -> None:
    encoder = known()
    assert encoder.library is not None
    other = replace(encoder, library=replace(encoder.library, version="0.1", mark=b"abcd"))

    assert encoders.is_usable(encoder)
    assert not encoders.is_usable(other)
    with pytest.raises(RebuildImpossible, match="writes other bytes"):
        written(other, b"text")


@pytest.mark.parametrize(
    "encoder",
    [
        Encoder(6, 99),
        Encoder(6, 8, library=Library("unheard-of", "1", b"1234")),
        Encoder(6, 8, window=40),
    ],
)
def test_an_encoder_that_there_is_not_is_no_crash(encoder: Encoder) -> None:
    with pytest.raises(RebuildImpossible):
        written(encoder, b"text")


def test_an_encoder_that_wants_all_at_once_is_refused_much() -> None:
    encoder = encoders.candidate(encoders.LIBDEFLATE, 1)

    assert written(encoder, bytes(WHOLE))
    with pytest.raises(RebuildImpossible, match="too large"):
        written(encoder, bytes(WHOLE + 1))


def test_the_library_of_the_other_members_is_tried_first() -> None:
    encoder = encoders.marked(encoders.candidate(encoders.LIBDEFLATE, 6))
    raw = written(encoder, TALKS[:5000])

    assert deflate.identify([raw], encoder) == encoder


def test_an_archive_of_unknown_streams_is_not_searched_for_ever() -> None:
    """After a few in vain only usual parameters are tried, and found if they come after all."""
    odd = [Part(b"%d" % n, TALKS[:20_000], stream=deflate_unknown(TALKS[:20_000], n + 9000))
           for n in range(6)]  # fmt: skip
    file = io.BytesIO(build(*odd, Part(b"rare", TALKS, stream=written(Encoder(9, 4), TALKS)),
                            Part(b"usual", TALKS)))  # fmt: skip
    search = Search()
    found = [search.guess(file, member) for member in scan(file).members]

    assert found == [None] * 7 + [Encoder(6, 8)]
    rare = scan(file).members[6]
    assert next(deflate.agreeing(read_raw(file, rare)), None) == Encoder(9, 4)
