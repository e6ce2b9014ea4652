"""A way in: fetch this link into this part file, whoever does it and however it signs in.

Three are known to the pipeline: a plain request, a request that a session signs in (`session`,
`cookies`), and a browser. To the pipeline they are the same: it tries them in order and looks at
the outcome. What every implementation keeps to:

1. It never raises for what the server, the network or a credential does: every end is an outcome.
   A way that cannot even begin, for want of a credential or a program, ends as `SessionMissing`.
   Only a disk that fails for a reason other than room is a `DownloadFailed`.
2. `Fetched` is only said of a file at `part` that is whole, shaped like a ZIP, durable with its
   directory, 0600, and named by its SHA-256.
3. What lies in `part` is what `part.PartFile` left there, or nothing. A way that cannot continue a
   file leaves it alone until it has a whole one to put in its place.
4. It ends within a second of `cancel`, at `link.give_up_at` at the latest, and shows life by
   `progress` at least once a minute.
5. Secrets are read anew for every attempt and never outlive it in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backupd.download.fetch import fetch
from backupd.download.outcome import Outcome, SessionMissing
from backupd.download.session import (
    HOST,
    Anonymous,
    Condition,
    Kind,
    Secret,
    Session,
    Validity,
    bearer,
)
from backupd.download.terms import Limits, Network
from backupd.errors import CredentialError
from backupd.mail.link import Link

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Errand:
    """One attempt: what is to be fetched, into which file, within which bounds.

    `now` gives aware UTC; `cancel` asks to stop; `progress` hears the bytes on disk and the whole
    size, if known.
    """

    link: Link
    part: Path
    limits: Limits
    network: Network
    now: Callable[[], datetime]
    cancel: threading.Event
    progress: Progress


class Way(Protocol):
    """One way to fetch an export."""

    @property
    def kind(self) -> Kind:
        """How it gets in."""

    def reaches(self, link: Link) -> bool:
        """Say whether trying this link makes sense, without reading a secret."""

    def fetch(self, errand: Errand) -> Outcome:
        """Try once; see the rules of this module."""

    def validity(self, now: datetime) -> Validity:
        """Look at what it signs in with, asking nobody but the source of the secret.

        Raises:
            CredentialError: the secret is missing, or its source fails.
        """


class Direct:
    """A plain request: all that an anonymous link needs, and the last try for any other."""

    kind = Kind.DIRECT

    def reaches(self, link: Link) -> bool:  # noqa: ARG002 - the protocol's signature
        """Say yes: no link is known beforehand to refuse a plain request."""
        return True

    def fetch(self, errand: Errand) -> Outcome:
        """Ask for the file as anybody."""
        return request(errand)

    def validity(self, now: datetime) -> Validity:  # noqa: ARG002 - the protocol's signature
        """Say that there is nothing that could end."""
        return Validity(Condition.READY, HOST, None, renewed=True, detail="no sign-in")


class BearerWay:
    """Requests with a bearer token, which `secret` gives anew for each attempt."""

    kind = Kind.BEARER

    def __init__(self, secret: Callable[[], Secret]) -> None:
        self._secret = secret

    def reaches(self, link: Link) -> bool:
        """Say whether the link lies on the one host that gets the token."""
        return link.host == HOST

    def fetch(self, errand: Errand) -> Outcome:
        """Ask with the token as it is now; one that ended by its own word is not sent."""
        try:
            token = bearer(self._secret().text)
        except CredentialError as error:
            return SessionMissing(error.message)
        if token.until is not None and token.until <= errand.now():
            return SessionMissing(f"the token ended {token.until:%Y-%m-%d %H:%M} UTC")
        return request(errand, token)

    def validity(self, now: datetime) -> Validity:
        """Read the end of the token, where it names one."""
        secret = self._secret()
        try:
            token = bearer(secret.text)
        except CredentialError as error:
            return secret.unusable(error)
        detail = "bearer token" if token.until else "bearer token; it does not say when it ends"
        return secret.validity(token.until, now, detail)


def request(errand: Errand, session: Session | None = None) -> Outcome:
    """Fetch by plain requests, signed in by `session` where there is one.

    Raises:
        DownloadFailed: the part cannot be opened, read or written for a reason other than room.
    """
    return fetch(
        errand.link,
        errand.part,
        errand.limits,
        errand.network,
        errand.now,
        errand.cancel,
        errand.progress,
        session or Anonymous(),
    )
