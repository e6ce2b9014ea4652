"""Cut a conversations file into the exact bytes of each conversation and the glue between them.

Whatever comes in comes out: the pieces' bytes, put together, are the input, always. Only how it is
cut is a matter of success, so nothing here raises on bad input: what does not parse is glue.

How it works. Asked for one JSON value, msgspec validates it without building objects and names the
byte at which something else follows it; that is where the element ends. One pass, no guess about
keys, indentation or order, so every era of the format is cut by the same code.

Rules that must stay in this file:

- an element that does not end in the window is read again from its beginning: first in a fresh
  window, then in windows that double, up to `MAX_WINDOW`; beyond that the rest is glue;
- elements are objects and on the average not tiny, else the rest is glue (bounded time);
- an element that is foreseen is compared instead of parsed, so its bytes are an element's;
- msgspec refuses escaped lone surrogates, which real exports hold: such an element is looked at in
  a shadow of the window, in which every escaped surrogate is another escape of the same length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

import msgspec

WINDOW = 1 << 20
MAX_WINDOW = 64 << 20
_FIRST_SHADOW = 4 << 10
_MAX_SHADOW = 16 << 20
_MAX_ID = 200
_NEAR_END = 4096
_BETWEEN = 64
_FREE_ELEMENTS = 20_000
_MEAN_ELEMENT = 128

_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*+\[")
_SEPARATOR = re.compile(rb"[ \t\r\n]*+,[ \t\r\n]*+")
_BLANK = re.compile(rb"[ \t\r\n]*+")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MARKER = re.compile(rb"\bjsonData[ \t\r\n]{0,8}=[ \t\r\n]{0,8}(?=\[)")
_MARKER_TAIL = 64
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_MALFORMED = re.compile(r"\(byte (\d+)\)")

_ELEMENT = msgspec.json.Decoder(msgspec.Raw)
_TEXT = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class Glue:
    """Bytes that belong to no conversation."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Slice:
    """The exact bytes of one element of the array, and the id it gives itself, if any."""

    data: bytes
    conversation_id: str | None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The exact bytes of one element of the array, which the foresight has confirmed."""

    data: bytes


Piece: TypeAlias = Glue | Slice | Foreseen


class Foresight(Protocol):
    """Expects elements of an array that are known from elsewhere, one at a time."""

    def size(self) -> int:
        """Return the length of the element that may come next, 0 if none is expected."""

    def confirm(self, data: bytes) -> bool:
        """Return whether these bytes, of that length, are that element."""


def split_json(chunks: Iterable[bytes], foresight: Foresight | None = None) -> Iterator[Piece]:
    """Cut a JSON array of conversations; everything that is none comes as glue.

    Slices are at most `MAX_WINDOW` bytes, glue at most `WINDOW` plus one chunk. Memory is a window
    of 1 MiB as a rule, of the next larger power of two for a larger conversation, and the same
    again with a `foresight`, which is asked before each element is parsed.
    """
    return _array(_Window(chunks), foresight)


def split_html(chunks: Iterable[bytes], foresight: Foresight | None = None) -> Iterator[Piece]:
    """Cut the array that `chat.html` assigns to `jsonData`; all other bytes are glue."""
    window = _Window(chunks)
    while window.fill(WINDOW):
        marker = _MARKER.search(window.buffer)
        if marker is not None:
            yield Glue(window.take(marker.end()))
            yield from _array(window, foresight)
            return
        if window.ended:
            break
        yield Glue(window.take(len(window.buffer) - _MARKER_TAIL))
    yield from window.rest()


def _array(window: _Window, foresight: Foresight | None) -> Iterator[Piece]:
    """Cut the array that a window begins with, and what follows it."""
    window.fill(WINDOW)
    start = _ARRAY.match(window.buffer)
    if start is not None:
        yield from _Splitter(window, start.end(), foresight).pieces()
    yield from window.rest()


def conversation_id(element: bytes) -> str | None:
    """Return what an element gives as `conversation_id`, else as `id`; None if neither will do."""
    ids = _read_ids(element)
    if ids is None and _SURROGATE.search(element):
        ids = _read_ids(_without_surrogates(element))
    return None if ids is None else _plain(ids.conversation_id) or _plain(ids.id)


class _Window:
    """The part of the input that is being looked at: a buffer in front of a source."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source = _pieces(chunks)
        self.buffer = bytearray()
        self.ended = False

    def fill(self, size: int) -> int:
        """Fill up to at least `size` bytes, if there are so many; return how many there are."""
        while len(self.buffer) < size and not self.ended:
            chunk = next(self._source, None)
            if chunk is None:
                self.ended = True
            else:
                self.buffer += chunk
        return len(self.buffer)

    def copy(self, start: int, end: int) -> bytes:
        """Return a copy of the bytes [start, end)."""
        with memoryview(self.buffer) as view:
            return bytes(view[start:end])

    def take(self, size: int) -> bytes:
        """Remove and return the first `size` bytes."""
        data = self.copy(0, size)
        del self.buffer[:size]
        return data

    def drain(self) -> Iterator[bytes]:
        """Yield everything that is left, in pieces of at most `WINDOW` bytes."""
        while self.buffer:
            yield self.take(min(WINDOW, len(self.buffer)))
        for chunk in self._source:
            yield bytes(chunk)

    def rest(self) -> Iterator[Piece]:
        """Yield everything that is left as glue."""
        return (Glue(data) for data in self.drain())


def _pieces(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    """Cut overlong chunks, so that a caller's chunk size does not decide about memory."""
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), WINDOW):
            yield view[start : start + WINDOW]


class _Look(Enum):
    """Why a look for the end of an element did not find it."""

    BAD = auto()  # no further byte can make it an element
    MORE = auto()  # it may end beyond the window


class _Splitter:
    """Cuts the elements of one array off the front of a window.

    `_done` is where the bytes not yet handed out begin, `_at` is directly after the opening
    bracket or the last element. What is left at the end stays in the window.
    """

    def __init__(self, window: _Window, start: int, foresight: Foresight | None) -> None:
        self._window = window
        self._foresight = foresight
        self._done = 0
        self._at = start
        self._before = _BLANK  # what may stand before the first element; then a separator
        self._budget = _FREE_ELEMENTS * _MEAN_ELEMENT

    def pieces(self) -> Iterator[Piece]:
        """Yield pieces up to the end of the array, or up to what is no element."""
        size = WINDOW
        while self._budget > 0:
            expected = self._expected()
            start = self._start()
            if not isinstance(start, _Look) and (known := self._known(start, expected)):
                yield from known
                size = WINDOW
                continue
            end = start if isinstance(start, _Look) else self._end(start)
            if not isinstance(start, _Look) and not isinstance(end, _Look):
                yield from self._cut(start, end)
                size = WINDOW
                continue
            if end is _Look.BAD or self._window.ended:
                break
            self._drop()
            if len(self._window.buffer) >= size:
                if size == MAX_WINDOW:
                    break
                size *= 2
            self._window.fill(size)
        self._drop()

    def _expected(self) -> int:
        """Return the length of the foreseen element and see to it that the window can hold it."""
        expected = self._foresight.size() if self._foresight else 0
        if not 0 < expected <= WINDOW:
            return 0
        if len(self._window.buffer) - self._at < expected + _BETWEEN:
            self._drop()
            self._window.fill(max(WINDOW, self._at + expected + _BETWEEN))
        return expected

    def _known(self, start: int, expected: int) -> tuple[Glue, Foreseen] | None:
        """Hand out the element at `start`, and the glue before it, if it is the foreseen one."""
        end = start + expected
        if not self._foresight or not expected or end > len(self._window.buffer):
            return None
        element = self._window.copy(start, end)
        if not self._foresight.confirm(element):
            return None
        glue = Glue(self._window.copy(self._done, start))
        self._passed(end, expected)
        return glue, Foreseen(element)

    def _start(self) -> int | _Look:
        """Find where the next element begins."""
        buffer = self._window.buffer
        found = self._before.match(buffer, self._at)
        if found is None:
            blank = _BLANK.match(buffer, self._at)
            at_end = blank is not None and blank.end() == len(buffer)
            return _Look.MORE if at_end else _Look.BAD
        if found.end() == len(buffer):
            return _Look.MORE
        return found.end() if buffer[found.end()] == ord("{") else _Look.BAD

    def _end(self, start: int) -> int | _Look:
        """Find where the element that begins at `start` ends."""
        with memoryview(self._window.buffer) as whole, whole[start:] as view:
            end = _element_end(view)
        if end is _Look.MORE and self._done and not self._window.ended:
            return end  # a fresh window comes first
        if isinstance(end, _Look):
            end = self._end_in_shadow(start, end)
        return end if isinstance(end, _Look) else start + end

    def _end_in_shadow(self, start: int, seen: _Look) -> int | _Look:
        """Look again in copies without surrogates, if there are any; `seen` if not.

        The copies grow from a few KiB, as most elements are small.
        """
        buffer, size = self._window.buffer, _FIRST_SHADOW
        if not _SURROGATE.search(buffer, start):
            return seen
        while True:
            shadow = _without_surrogates(self._window.copy(start, start + size))
            end = _element_end(memoryview(shadow))
            if end is not _Look.MORE or start + size >= len(buffer) or size >= _MAX_SHADOW:
                return end
            size *= 4

    def _cut(self, start: int, end: int) -> Iterator[Piece]:
        """Hand out the element at [start, end) and the glue before it."""
        yield Glue(self._window.copy(self._done, start))
        element = self._window.copy(start, end)
        self._passed(end, len(element))
        yield Slice(element, conversation_id(element))

    def _passed(self, end: int, size: int) -> None:
        self._done = self._at = end
        self._before = _SEPARATOR
        self._budget += size - _MEAN_ELEMENT

    def _drop(self) -> None:
        """Remove from the window what has been handed out."""
        del self._window.buffer[: self._done]
        self._at -= self._done
        self._done = 0


def _element_end(view: memoryview) -> int | _Look:
    """Return the length of the JSON object at the start of `view`."""
    try:
        return len(memoryview(_ELEMENT.decode(view)))
    except msgspec.DecodeError as error:
        text = str(error)
    except RecursionError:
        return _Look.BAD
    if trailing := _TRAILING.search(text):
        return _strip(view, int(trailing.group(1)) - 1)
    malformed = _MALFORMED.search(text)
    if malformed and int(malformed.group(1)) < len(view) - _NEAR_END:
        return _Look.BAD
    return _Look.MORE


def _strip(view: memoryview, end: int) -> int | _Look:
    """Return the place after the closing brace that, but for white space, stands before `end`."""
    while end > 0 and view[end - 1] in b" \t\r\n":
        end -= 1
    return end if end > 0 and view[end - 1] == ord("}") else _Look.BAD


class _Ids(msgspec.Struct):
    conversation_id: msgspec.Raw = msgspec.Raw(b"null")
    id: msgspec.Raw = msgspec.Raw(b"null")


_IDS = msgspec.json.Decoder(_Ids)


def _read_ids(element: bytes) -> _Ids | None:
    try:
        return _IDS.decode(element)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def _plain(raw: msgspec.Raw) -> str | None:
    """Return a JSON string of printable characters without spaces, of a sane length."""
    try:
        text = _TEXT.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return None
    sane = 0 < len(text) <= _MAX_ID and text.isprintable() and " " not in text
    return text if sane else None


def _without_surrogates(data: bytes) -> bytes:
    """Replace every escaped surrogate by an escape of the same length that is always valid."""
    return _SURROGATE.sub(rb"\\u0020", data)
