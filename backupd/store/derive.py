"""Transforms that make a conversation of `chat.html` from the same conversation as JSON. Pure.

Real exports repeat every conversation in `chat.html`: the same JSON on one line, with the text of
its strings HTML-escaped. The transforms below work on the JSON's bytes, never on parsed values.
They are guesses that `find` proves for each piece at intake: a piece that no transform gives back
byte for byte is stored as it is. A transform's number is part of the format and never changes
meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_COMMA_BREAK = re.compile(rb",\n *")
_BREAK = re.compile(rb"\n *")
_BACKSLASH, _QUOTE = b"\x00", b"\x01"  # raw control bytes never occur in JSON


def _masked(data: bytes) -> bytes:
    """Hide escaped backslashes and quotes, so that a quote is always the end of a string."""
    return data.replace(b"\\\\", _BACKSLASH).replace(b'\\"', _QUOTE)


def _unmasked(data: bytes) -> bytes:
    return data.replace(_BACKSLASH, b"\\\\").replace(_QUOTE, b'\\"')


def _escaped(data: bytes) -> bytes:
    data = data.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    data = data.replace(b"'", b"&#x27;")
    return _masked(data).replace(_QUOTE, b"&quot;").replace(_BACKSLASH, b"\\\\")


def _one_line(data: bytes) -> bytes:
    return _BREAK.sub(b"", _COMMA_BREAK.sub(b", ", data))


def _compact(data: bytes) -> bytes:
    line = _masked(_BREAK.sub(b"", _COMMA_BREAK.sub(b",", data)))
    return _unmasked(line.replace(b'": ', b'":'))


TRANSFORMS: dict[int, Callable[[bytes], bytes]] = {
    1: _escaped,
    2: lambda data: _escaped(_one_line(data)),
    3: _one_line,
    4: lambda data: _escaped(_compact(data)),
    5: _compact,
}


def apply(transform: int, data: bytes) -> bytes:
    """Return the transformed bytes.

    Raises:
        KeyError: this program does not know the transform.
    """
    return TRANSFORMS[transform](data)


def find(source: bytes, wanted: bytes, first: int) -> int | None:
    """Return the transform that turns `source` into exactly `wanted`, trying `first` first."""
    if first in TRANSFORMS and TRANSFORMS[first](source) == wanted:
        return first
    for number, transform in TRANSFORMS.items():
        if number != first and transform(source) == wanted:
            return number
    return None
