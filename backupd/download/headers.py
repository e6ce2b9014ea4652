"""The header fields a download depends on, read strictly from hostile text. Pure.

Every reader takes any string and answers a value or None; none raises, none takes long.
Source: RFC 9110 §5.6.7, §8.8.3, §10.2.3, §14.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_WAIT = timedelta(hours=24)
"""A link lives no longer; a longer wish to wait counts as this."""

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_SECONDS = re.compile(r"\d{1,32}", re.ASCII)
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e]{1,256}"')
_LONGEST_DATE = 64


@dataclass(frozen=True, slots=True)
class ContentRange:
    """First and last byte of a part, and the size of the whole where the server says it."""

    first: int
    last: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields as received; names compare without case."""

    fields: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, fields: Iterable[tuple[str, str]]) -> Headers:
        """Take fields in the order received."""
        return cls(tuple((name.lower(), value.strip(" \t")) for name, value in fields))

    def one(self, name: str) -> str | None:
        """Return the value of `name` if all its occurrences agree, else None."""
        values = {value for key, value in self.fields if key == name}
        return values.pop() if len(values) == 1 else None

    def has(self, name: str) -> bool:
        """Tell whether the field occurs at all."""
        return any(key == name for key, _ in self.fields)


def content_range(value: str | None) -> ContentRange | None:
    """Read `bytes FIRST-LAST/TOTAL`; None unless FIRST <= LAST < TOTAL."""
    match = _RANGE.fullmatch(value or "")
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def content_length(headers: Headers) -> int | None:
    """Return the announced length of the body; None where the body is chunked or unannounced."""
    if headers.has("transfer-encoding"):
        return None
    value = headers.one("content-length") or ""
    return int(value) if _LENGTH.fullmatch(value) else None


def etag(value: str | None) -> str | None:
    """Return a well-formed entity tag of at most 256 characters, weak ones with their `W/`."""
    return value if value is not None and _ETAG.fullmatch(value) else None


def is_strong(tag: str | None) -> bool:
    """Tell whether an entity tag promises identical bytes."""
    return tag is not None and not tag.startswith("W/")


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date as aware UTC; None for anything that is not one."""
    if value is None or len(value) > _LONGEST_DATE or not value.isascii():
        return None
    try:
        date = parsedate_to_datetime(value)
        aware = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        return aware.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read `Retry-After` (seconds or a date) as a wait between zero and `LONGEST_WAIT`."""
    text = value or ""
    if _SECONDS.fullmatch(text):
        seconds = min(int(text), int(LONGEST_WAIT.total_seconds()))
        return timedelta(seconds=seconds)
    date = http_date(text)
    if date is None:
        return None
    return min(max(date - now, timedelta(0)), LONGEST_WAIT)
