"""Collect what is wrong with a configuration file, each problem with its place, in plain words.

A problem reads `FILE:LINE: KEY: sentence`. Values are never repeated: the wrong one may be a
secret in the wrong place. The line is found by a small scanner that knows headers and keys but not
every corner of TOML; where it is unsure, the line is left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic_core import ErrorDetails

from backupd.errors import ConfigError

Place = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART}){{0,8}}"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
    "too_short": "must not be empty",
    "tuple_type": 'must be a list, such as ["INBOX"]',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "int_type": "must be a whole number",
    "string_pattern_mismatch": "must be 4 to 128 letters, digits or hyphens",
}


class Report:
    """The problems of one file, in the order of its lines."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines: dict[Place, int] = {}
        for place, number in _scan(text):
            for end in range(1, len(place) + 1):
                self._lines.setdefault(place[:end], number)
        self._found: list[tuple[int, str]] = []

    def add(self, place: Place, sentence: str) -> None:
        """Record that what stands at `place` is wrong; `sentence` continues "KEY: …"."""
        line = self._line(place)
        where = f"{self._path}:{line}" if line else str(self._path)
        self._found.append((line, f"{where}: {dotted(place)}: {sentence}"))

    def unknown(self, place: Place, known: Iterable[str]) -> None:
        """Record an unknown key, with the nearest of the `known` ones."""
        near = difflib.get_close_matches(str(place[-1]).lower(), tuple(known), n=1, cutoff=0.5)
        advice = f'; did you mean "{near[0]}"?' if near else f"; known here: {', '.join(known)}"
        self.add(place, f"unknown key{advice}")

    def translate(self, place: Place, error: ErrorDetails) -> None:
        """Record one finding of the schema in words for a person."""
        inner = tuple(part for part in error["loc"] if part != "[key]")
        self.add(place + inner, _sentence(error))

    def raise_if_any(self) -> None:
        """Do nothing if the file is right.

        Raises:
            ConfigError: with all problems, in the order of the file.
        """
        if not self._found:
            return
        problems = tuple(text for _, text in sorted(self._found))
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(
            f'read configuration "{self._path}": {count}',
            problems,
            "correct the lines named above, then run `backupd config validate`",
        )

    def _line(self, place: Place) -> int:
        """Return the line of `place` or of the nearest thing around it, 0 if unknown."""
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 0


def dotted(place: Place) -> str:
    """Write a place as a person would: `mailboxes.personal.port`, `notify[0].url`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE.fullmatch(part) else ascii(part[:60])
            text += f".{shown}" if text else shown
    return text


def _sentence(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {context['expected']}".replace("'", '"')
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
    return _SENTENCES.get(error["type"], error["msg"].lower().rstrip("."))


def _scan(text: str) -> Iterator[tuple[Place, int]]:
    """Yield the place and line number of each header and each key at the start of a line."""
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
        elif key := _KEY.match(line):
            yield table + _parts(key[1]), number


def _parts(name: str) -> Place:
    return tuple(part.strip("\"'") for part in re.findall(_PART, name))
