"""What an invented account holds, and what a week changed, as values.

A series is a sequence of states of one account. States share their unchanged conversations, so
that a series of twenty-six exports needs little more memory than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Era = Literal["2023", "2025", "2026", "privacy"]
Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal[
    "text",
    "image",
    "audio",
    "code",
    "output",
    "thoughts",
    "recap",
    "quote",
    "context",
    "cited",
    "aborted",
]
AssetKind = Literal["upload", "dalle", "made", "audio"]


@dataclass(frozen=True, slots=True)
class Asset:
    """One picture or recording; its bytes follow from `seed`, `kind` and `size` alone."""

    id: str
    kind: AssetKind
    name: str
    size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One node of a conversation.

    `word` is an invented word that occurs in `body` and nowhere else in the series ("" if there is
    none); `token` is a random UUID from which a renderer takes request ids and signatures.
    """

    id: str
    parent: str
    role: Role
    kind: Kind
    body: str
    created: float
    token: str
    word: str = ""
    asset: Asset | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation with all its branches, in the order in which its turns came to be.

    `noise` counts how often the exporter has re-measured and re-signed it: a renderer varies what
    nobody wrote (key order, durations, signatures) with it and nothing else.
    """

    id: str
    title: str | None
    created: float
    updated: float
    root: str
    turns: tuple[Turn, ...]
    current: str
    model: str
    archived: bool = False
    starred: bool = False
    noise: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """Whose exports these are; `prefix` begins the name of each of them."""

    prefix: str
    user_id: str
    email: str


@dataclass(frozen=True, slots=True)
class TextChange:
    """A turn that one export has and its neighbour has not; `word` finds it in a search."""

    conversation_id: str
    message_id: str
    text: str
    word: str


@dataclass(frozen=True, slots=True)
class Truth:
    """What really changed since the previous export of the series, by conversation id.

    The four sets `new`, `changed`, `metadata_changed` and `unchanged` are disjoint and make up
    the export; `gone` is what the previous export had and this one lacks.
    """

    new: frozenset[str]
    changed: frozenset[str]
    metadata_changed: frozenset[str]
    unchanged: frozenset[str]
    gone: frozenset[str]
    added: tuple[TextChange, ...] = ()
    removed: tuple[TextChange, ...] = ()

    @property
    def total(self) -> int:
        """How many conversations the export holds."""
        return len(self.new) + len(self.changed) + len(self.metadata_changed) + len(self.unchanged)


@dataclass(frozen=True, slots=True)
class Churn:
    """How many conversations meet each fate in a week, and the share the exporter makes noisy.

    `edited` keeps the old wording as a branch, `rewritten` loses it.
    """

    new: int = 6
    continued: int = 4
    edited: int = 2
    rewritten: int = 1
    deleted: int = 1
    retitled: int = 2
    flipped: int = 3
    noisy: float = 0.05

    @classmethod
    def for_size(cls, conversations: int) -> Churn:
        """Return the churn of a usual week of an account of that size."""

        def share(of: float) -> int:
            return max(1, round(conversations * of))

        return cls(
            new=share(0.0095),
            continued=share(0.0045),
            edited=share(0.0015),
            rewritten=share(0.0005),
            deleted=share(0.0009),
            retitled=share(0.0013),
            flipped=share(0.004),
        )


@dataclass(frozen=True, slots=True)
class Options:
    """How the exports of a series are made, beyond seed, era, number and size.

    `schema_week` is the export from which every conversation carries two more keys,
    `reordered_week` the one whose array is ordered by update instead of creation; None: the
    middle of the series, a negative number: never. `asset_share` is the chance of an exchange to
    bring a picture or a recording. `data_descriptors` and `zip64` choose other shapes of ZIP
    than the plain one.
    """

    churn: Churn | None = None
    asset_share: float = 0.012
    asset_size: int = 60_000
    stored_assets: bool = False
    zip64: bool = False
    data_descriptors: bool = False
    schema_week: int | None = None
    reordered_week: int | None = None
    hostile: float = 0.04
    start: float | None = None
