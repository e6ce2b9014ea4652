"""The turns of a conversation as marks, small enough to keep for ever and to compare.

A mark is 21 bytes: the hash of the turn's id, the digest of what it says, the index of its parent
(-1: none) and whether the turn is kept by every era. Marks are sorted by the id's hash, so that
equal turns make equal bytes whatever the order in which an exporter wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from backupd.export.conversations import Turn
from backupd.export.tree import NONE, nearest_ancestors

_MARK = Struct("<8s8si?")
MARK_SIZE = _MARK.size


class Mark(NamedTuple):
    """One turn; `parent` is an index into the same sequence of marks, or -1."""

    id: bytes
    digest: bytes
    parent: int
    kept: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of the kept turns between two states of a conversation.

    `altered` turns say something else under the same id, `moved` ones follow another turn.
    `hidden_lost` counts turns that only richer eras write and the later state lacks.
    """

    added: int = 0
    lost: int = 0
    altered: int = 0
    moved: int = 0
    hidden_lost: int = 0

    @property
    def same(self) -> bool:
        """Tell whether every kept turn is as it was."""
        return not (self.added or self.lost or self.altered or self.moved)

    @property
    def subset(self) -> bool:
        """Tell whether kept turns are missing and nothing else is different."""
        return bool(self.lost) and not (self.added or self.altered or self.moved)


def pack_marks(turns: Sequence[Turn]) -> bytes:
    """Return the marks of `turns` as bytes."""
    named = ((blake2b(turn.id.encode(), digest_size=8).digest(), turn) for turn in turns)
    hashed = sorted(named, key=lambda pair: (pair[0], pair[1].digest))
    position = {turn.id: index for index, (_, turn) in enumerate(hashed)}
    return b"".join(
        _MARK.pack(
            name,
            turn.digest,
            NONE if turn.parent is None else position[turn.parent],
            turn.kept,
        )
        for name, turn in hashed
    )


def mark_of(turn: Turn) -> bytes:
    """Return the 16 bytes that begin a turn's mark: the hash of its id, the digest of its words."""
    return blake2b(turn.id.encode(), digest_size=8).digest() + turn.digest


def turns_in(packed: bytes) -> set[bytes]:
    """Return what `mark_of` gives for each turn of a state."""
    return {packed[at : at + 16] for at in range(0, len(packed), MARK_SIZE)}


def unpack_marks(packed: bytes) -> list[Mark]:
    """Return the marks that `pack_marks` packed."""
    return [Mark(*fields) for fields in _MARK.iter_unpack(packed)]


def count_marks(packed: bytes) -> int:
    """Return how many turns there are, kept or not."""
    return len(packed) // MARK_SIZE


def content_digest(packed: bytes) -> bytes:
    """Return a hash of the kept turns and of which kept turn each of them follows."""
    marks = unpack_marks(packed)
    above = nearest_ancestors([mark.parent for mark in marks], [mark.kept for mark in marks])
    digest = blake2b(digest_size=16)
    for mark, parent in zip(marks, above, strict=True):
        if mark.kept:
            digest.update(mark.id + mark.digest)
            digest.update(marks[parent].id if parent != NONE else bytes(8))
    return digest.digest()


def difference(known: bytes, new: bytes) -> Difference:
    """Compare two states of one conversation, given as packed marks.

    A turn that only one side keeps, but both have with the same words, is no difference: reduced
    eras do not say that a turn is hidden or was meant for a tool.
    """
    if known == new:
        return Difference()
    before, after = unpack_marks(known), unpack_marks(new)
    old = {mark.id: mark for mark in before}
    fresh = {mark.id: mark for mark in after}
    both = [name for name, mark in fresh.items() if mark.kept and name in old and old[name].kept]
    return Difference(
        added=sum(_is_missing(mark, old.get(mark.id)) for mark in after),
        lost=sum(_is_missing(mark, fresh.get(mark.id)) for mark in before),
        altered=sum(old[name].digest != fresh[name].digest for name in both),
        moved=_count_moved(before, after, frozenset(both)),
        hidden_lost=sum(not mark.kept and mark.id not in fresh for mark in before),
    )


def _is_missing(mark: Mark, other: Mark | None) -> bool:
    """Tell whether a kept turn is not to be found on the other side."""
    if not mark.kept:
        return False
    return other is None or (not other.kept and other.digest != mark.digest)


def _count_moved(before: list[Mark], after: list[Mark], both: frozenset[bytes]) -> int:
    was, now = _parents_among(before, both), _parents_among(after, both)
    return sum(was[name] != now[name] for name in both)


def _parents_among(marks: list[Mark], names: frozenset[bytes]) -> dict[bytes, bytes | None]:
    """Return the nearest ancestor among `names` of each turn in `names`."""
    above = nearest_ancestors([mark.parent for mark in marks], [mark.id in names for mark in marks])
    return {
        mark.id: marks[parent].id if parent != NONE else None
        for mark, parent in zip(marks, above, strict=True)
        if mark.id in names
    }
