"""What a person may ask a search: words, phrases, beginnings, AND, OR, NOT. Pure.

    either := both { OR both }
    both   := one { [AND] one }
    one    := (NOT | -) one | "(" either ")" | word[*] | "phrase"[*]

The operators are in capitals; "and" is a word. Every word is quoted for FTS5, so that no
character has a meaning there, and a query is either understood or refused in words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backupd.catalog.words import has_words, searchable
from backupd.errors import UsageError

LONGEST = 1_000
MOST_TERMS = 50
_DEEPEST = 20
_SHORTEST = 2  # a single letter and * would gather nearly all words
_TOKEN = re.compile(r'\s*(?:(?P<sign>[()])|(?P<minus>-(?=[^\s)]))|"(?P<phrase>[^"]*)"(?P<any>\*?)'
                    r'|(?P<word>[^\s()"]+))')  # fmt: skip
_OPERATORS = frozenset({"AND", "OR", "NOT"})


class QueryRefused(UsageError):
    """A query that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or phrase as it was typed; with `prefix` it is only a beginning."""

    text: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A query understood: `match` for FTS5, and the terms of which hits have some."""

    match: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a query; `match` is "" where nothing in it can be searched for."""

    match: str
    terms: tuple[Term, ...] = ()
    negative: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    """An operator, a bracket, or a term."""

    kind: str
    term: Term = Term("")


def understand(text: str) -> Query:
    """Read a query.

    Raises:
        QueryRefused: it is too long, has an open bracket or quotation mark, an operator without
            words, nothing to search for, or only what must not be there.
    """
    if len(text) > LONGEST:
        raise _refused(f"longer than {LONGEST:,} characters")
    tokens = _tokens(text.replace("\0", " ").encode("utf-8", "replace").decode())
    if sum(token.kind == "term" for token in tokens) > MOST_TERMS:
        raise _refused(f"more than {MOST_TERMS} words")
    if not tokens:
        raise _refused("nothing to search for")
    reader = _Reader(tokens)
    part = reader.either(0)
    if reader.kind():
        raise _refused("a bracket is closed that was not opened")
    if not part.match:
        raise _refused("nothing to search for")
    return Query(part.match, part.terms)


class _Reader:
    """The tokens of a query and how far they are read."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def kind(self) -> str:
        """Return the kind of the next token, "" at the end."""
        return self._tokens[self._at].kind if self._at < len(self._tokens) else ""

    def either(self, depth: int) -> _Part:
        """Read parts of which one must be there."""
        parts = [self._both(depth)]
        while self.kind() == "OR":
            self._at += 1
            parts.append(self._both(depth))
        found = [part for part in parts if part.match]
        terms = tuple(term for part in found for term in part.terms)
        return _Part(_joined(found, " OR "), terms)

    def _both(self, depth: int) -> _Part:
        """Read parts that must all be there, or not be there."""
        parts = [self._one(depth)]
        while self.kind() not in ("", "OR", ")"):
            if self.kind() == "AND":
                self._at += 1
            parts.append(self._one(depth))
        there = [part for part in parts if part.match and not part.negative]
        not_there = [part for part in parts if part.match and part.negative]
        if not_there and not there:
            raise _refused("it says only what must not be there")
        match = _joined(there, " AND ")
        if not_there:
            match = f"{match} NOT {_joined(not_there, ' OR ')}"
        return _Part(match, tuple(term for part in there for term in part.terms))

    def _one(self, depth: int) -> _Part:
        if depth > _DEEPEST:
            raise _refused("brackets too deep")
        kind = self.kind()
        self._at += 1
        if kind == "NOT":
            part = self._one(depth + 1)
            return _Part(part.match, part.terms, not part.negative)
        if kind == "(":
            part = self.either(depth + 1)
            if self.kind() != ")":
                raise _refused("a bracket is not closed")
            self._at += 1
            return part
        if kind != "term":
            raise _refused(f"a word is missing {f'before {kind}' if kind else 'at the end'}")
        return _quoted(self._tokens[self._at - 1].term)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        matched = _TOKEN.match(text, at)
        if matched is None:
            raise _refused("a quotation mark is not closed")
        found.append(_token(matched))
        at = matched.end()
    return found


def _token(found: re.Match[str]) -> _Token:
    if found["sign"]:
        return _Token(found["sign"])
    if found["minus"]:
        return _Token("NOT")
    if found["phrase"] is not None:
        return _Token("term", Term(found["phrase"], bool(found["any"])))
    word: str = found["word"]
    if word in _OPERATORS:
        return _Token(word)
    return _Token("term", Term(word.rstrip("*"), word.endswith("*")))


def _quoted(term: Term) -> _Part:
    if not has_words(term.text):
        return _Part("")
    if term.prefix and term.text.isascii() and len(term.text) < _SHORTEST:
        raise _refused("a beginning needs at least two letters")
    words = searchable(term.text).replace('"', '""')
    return _Part(f'"{words}"{"*" if term.prefix else ""}', (term,))


def _joined(parts: list[_Part], operator: str) -> str:
    match = operator.join(part.match for part in parts)
    return f"({match})" if len(parts) > 1 or " NOT " in match else match


def _refused(cause: str) -> QueryRefused:
    return QueryRefused(
        f"search: {cause}",
        'write words, "a phrase", begin*, AND, OR, -without and brackets; backupd search --help',
    )
