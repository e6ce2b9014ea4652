"""One delivery as a value: its states, its place in a mailbox, what opens it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where a delivery stands."""

    PROVEN = "proven"
    FETCHING = "fetching"
    FETCHED = "fetched"
    NEEDS_YOU = "needs-you"
    STORED = "stored"
    EXPIRED = "expired"
    REFUSED = "refused"


PENDING = (State.PROVEN, State.FETCHING, State.FETCHED, State.NEEDS_YOU)
"""States in which something is still to be done before the deadline."""
OVER = 100
"""The `alarm` of a delivery whose last chance is given: it outlived the time for its link."""
UNPROVEN = "unproven"
"""The outcome of a delivery that waits for a person's approval (`ledger.approvals`)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the mail of a delivery lies."""

    mailbox: str
    folder: str
    uidvalidity: int
    uid: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as the ledger holds it. Times are aware UTC; `link` is the signed URL."""

    id: str
    state: State
    mailbox: str | None
    folder: str | None
    uidvalidity: int | None
    uid: int | None
    message_id: str | None
    sender: str | None
    proof: str | None
    link: str | None
    era: str | None
    host: str | None
    file_name: str | None
    account: str | None
    mail_at: datetime | None
    deadline: datetime | None
    give_up_at: datetime | None
    created_at: datetime
    updated_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    outcome: str | None
    detail: str | None
    alarm: int
    part: Path | None
    sha256: str | None
    size: int | None
    snapshot: str | None

    @property
    def is_unproven(self) -> bool:
        """Whether it waits for a person's approval."""
        return self.state is State.NEEDS_YOU and self.proof is None

    def __repr__(self) -> str:
        """Show id and state only: the link is a secret."""
        return f"Delivery({self.id}, {self.state.value})"


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known when a mail's link is found; `proof` is None if nothing proves the mail."""

    place: Place
    message_id: str | None
    sender: str
    proof: str | None
    link: str
    era: str
    host: str
    file_name: str
    account: str | None
    mail_at: datetime
    deadline: datetime
    give_up_at: datetime

    def __repr__(self) -> str:
        """Show the host only: the link is a secret."""
        return f"Opening({self.host})"
