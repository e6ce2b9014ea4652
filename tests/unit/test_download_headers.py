"""Header fields read strictly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupd.download.headers import (
    LONGEST_WAIT,
    ContentRange,
    Headers,
    content_length,
    content_range,
    etag,
    is_strong,
    retry_after,
)

NOW = datetime(2026, 9, 7, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-0/1", ContentRange(0, 0, 1)),
        ("Bytes 5-9/10", ContentRange(5, 9, 10)),
        ("bytes 5-9/*", ContentRange(5, 9, None)),
        ("bytes */10", None),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes=5-9/10", None),
        ("bytes  5-9/10", None),
        ("bytes -5-9/10", None),
        ("bytes ５-９/10", None),
        ("bytes 5-9/10\n", None),
        ("items 5-9/10", None),
        ("", None),
        (None, None),
    ],
)
def test_content_range(text: str | None, expected: ContentRange | None) -> None:
    assert content_range(text) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("86401", 86400),
        ("9" * 32, 86400),
        ("9" * 33, None),
        ("-1", None),
        ("1.5", None),
        ("１２", None),
        ("Mon, 07 Sep 2026 12:00:30 GMT", 30),
        ("Mon, 07 Sep 2026 14:00:30 +0200", 30),
        ("Monday, 07-Sep-26 12:00:30 GMT", 30),
        ("Mon Sep  7 12:00:30 2026", 30),
        ("Mon, 07 Sep 2020 12:00:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
        ("Mon, 99 Sep 2026 12:00:30 GMT", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(text: str | None, seconds: int | None) -> None:
    wait = retry_after(text, NOW)

    assert wait == (None if seconds is None else timedelta(seconds=seconds))
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "expected", "strong"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', 'W/"a"', False),
        ('w/"a"', None, False),
        ("a", None, False),
        ('""', None, False),
        ('"a b"', None, False),
        ('"a"b"', None, False),
        ('"' + "a" * 257 + '"', None, False),
        ('"a\r\nX: y"', None, False),
        (None, None, False),
    ],
)
def test_entity_tag(text: str | None, expected: str | None, strong: bool) -> None:
    assert etag(text) == expected
    assert is_strong(etag(text)) is strong


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("Content-Length", "5")], 5),
        ([("content-length", " 5 ")], 5),
        ([("Content-Length", "5"), ("Content-Length", "5")], 5),
        ([("Content-Length", "5"), ("Content-Length", "6")], None),
        ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], None),
        ([("Content-Length", "+5")], None),
        ([("Content-Length", "9" * 19)], None),
        ([], None),
    ],
)
def test_content_length(pairs: list[tuple[str, str]], expected: int | None) -> None:
    assert content_length(Headers.of(pairs)) == expected
