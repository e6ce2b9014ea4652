"""What goes into the catalog and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from backupd.export.versions import Change, Counts, Presence


class SnapshotFacts(Protocol):
    """What the catalog must know of a snapshot. Times are aware."""

    @property
    def id(self) -> str:
        """The snapshot's id."""

    @property
    def account(self) -> str | None:
        """Whose export it is, as far as the export says."""

    @property
    def account_prefix(self) -> str | None:
        """How the account's export files begin, where the file name was known."""

    @property
    def exported_at(self) -> datetime | None:
        """When OpenAI made the export."""

    @property
    def received_at(self) -> datetime:
        """When the export arrived here."""

    @property
    def complete(self) -> bool | None:
        """Whether the export is complete; None where it cannot be told."""


S = TypeVar("S", bound=SnapshotFacts)


class ForgottenFacts(SnapshotFacts, Protocol):
    """What is still known of a snapshot that was forgotten."""

    @property
    def slices(self) -> Sequence[bytes]:
        """The slices that it had and that stay."""

    @property
    def gone(self) -> frozenset[bytes]:
        """Those of them whose conversations were gone when it was forgotten."""


class Source(Protocol[S]):
    """Where snapshots come from: the repository."""

    def snapshots(self) -> Sequence[S]:
        """Return all snapshots, in any order."""

    def forgotten(self) -> Sequence[ForgottenFacts]:
        """Return the forgotten snapshots of which conversations stay, in any order."""

    def conversation_ids(self, snapshot: S) -> Iterable[bytes]:
        """Return the ids (16 bytes) of the slices that are conversations of a snapshot."""

    def read_many(self, ids: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
        """Return (id, bytes) of each slice asked for, in any order."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What one `sync` took in: snapshots, slices that had to be read, their bytes.

    `damaged` are snapshots some of whose slices the source could not give; they are left out of
    every count, and tried again by the next `sync`.
    """

    snapshots: int = 0
    slices: int = 0
    size: int = 0
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """What one export was to those before it.

    `missing` counts conversations that were there before and are not in this export; they are
    gone unless `complete` is False or `mass_drop` is true. `unreadable` slices are no
    conversations; their bytes are in the repository.
    """

    snapshot: str
    counts: Counts
    complete: bool | None
    mass_drop: bool
    missing: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """One conversation of one account as of the newest export.

    `turns` counts the kept turns of the head, `slice_id` is the object that holds the head.
    `last_snapshot` is the newest one that has the conversation. `gone_since` is the snapshot
    that first showed it gone, None unless `presence` is GONE, or where that was forgotten.
    """

    id: str
    account: str
    title: str | None
    created: datetime | None
    updated: datetime | None
    presence: Presence
    turns: int
    versions: int
    first_snapshot: str
    last_snapshot: str
    gone_since: str | None
    slice_id: bytes


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a conversation. `slice_id` is the fullest slice that has this content.

    `change` is NEW for the first version. The four numbers say how it differs from the version
    seen before it.
    """

    number: int
    first_snapshot: str
    last_snapshot: str
    turns: int
    change: Change
    added: int
    lost: int
    altered: int
    moved: int
    head: bool
    slice_id: bytes


@dataclass(frozen=True, slots=True)
class ConversationChange:
    """What one export did to one conversation: "new", "changed", "metadata_changed", "gone"."""

    id: str
    title: str | None
    change: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for. Times are aware; `until` is the first moment that is too late.

    Without `role` the turns that every era writes are searched: those of the person and of the
    assistant to each other. A turn without a time counts as of its conversation's last update.
    `title` and `model` are parts of names, whatever their case. `every_version` also finds what
    the newest version lacks, `gone` only what is in conversations that are gone.
    """

    query: str
    role: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    model: str | None = None
    title: str | None = None
    has_asset: bool = False
    gone: bool = False
    every_version: bool = False
    limit: int = 20


@dataclass(frozen=True, slots=True)
class Hit:
    """One turn, or one title, that a search found.

    For a title `message_id`, `role`, `model` and `created` are None. `snippet` is one line of the
    text around the first match, `marks` are the places of matches in it, (begin, end).
    `first_snapshot` and `last_snapshot` are the ones that had just this wording first and last,
    `last_seen` is when the latter was exported; `current` tells whether the newest version of the
    conversation still has it.
    """

    conversation_id: str
    account: str
    title: str | None
    message_id: str | None
    role: str | None
    model: str | None
    created: datetime | None
    snippet: str
    marks: tuple[tuple[int, int], ...]
    first_snapshot: str
    last_snapshot: str
    last_seen: datetime
    current: bool
    gone: bool


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found, the best first; `more` tells that the limit left some out."""

    hits: tuple[Hit, ...]
    more: bool
