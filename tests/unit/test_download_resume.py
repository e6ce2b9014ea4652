"""Where the body of an answer belongs in a partial file."""

from __future__ import annotations

import pytest

from backupd.download.headers import Headers
from backupd.download.resume import (
    OVERLAP,
    Placed,
    Restart,
    Stored,
    Validators,
    place,
    range_fields,
    resumable,
)

SIZE = 200_000
TOTAL = 500_000
START = SIZE - OVERLAP
DATE = "Sat, 26 Oct 2024 21:40:00 GMT"
ISO = "2024-10-26T21:40:00+00:00"
STRONG = Stored(SIZE, Validators(TOTAL, '"a"', ISO))
SIZED = Stored(SIZE, Validators(TOTAL))
TAGGED = Stored(SIZE, Validators(None, '"a"'))


def fields(*pairs: str) -> Headers:
    return Headers.of(tuple(pair.split(": ", 1)) for pair in pairs)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (STRONG, (("Range", f"bytes={START}-"), ("If-Range", '"a"'))),
        (SIZED, (("Range", f"bytes={START}-"),)),
        (TAGGED, (("Range", f"bytes={START}-"), ("If-Range", '"a"'))),
        (Stored(SIZE, Validators(TOTAL, 'W/"a"')), (("Range", f"bytes={START}-"),)),
        (Stored(SIZE, Validators(None, 'W/"a"')), ()),
        (Stored(SIZE, Validators()), ()),
        (Stored(OVERLAP, Validators(TOTAL, '"a"')), ()),
        (Stored(0, Validators()), ()),
    ],
)
def test_rest_is_asked_for_only_with_a_strong_tag_or_a_known_size(
    stored: Stored, expected: tuple[tuple[str, str], ...]
) -> None:
    assert range_fields(stored) == expected
    assert resumable(stored) is bool(expected)


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        (STRONG, (f"Content-Range: bytes {START}-499999/500000", 'ETag: "a"')),
        (STRONG, (f"Content-Range: bytes {START}-499999/500000",)),
        (STRONG, (f"Content-Range: bytes {START}-499999/*", f"Last-Modified: {DATE}")),
        (SIZED, (f"Content-Range: bytes {START}-499999/500000", 'ETag: W/"a"')),
        (TAGGED, (f"Content-Range: bytes {START}-499999/500000",)),
    ],
)
def test_range_that_fits_continues_the_file(stored: Stored, given: tuple[str, ...]) -> None:
    placed = place(stored, 206, fields(*given))

    assert isinstance(placed, Placed)
    assert (placed.first, placed.end, placed.validators.total) == (START, TOTAL, TOTAL)


@pytest.mark.parametrize(
    ("stored", "status", "given"),
    [
        (STRONG, 206, ()),
        (STRONG, 206, (f"Content-Range: bytes {START + 1}-499999/500000",)),
        (STRONG, 206, (f"Content-Range: bytes {SIZE}-499999/500000",)),
        (STRONG, 206, (f"Content-Range: bytes {START}-499999/500001",)),
        (STRONG, 206, (f"Content-Range: bytes {START}-499999/500000", 'ETag: "b"')),
        (STRONG, 206, (f"Content-Range: bytes {START}-499999/500000", 'ETag: W/"a"')),
        (
            STRONG,
            206,
            (
                f"Content-Range: bytes {START}-499999/500000",
                "Last-Modified: Sat, 26 Oct 2024 21:40:01 GMT",
            ),
        ),
        (
            STRONG,
            206,
            (
                f"Content-Range: bytes {START}-499999/500000",
                f"Content-Range: bytes {SIZE}-499999/500000",
            ),
        ),
        (SIZED, 206, (f"Content-Range: bytes {START}-499999/*",)),
        (STRONG, 416, ("Content-Range: bytes */200000",)),
        (None, 206, ("Content-Range: bytes 5-499999/500000",)),
        (None, 206, ("Content-Range: bytes 0-499999/*",)),
    ],
)
def test_range_that_does_not_fit_means_a_fresh_start(
    stored: Stored | None, status: int, given: tuple[str, ...]
) -> None:
    assert isinstance(place(stored, status, fields(*given)), Restart)


@pytest.mark.parametrize("stored", [STRONG, SIZED, None])
def test_whole_answer_replaces_the_file(stored: Stored | None) -> None:
    placed = place(stored, 200, fields("Content-Length: 7", 'ETag: "b"', f"Last-Modified: {DATE}"))

    assert placed == Placed(0, 7, Validators(7, '"b"', ISO))


def test_length_of_a_chunked_answer_is_not_believed() -> None:
    placed = place(None, 200, fields("Content-Length: 7", "Transfer-Encoding: chunked"))

    assert placed == Placed(0, None, Validators())
