"""How one download attempt ends: a closed set of frozen values. Pure.

Each has a stable `kind` and a `detail` for people (no URL, no query, no text the server chose).
What follows from each is the caller's to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fetched:
    """The whole file is on disk, durable and shaped like a ZIP; `sha256` in hex."""

    size: int
    sha256: str
    kind: ClassVar[str] = "fetched"

    @property
    def detail(self) -> str:
        """Say how much came."""
        return f"{self.size} bytes"


@dataclass(frozen=True, slots=True)
class SignInNeeded:
    """The server wants a signed-in session of the account."""

    detail: str
    kind: ClassVar[str] = "sign-in-needed"


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """The server does not accept the session it was shown: it has ended, or was withdrawn."""

    detail: str
    kind: ClassVar[str] = "session-refused"


@dataclass(frozen=True, slots=True)
class SessionMissing:
    """Nothing could be tried: what signs in is missing, unusable, or has ended by its own word."""

    detail: str
    kind: ClassVar[str] = "session-missing"


@dataclass(frozen=True, slots=True)
class WrongAccount:
    """The server accepts the session but does not give it this export: probably another's."""

    detail: str
    kind: ClassVar[str] = "wrong-account"


@dataclass(frozen=True, slots=True)
class SignInOrDead(SignInNeeded):
    """The server refuses the link early without a reason: unsigned, or dead before its time."""

    kind: ClassVar[str] = "sign-in-or-dead"


@dataclass(frozen=True, slots=True)
class EndedEarly(SignInNeeded):
    """The server says early that the link has ended; who is not signed in cannot be sure of it."""

    kind: ClassVar[str] = "ended-early"


@dataclass(frozen=True, slots=True)
class Challenged:
    """The server wants proof of a browser; neither expired nor a question of signing in."""

    detail: str = "the server wants proof that a browser is asking"
    kind: ClassVar[str] = "challenged"


@dataclass(frozen=True, slots=True)
class Expired:
    """The link is dead; `certain` when the server or the link itself says so."""

    certain: bool
    detail: str
    kind: ClassVar[str] = "expired"


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The server asks to wait; `retry_after` is None where it does not say how long."""

    retry_after: timedelta | None
    kind: ClassVar[str] = "rate-limited"

    @property
    def detail(self) -> str:
        """Say how long the server asks to wait."""
        if self.retry_after is None:
            return "the server asks to wait"
        return f"the server asks to wait {int(self.retry_after.total_seconds())} s"


@dataclass(frozen=True, slots=True)
class NetworkFailed:
    """No connection, a broken one, or one too slow; what arrived is kept for the next attempt."""

    detail: str
    kind: ClassVar[str] = "network-failed"


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """The server answered with a status, or in a way, that says nothing about the link."""

    status: int
    reason: str = ""
    kind: ClassVar[str] = "server-failed"

    @property
    def detail(self) -> str:
        """Name the status and, where known, what was wrong with the answer."""
        return f"status {self.status}: {self.reason}" if self.reason else f"status {self.status}"


@dataclass(frozen=True, slots=True)
class DiskFull:
    """The disk has too little room; `missing` is how many bytes must be freed at least."""

    missing: int
    kind: ClassVar[str] = "disk-full"

    @property
    def detail(self) -> str:
        """Say how much room is missing."""
        return f"{self.missing} bytes are missing on the disk"


@dataclass(frozen=True, slots=True)
class NotAZip:
    """What the server delivered is complete by its own word and is not a ZIP."""

    detail: str
    kind: ClassVar[str] = "not-a-zip"


@dataclass(frozen=True, slots=True)
class TooBig:
    """The file is larger than the configured `limit` in bytes; nothing of it is kept."""

    limit: int
    kind: ClassVar[str] = "too-big"

    @property
    def detail(self) -> str:
        """Name the limit."""
        return f"the file is larger than the limit of {self.limit} bytes"


@dataclass(frozen=True, slots=True)
class LinkRefused:
    """The link, or where it redirects to, breaks a rule; `detail` names at most a host."""

    detail: str
    kind: ClassVar[str] = "link-refused"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller asked to stop; what arrived is kept for the next attempt."""

    detail: str = "stopped on request"
    kind: ClassVar[str] = "cancelled"


Outcome = (
    Fetched
    | SignInNeeded
    | SessionRefused
    | SessionMissing
    | WrongAccount
    | Challenged
    | Expired
    | RateLimited
    | NetworkFailed
    | ServerFailed
    | DiskFull
    | NotAZip
    | TooBig
    | LinkRefused
    | Cancelled
)


class Ended(Exception):
    """Carries an outcome from the depth of an attempt to its top; never leaves the package."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome
