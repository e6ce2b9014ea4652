"""Prose, code and awkward strings, from a handful of word lists and a seed.

The prose is grammar without meaning: sentence shapes filled with words, the frequent ones far more
often. Each conversation has a few words of its own that return again and again. What matters is
that it compresses about as well as people's text does (three to one).
"""

from __future__ import annotations

from collections.abc import Sequence

from backupd.demo.exports import words
from backupd.demo.exports.dice import Dice

_RARE = tuple(stem + suffix for suffix in words.SUFFIXES for stem in words.STEMS)
_POOLS: dict[str, Sequence[str]] = {
    "N": words.NOUNS,
    "V": words.VERBS,
    "B": words.BASES,
    "A": words.ADJECTIVES,
    "R": words.ADVERBS,
    "D": words.DETERMINERS,
    "P": words.PREPOSITIONS,
    "C": words.CONJUNCTIONS,
    "S": words.SUBJECTS,
    "M": words.MODALS,
    "X": _RARE,
}
# T stands for the conversation's own words.
_SHAPES = (
    "D N V D A N P D T",
    "S M B D T P D A N C S M B D N",
    "D A T V R C D N V D X N",
    "C D N V D T S M R B D A N P D N",
    "R D T V D N P A N C A N",
    "D X P D T V D N",
    "S M R B D T C B D A N P D X",
    "P D N P D T D A N V R",
    "D T C D N V D A X P D N P D A N",
    "A N V A N C D T V D N",
    "S M B P D N P D T C P D A X N",
    "R S M B D N D N V D T",
)
_CODE = (
    "{v}ed = [{n} for {n} in {m} if {n}.{t} > {k}]",
    "{n} = {m}.get({t!r}, {k})",
    "if {n} is None or {m} < {k}:",
    '    raise ValueError(f"{n} {{{m}}} {v} {t}")',
    "for {n}, {m} in enumerate({t}s):",
    "    {m}.{v}({n} * {k}, {t}={k})",
    'with open({t}_path, encoding="utf-8") as {n}:',
    '    {m} = {n}.read().split("{t}")',
    "self._{n}_{m} = {t}({k})",
    'assert {v}_{n}({m}) == {k}, "{t}"',
    "# {v} the {n} {k} times: {t} {m}",
    '{t}["{n}"] += {m} // {k}',
    "return {n}, {v}({m}, {t}={k})",
    'logger.info("{v} %s {t}", {n})',
    "SELECT {n}, {m} FROM {t} WHERE {v} <= {k};",
)
_TITLES = ("{A} {N} {P} {N}", "{N} {P} {X}", "How to {B} a {N}", "{X} {N}", "{N}: {A} or {A}?")


class Prose:
    """The voice of one conversation: text, code and titles drawn from its dice."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        own = dice.sample(words.NOUNS, 6) + dice.sample(_RARE, 6) + [dice.word() for _ in range(3)]
        self._shapes = tuple(
            tuple(own if mark == "T" else _POOLS[mark] for mark in shape.split())
            for shape in dice.sample(_SHAPES, 9)
        )

    def sentence(self) -> str:
        """Return one sentence."""
        random = self._dice.random
        shape = self._shapes[int(random() * len(self._shapes))]
        # The product of two uniform numbers favours the words at the front of a list.
        text = " ".join([pool[int(len(pool) * random() * random())] for pool in shape])
        end = self._detail() if random() < 0.25 else ""
        return f"{text[0].upper()}{text[1:]}{end}."

    def _detail(self) -> str:
        """Return what no compressor foresees: a name, a number, an address."""
        dice = self._dice
        form = dice.below(4)
        if form == 0:
            return f" ({dice.word()})"
        if form == 1:
            return f", about {dice.below(100_000) / 100}"
        if form == 2:
            return f", see https://example.org/{dice.alnum(8)}"
        return f" {dice.pick(_RARE)} {dice.pick(words.NOUNS)}"

    def paragraph(self, sentences: int) -> str:
        """Return that many sentences on one line."""
        return " ".join([self.sentence() for _ in range(sentences)])

    def prompt(self, word: str) -> str:
        """Return what a person asks, with `word` in it."""
        ask = self.paragraph(self._dice.between(1, 4))
        return f"{ask} I call this {word}."

    def answer(self) -> str:
        """Return what an assistant says: paragraphs, lists, headings."""
        dice = self._dice
        blocks = []
        for _ in range(dice.between(1, 6)):
            form = dice.random()
            if form < 0.62:
                blocks.append(self.paragraph(dice.between(2, 6)))
            elif form < 0.84:
                blocks.append("\n".join(f"- {self.sentence()}" for _ in range(dice.between(2, 6))))
            else:
                blocks.append(f"## {self.title()}\n\n{self.paragraph(3)}")
        return "\n\n".join(blocks)

    def code(self) -> str:
        """Return a fenced code block of five to thirty lines."""
        dice = self._dice
        nouns = words.NOUNS
        lines = [
            dice.pick(_CODE).format(
                n=dice.pick(nouns),
                m=dice.pick(nouns),
                t=dice.pick(_RARE),
                v=dice.pick(words.BASES),
                k=dice.below(5000),
            )
            for _ in range(dice.between(5, 30))
        ]
        return "```python\ndef " + dice.pick(_RARE) + "():\n    " + "\n    ".join(lines) + "\n```"

    def requote(self, block: str) -> str:
        """Return a code block again, with one of its lines replaced."""
        lines = block.split("\n")
        lines[self._dice.between(2, max(2, len(lines) - 2))] = f"    {self._dice.word()} = None"
        return "\n".join(lines)

    def title(self) -> str:
        """Return a title of a few words."""
        dice = self._dice
        shape = dice.pick(_TITLES)
        for mark in "ANPXB":
            while f"{{{mark}}}" in shape:
                shape = shape.replace(f"{{{mark}}}", dice.pick(_POOLS[mark]), 1)
        return f"{shape[0].upper()}{shape[1:]}"

    def awkward(self) -> str:
        """Return a string that breaks careless programs."""
        dice = self._dice
        kind = dice.below(6)
        if kind == 0:
            return dice.pick(words.SURROGATES)
        if kind == 1:
            return dice.pick(words.RTL)
        if kind == 2:
            return dice.pick(words.CJK)
        if kind == 3:
            return " ".join(dice.pick(words.EMOJI) for _ in range(4))
        return dice.pick(words.HOSTILE)
