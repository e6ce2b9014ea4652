"""Whether a partial file may be continued, and where an answer's body belongs in it. Pure.

Rules: a file is continued only if it has a strong entity tag (sent as If-Range) or a known total
size; in both cases the last 64 KiB are asked for again and must agree byte for byte, and size and
validators must not have changed. Anything else starts from the first byte.
Source: RFC 9110 §13.1.5, §14.
"""

from __future__ import annotations

from dataclasses import dataclass

from backupd.download import headers as fields
from backupd.download.headers import Headers

OVERLAP = 64 * 1024


@dataclass(frozen=True, slots=True)
class Validators:
    """What the server said of the whole file when its first byte was written."""

    total: int | None = None
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A partial file: so many bytes are durable, and belong to these validators."""

    size: int
    validators: Validators


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the body goes: it begins at `first`; `end` is one past its last byte, if announced."""

    first: int
    end: int | None
    validators: Validators


@dataclass(frozen=True, slots=True)
class Restart:
    """The answer does not continue the file; `reason` is for the log."""

    reason: str


def resumable(stored: Stored) -> bool:
    """Tell whether continuing is allowed and worth it."""
    known = fields.is_strong(stored.validators.etag) or stored.validators.total is not None
    return known and stored.size > OVERLAP


def range_fields(stored: Stored) -> tuple[tuple[str, str], ...]:
    """Return the request's header fields for continuing; empty for a fresh start."""
    if not resumable(stored):
        return ()
    wanted = ("Range", f"bytes={stored.size - OVERLAP}-")
    tag = stored.validators.etag
    if tag is None or not fields.is_strong(tag):
        return (wanted,)
    return (wanted, ("If-Range", tag))


def validators(headers: Headers) -> Validators:
    """Read what identifies the file from a full answer."""
    return Validators(
        total=fields.content_length(headers),
        etag=fields.etag(headers.one("etag")),
        last_modified=_date(headers),
    )


def place(stored: Stored | None, status: int, headers: Headers) -> Placed | Restart:
    """Decide where the body of an answer 200, 206 or 416 goes.

    `stored` is the file whose continuation was asked for, None if the whole file was.
    """
    if status == 200:
        whole = validators(headers)
        return Placed(0, whole.total, whole)
    if status != 206:
        return Restart("the server cannot serve the range")
    given = fields.content_range(headers.one("content-range"))
    if given is None:
        return Restart("the range served is not named")
    if given.first != (stored.size - OVERLAP if stored else 0):
        return Restart("another range was served")
    known = stored.validators if stored else Validators()
    seen = Validators(given.total, fields.etag(headers.one("etag")), _date(headers))
    reason = _changed(known, seen)
    if reason:
        return Restart(reason)
    if seen.total is None and not (stored and fields.is_strong(known.etag)):
        return Restart("the size of the whole is not named")
    merged = Validators(
        total=known.total if seen.total is None else seen.total,
        etag=known.etag or seen.etag,
        last_modified=known.last_modified or seen.last_modified,
    )
    return Placed(given.first, given.last + 1, merged)


def _changed(known: Validators, seen: Validators) -> str:
    """Name what two sets of validators disagree about; a value only one has is no disagreement."""
    if None not in (known.total, seen.total) and known.total != seen.total:
        return "the size changed"
    if None not in (known.etag, seen.etag) and known.etag != seen.etag:
        return "the entity tag changed"
    if None not in (known.last_modified, seen.last_modified) and (
        known.last_modified != seen.last_modified
    ):
        return "the date of change changed"
    return ""


def _date(headers: Headers) -> str | None:
    """Return Last-Modified as ISO text, so that no free text of the server is kept."""
    date = fields.http_date(headers.one("last-modified"))
    return None if date is None else date.isoformat()
