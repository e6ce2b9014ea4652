"""What is new, changed, gone: versions of conversations from export to export. Pure.

Rules that live here and nowhere else:

- A *version* is new only if kept turns were added, lost, altered or moved. Key order, measured
  durations, signed links, another era's fields, pruned tool turns make none.
- Title and flags make a metadata change. A flag that an era does not write keeps its last value.
- The *head* is what a reader is shown. A state that merely lacks kept turns of the head is a
  version (something was deleted upstream) but never becomes the head (I8); the next state that
  adds something of its own does. A poorer state, one that lacks only what a reduced era leaves
  out, is no version at all: the richer one stays.
- *Gone* is said only by an export that is not known to be incomplete and is no mass drop. In a
  mass drop nothing is gone: the missing ones are *held*. A later complete export that lacks
  them still, without a sudden drop of its own, makes them gone.

Nothing here deletes; the worst a wrong verdict does is a wrong word in a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from hashlib import blake2b

import msgspec

from backupd.export.conversations import Conversation, Scalar
from backupd.export.marks import (
    Difference,
    content_digest,
    count_marks,
    difference,
    pack_marks,
)

# (missing at least, and more than this share of those present): a mass drop. Tidying up a small
# account by hand must not alarm; a large account never loses a tenth in one go by hand.
MASS_DROP = ((5, 0.25), (100, 0.10))
_scalars = msgspec.json.Decoder(dict[str, Scalar])
_encoder = msgspec.json.Encoder(order="sorted")


class Change(StrEnum):
    """What an export says about one conversation, compared with what was known."""

    NEW = "new"
    CHANGED = "changed"
    METADATA_CHANGED = "metadata_changed"
    UNCHANGED = "unchanged"
    POORER = "poorer"


class Presence(IntEnum):
    """Where a conversation stands after an export; the numbers are stored in the catalog."""

    PRESENT = 0
    MISSING = 1
    HELD = 2
    GONE = 3


@dataclass(frozen=True, slots=True)
class Counts:
    """How the conversations of one export compare with the exports before it.

    `total` is the sum of the next four; `gone` counts those that this export was the first to
    show as gone.
    """

    total: int
    new: int
    changed: int
    metadata_changed: int
    unchanged: int
    gone: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All that must be remembered of a state to compare it with any other.

    `content` is a hash of the kept turns, equal hashes mean equal content; `metadata` is a JSON
    object of title and flags; `marks` are the packed turns (`export.marks`); `kept` counts the
    kept turns.
    """

    content: bytes
    metadata: bytes
    marks: bytes
    kept: int

    @property
    def richness(self) -> tuple[int, int]:
        """Order states of one conversation by how much they hold."""
        return self.kept, count_marks(self.marks)

    @property
    def digest(self) -> bytes:
        """Return a hash of the marks, hidden turns included."""
        return blake2b(self.marks, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a conversation after some exports.

    `head` is shown by default, `latest` is the content last seen (the richest state of it),
    `metadata` holds the last known value of every flag.
    """

    head: Fingerprint
    latest: Fingerprint
    metadata: bytes
    presence: Presence = Presence.PRESENT


@dataclass(frozen=True, slots=True)
class Observed:
    """What one export taught about one conversation.

    `difference` compares with the state seen before; `to_head` tells that a changed conversation
    is back at the content of its head.
    """

    known: Known
    change: Change
    difference: Difference
    to_head: bool = False


@dataclass(frozen=True, slots=True)
class Folded:
    """An account after one more export; `changes` names those that are not unchanged."""

    series: dict[str, Known]
    counts: Counts
    changes: dict[str, Change]
    gone: tuple[str, ...]
    mass_drop: bool
    missing: int


def fingerprint(conversation: Conversation) -> Fingerprint:
    """Return what must be remembered of a conversation."""
    marks = pack_marks(conversation.turns)
    return Fingerprint(
        content=content_digest(marks),
        metadata=_encoder.encode(dict(conversation.metadata)),
        marks=marks,
        kept=sum(turn.kept for turn in conversation.turns),
    )


def compare(known: Fingerprint, new: Fingerprint) -> Change:
    """Say what `new` is to someone who knows `known`."""
    return observe(Known(known, known, known.metadata), new).change


def observe(known: Known | None, new: Fingerprint) -> Observed:
    """Take in the next state of one conversation."""
    if known is None:
        return Observed(Known(new, new, new.metadata), Change.NEW, Difference(added=new.kept))
    metadata, renamed = merge_metadata(known.metadata, new.metadata)
    found = difference(known.latest.marks, new.marks)
    after = replace(known, metadata=metadata, presence=Presence.PRESENT)
    if not found.same:
        return _changed(after, new, found)
    if new.richness > known.latest.richness:
        head = new if known.head == known.latest else known.head
        after = replace(after, head=head, latest=new)
    if renamed:
        return Observed(after, Change.METADATA_CHANGED, found)
    return Observed(after, Change.POORER if found.hidden_lost else Change.UNCHANGED, found)


def _changed(known: Known, new: Fingerprint, found: Difference) -> Observed:
    from_head = difference(known.head.marks, new.marks)
    if from_head.same:
        richer = new if new.richness > known.head.richness else known.head
        return Observed(replace(known, head=richer, latest=richer), Change.CHANGED, found, True)
    head = known.head if from_head.subset else new
    return Observed(replace(known, head=head, latest=new), Change.CHANGED, found)


def merge_metadata(known: bytes, new: bytes) -> tuple[bytes, bool]:
    """Return title and flags with the newest known values, and whether any of them changed."""
    if known == new:
        return known, False
    before, after = _scalars.decode(known), _scalars.decode(new)
    changed = any(name in before and before[name] != value for name, value in after.items())
    return _encoder.encode({**before, **after}), changed


def is_mass_drop(present: int, missing: int) -> bool:
    """Tell whether so many conversations vanish at once that the export is to be doubted."""
    if missing == present and present >= 3:
        return True
    return any(missing >= least and missing > share * present for least, share in MASS_DROP)


def absence(present: int, missing: int, complete: bool | None) -> Presence:
    """Say what the conversations are that an export lacks: MISSING, HELD or GONE.

    `present` counts those that were there before, `missing` those of them that are not now.
    `complete` is None where an era has no manifest to tell; only False is a doubt.
    """
    if complete is False:
        return Presence.MISSING
    return Presence.HELD if is_mass_drop(present, missing) else Presence.GONE


def fold(
    series: Mapping[str, Known], export: Mapping[str, Fingerprint], complete: bool | None
) -> Folded:
    """Take in one export of an account, in the order of time.

    `series` is what is known before, `export` the conversations of the export by id.
    """
    after = dict(series)
    changes: dict[str, Change] = {}
    for name, state in export.items():
        seen = observe(series.get(name), state)
        after[name] = seen.known
        if seen.change not in (Change.UNCHANGED, Change.POORER):
            changes[name] = seen.change
    there = [name for name, known in series.items() if known.presence <= Presence.MISSING]
    missing = [name for name in there if name not in export]
    verdict = absence(len(there), len(missing), complete)
    gone: list[str] = []
    if verdict is Presence.GONE:
        held = [name for name, known in series.items() if known.presence is Presence.HELD]
        gone = missing + [name for name in held if name not in export]
    for name in gone or missing:
        after[name] = replace(series[name], presence=verdict)
    counts = tally(len(export), changes.values(), len(gone))
    mass_drop = verdict is Presence.HELD
    return Folded(after, counts, changes, tuple(gone), mass_drop, len(missing))


def tally(total: int, changes: Iterable[Change], gone: int) -> Counts:
    """Count the changes of one export of `total` conversations."""
    kinds = list(changes)
    new, changed = kinds.count(Change.NEW), kinds.count(Change.CHANGED)
    renamed = kinds.count(Change.METADATA_CHANGED)
    return Counts(total, new, changed, renamed, total - new - changed - renamed, gone)
