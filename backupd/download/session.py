"""What signs a download in: the rules for what may be sent where, and until when it is good. Pure.

A *session* is a value for one attempt: it is asked for header fields before every request, with the
URL that is about to be asked for, and it is shown every answer's fields. Rules that stay here:

1. A bearer token goes to the exact host `chatgpt.com` and only with the first request of an
   attempt: never across a redirect, wherever that leads.
2. Whoever makes requests verifies TLS; a session is never asked about anything but an https URL
   that passed the link rules.
3. Nothing here shows a secret: not in a repr, not in an error (I6).

Whether a token has ended is read from the token itself where it is a JWT: its payload is decoded,
its signature means nothing to us. A token of any other shape is as good; its end is not known.
Source: RFC 6750 §2.1 (the characters of a token), RFC 7519 §4.1.4 (`exp`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from backupd.download.headers import Headers
from backupd.errors import CredentialError

HOST = "chatgpt.com"
"""The one host that is signed in to."""
LONGEST_TOKEN = 16 * 1024

Fields = tuple[tuple[str, str], ...]
"""Header fields of a request, in order."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SCHEME = re.compile(r"(?:authorization:\s*)?bearer\s+", re.IGNORECASE)
_RENEW = "renew it as docs/signed-in.md says"
_HINT = 'see "Bearer token" in docs/signed-in.md for what the credential must hold'


class Kind(StrEnum):
    """How a download gets in; the values are those of `session` in the configuration."""

    DIRECT = "none"
    BEARER = "bearer"
    COOKIES = "cookies"
    BROWSER = "browser"


class Condition(StrEnum):
    """What can be said of a way in without asking the server."""

    READY = "ready"
    ENDED = "ended"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class Validity:
    """Whether a way in can be used now, and until when; `until` is aware UTC, None if unknown.

    `renewed` says that a program renews it by itself, so that an early end is nothing to tell.
    `sent_to` is the host that gets it. `detail` and `hint`, what to do, are for people: no secret,
    no URL. `mark` is another once what signs in is another; it is too short to find that again.
    """

    condition: Condition
    sent_to: str
    until: datetime | None
    renewed: bool
    detail: str
    hint: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential as it is now; `renewed` if a program prints it anew each time."""

    text: str = field(repr=False)
    renewed: bool = False

    def validity(self, until: datetime | None, now: datetime, detail: str) -> Validity:
        """Judge it by its end; it goes to `HOST`."""
        ended = until is not None and until <= now
        condition = Condition.ENDED if ended else Condition.READY
        return Validity(condition, HOST, until, self.renewed, detail, _RENEW, self._mark())

    def unusable(self, error: CredentialError) -> Validity:
        """Judge it as something that nothing can be done with."""
        condition = Condition.UNUSABLE
        return Validity(
            condition, HOST, None, self.renewed, error.message, error.hint, self._mark()
        )

    def _mark(self) -> str:
        text = self.text.encode(errors="replace")
        return hashlib.blake2b(text, person=b"session mark", digest_size=8).hexdigest()


class Session(Protocol):
    """What signs the requests of one attempt in; made for one attempt, used by one thread."""

    def headers_for(self, url: str, hop: int) -> Fields:
        """Return what signs a request for `url` in, or nothing where nothing may be sent.

        `hop` is 0 for the link itself and counts redirects. The URL has passed the link rules.
        """

    def learn(self, url: str, answer: Headers) -> None:
        """Take note of the fields of the answer from `url`, whatever its status."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Signs nothing: the link itself is enough, or nobody is there to sign in."""

    def headers_for(self, url: str, hop: int) -> Fields:  # noqa: ARG002 - the protocol's signature
        """Return nothing."""
        return ()

    def learn(self, url: str, answer: Headers) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token; `until` is when it ends by its own word, None if it does not say."""

    token: str = field(repr=False)
    until: datetime | None

    def headers_for(self, url: str, hop: int) -> Fields:
        """Return the token for the first request to the one host, else nothing (rule 1)."""
        parts = urlsplit(url)
        exact = parts.scheme == "https" and parts.netloc in (HOST, f"{HOST}:443")
        return (("Authorization", f"Bearer {self.token}"),) if exact and hop == 0 else ()

    def learn(self, url: str, answer: Headers) -> None:
        """Keep nothing: a token is renewed where it came from."""


def bearer(text: str) -> Bearer:
    """Read a token: alone, or behind the word Bearer, as it is copied from a request.

    Raises:
        CredentialError: it cannot be a token.
    """
    token = _SCHEME.sub("", text.strip(), count=1)
    if len(token) > LONGEST_TOKEN or not _TOKEN.fullmatch(token):
        raise CredentialError("use bearer token: the credential does not hold one", _HINT)
    return Bearer(token, _end(token))


class _Claims(msgspec.Struct):
    exp: int | float | None = None


def _end(token: str) -> datetime | None:
    """Return the end that a JWT names; None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = msgspec.json.decode(payload, type=_Claims)
        return None if claims.exp is None else datetime.fromtimestamp(claims.exp, UTC)
    except (ValueError, OverflowError, OSError, RecursionError, msgspec.MsgspecError):
        return None
