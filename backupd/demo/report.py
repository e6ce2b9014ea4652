"""How the demo talks: a claim, what was seen, and a tick."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

_WIDTH = 96
_GREEN, _RED, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[1m", "\x1b[0m"


class NotShown(Exception):
    """A step did not happen as claimed; the text says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """A claim, and the act that yields the evidence for it or raises `NotShown`."""

    claim: str
    act: Callable[[], Iterator[str]]


def expect(held: bool, otherwise: str) -> None:
    """Let the step fail unless something holds."""
    if not held:
        raise NotShown(otherwise)


class Report:
    """Writes the steps to a stream, in colour on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty()
        self._tick, self._cross = ("✓", "✗") if _writes_ticks(stream) else ("ok", "FAILED")

    def show(self, number: int, total: int, step: Step) -> bool:
        """Run one step; tell whether it happened."""
        self._line(self._in(_BOLD, f"{number:2}/{total}  {step.claim}"))
        start = time.monotonic()
        try:
            for seen in step.act():
                self.say(seen)
        except NotShown as problem:
            self.say(self._in(_RED, f"{self._cross} not shown: {problem}"))
            return False
        self.say(self._in(_GREEN, f"{self._tick} {time.monotonic() - start:.1f} s"))
        return True

    def say(self, text: str) -> None:
        """Write some evidence, indented and wrapped."""
        for line in text.splitlines():
            self._line(textwrap.indent("\n".join(textwrap.wrap(line, _WIDTH)), " " * 7))

    def plain(self, text: str) -> None:
        """Write a paragraph that belongs to no step."""
        self._line(text)

    def _line(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        writable = text.encode(encoding, "replace").decode(encoding)
        self._stream.write(f"{writable}\n")
        self._stream.flush()

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text


def _writes_ticks(stream: TextIO) -> bool:
    try:
        "✓✗".encode(getattr(stream, "encoding", None) or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
