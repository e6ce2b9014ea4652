"""Read the small languages of the configuration file: durations, sizes, names, places.

Pure: text in, values out. Every refusal is a `ValueError` whose text completes the sentence
"KEY …" for a person and never repeats the value it refuses (a value may be a misplaced secret).
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_WORDS = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(weeks=1),
    "monthly": timedelta(days=30),
}
_DURATION = re.compile(r"([0-9]{1,9})\s*([smhdw])", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([KMGT]i?)?B?", re.ASCII)
_SCALES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SCALES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,127}", re.ASCII)
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})", re.ASCII)
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,1024}")
_CLEAR = {("http", "127.0.0.1"), ("http", "::1"), ("http", "localhost")}
CACHE_WORDS = ("auto", "repository", "memory", "runtime")
_LONGEST = timedelta(days=3660)


def parse_duration(value: object) -> timedelta:
    """Read "30s", "5m", "12h", "30d", "2w" or hourly, daily, weekly, monthly (30 days).

    Raises:
        ValueError: anything else, zero, or more than ten years.
    """
    if isinstance(value, timedelta):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text in _WORDS:
        return _WORDS[text]
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError('must be a duration such as "30s", "5m", "12h", "30d" or "weekly"')
    seconds = int(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= _LONGEST.total_seconds():
        raise ValueError("must be longer than nothing and at most ten years")
    return timedelta(seconds=seconds)


def parse_seconds(value: object) -> float:
    """Read a time limit: a number of seconds or a duration.

    Raises:
        ValueError: not a duration, or not above zero.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value <= _LONGEST.total_seconds():
            raise ValueError("must be longer than nothing and at most ten years")
        return float(value)
    return parse_duration(value).total_seconds()


def parse_size(value: object) -> int:
    """Read a number of bytes: 1048576, "50GiB", "1.5 GB", "64KiB".

    Raises:
        ValueError: anything else, or nothing above zero.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise ValueError('must be a size such as "64KiB", "500MB" or "50GiB"')
        size = int(float(found[1]) * _SCALES[found[2] or ""])
    if not 0 < size < 2**63:
        raise ValueError("must be above zero and below 8 EiB")
    return size


def parse_cache(value: object) -> str:
    """Read a place for derived files: a word for one, or an absolute path.

    Raises:
        ValueError: neither.
    """
    if value in CACHE_WORDS:
        return str(value)
    if not isinstance(value, str) or not value.startswith(("/", "~")):
        words = ", ".join(f'"{word}"' for word in CACHE_WORDS)
        raise ValueError(f"must be {words} or an absolute path")
    return str(parse_path(value))


def parse_name(value: object) -> str:
    """Accept a name that is safe as a file name: letters, digits and `_ . @ + -`.

    Raises:
        ValueError: anything else, such as a path separator or a leading dot.
    """
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise ValueError(
            "must be a name of letters, digits and _ . @ + - that begins with a letter or digit"
        )
    return value


def parse_endpoint(value: object) -> str:
    """Accept "host:port" or "[IPv6]:port", lower-cased.

    Raises:
        ValueError: anything else.
    """
    found = _ENDPOINT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not 0 < int(found[2]) < 65536:
        raise ValueError('must be "host:port", for example "127.0.0.1:9443"')
    return found[0].lower()


def parse_web_address(value: object) -> str:
    """Accept an https address without user, query and fragment; http on this machine only.

    Raises:
        ValueError: anything else.
    """
    text = value if isinstance(value, str) and _PRINTABLE.fullmatch(value) else ""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an https:// address without user, query and fragment")
    if parts.scheme != "https" and (parts.scheme, parts.hostname) not in _CLEAR:
        raise ValueError("must begin with https://")
    return text


def parse_path(value: object) -> Path:
    """Accept an absolute path; a leading `~` is expanded.

    Raises:
        ValueError: empty, relative, a URL, or holding a NUL.
    """
    if not isinstance(value, str | Path) or not str(value).strip():
        raise ValueError("must be a path")
    text = str(value)
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    if "://" in text:
        raise ValueError("must be a directory on this machine; URLs do not work in this version")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError('begins with "~", but the home directory is not known') from error
    if not path.is_absolute():
        raise ValueError('must be an absolute path, one that begins with "/"')
    return path


def parse_optional_path(value: object) -> Path | None:
    """Accept an absolute path; an empty string means none.

    Raises:
        ValueError: as `parse_path`.
    """
    return None if value is None or value == "" else parse_path(value)
