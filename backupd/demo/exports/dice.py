"""Seeded choices that come out alike on every machine and every Python.

Only `Random.random()` and `getrandbits()` are used: the standard library promises the sequence
of the first and has never changed the second.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from backupd.demo.exports.words import listed

T = TypeVar("T")
_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ONSETS = listed("b c d f g h k l m n p r s t v w z br cl dr fl gr kr pl sk st tr")
_RIMES = listed("a e i o u al an ar el em en er il in ir ol on or ul um un")


class Dice:
    """A seeded source of choices; `random` is the bare generator for tight loops."""

    def __init__(self, seed: str) -> None:
        source = random.Random(seed)  # noqa: S311 - invented content, not secrets
        self.random = source.random
        self.bits = source.getrandbits

    def below(self, limit: int) -> int:
        """Return a whole number from 0 to `limit` - 1."""
        return int(self.random() * limit)

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Say yes with the given probability."""
        return self.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """Return one of `items`, each as likely as the others."""
        return items[int(self.random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return up to `count` different items in random order."""
        pool = list(items)
        count = min(count, len(pool))
        for place in range(count):
            other = place + int(self.random() * (len(pool) - place))
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]

    def uuid(self) -> str:
        """Return a random UUID (version 4) as text."""
        digits = f"{self.bits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def hex(self, digits: int) -> str:
        """Return that many random hexadecimal digits."""
        return f"{self.bits(digits * 4):0{digits}x}"

    def alnum(self, length: int) -> str:
        """Return that many random letters and digits."""
        return "".join([_ALNUM[int(self.random() * 62)] for _ in range(length)])

    def word(self) -> str:
        """Return an invented word, in practice never the same twice."""
        random_ = self.random
        return "".join(
            [
                _ONSETS[int(random_() * len(_ONSETS))] + _RIMES[int(random_() * len(_RIMES))]
                for _ in range(5)
            ]
        )
