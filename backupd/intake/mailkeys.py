"""What a mailbox is logged in to with: its password, or access tokens that are kept fresh.

The refresh token is the mailbox's credential. One that the provider has exchanged for another is
kept in the ledger, sealed under the credential (`credentials.succession`): whatever the credential
comes from, it stays as the person set it, and setting it anew makes the kept one worthless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from backupd import notice
from backupd.config import MailboxSettings
from backupd.config.oauth import READY_MADE
from backupd.credentials import Credentials
from backupd.credentials.succession import open_successor, seal_successor
from backupd.ledger.deliveries import moment, stamp
from backupd.ledger.messages import Messages
from backupd.notice import Notice
from backupd.oauth.exchange import OAuthServer, client_of
from backupd.oauth.messages import Client
from backupd.oauth.tokens import AccessTokens

SOON = timedelta(days=7)
"""A sign-in that ends within this time is told of, or within half of its life if that is less."""
SAME = timedelta(minutes=10)
"""Ends told this close to each other are one: servers tell what is left, rounded."""

Tell = Callable[[Notice], None]
Clock = Callable[[], datetime]


def _nothing(_patience: float) -> None:
    """Stand in where there is nothing to close."""


@dataclass(frozen=True, slots=True)
class MailKey:
    """`get` returns what to log in with; `renew` another in place of a refused one, if there is.

    `close` ends that, after so many seconds at most.
    """

    get: Callable[[], str]
    renew: Callable[[str], str | None] | None = None
    close: Callable[[float], None] = _nothing


def is_signed_in(settings: MailboxSettings) -> bool:
    """Say whether a person signs in to a mailbox, so that its credential is a refresh token."""
    return settings.auth == "oauth2" and settings.oauth_provider != READY_MADE


def mail_key(
    settings: MailboxSettings,
    credentials: Credentials,
    messages: Messages,
    clock: Clock,
    tell: Tell,
) -> MailKey:
    """Return the key of one mailbox."""
    if not is_signed_in(settings):
        return MailKey(partial(credentials.get, settings.credential))
    tokens = access_tokens(settings, credentials, messages, clock, tell)
    return MailKey(tokens.get, tokens.renew, tokens.close)


def untold(_notice: Notice) -> None:
    """Stand in for the daemon's notices where a person asks and reads the answer."""


def access_tokens(
    settings: MailboxSettings,
    credentials: Credentials,
    messages: Messages,
    clock: Clock,
    tell: Tell,
) -> AccessTokens:
    """Return the source of a mailbox's access tokens."""
    kept = KeptRefreshToken(settings, credentials, messages, clock, tell)
    server = OAuthServer(settings.ca_file, clock)
    return AccessTokens(
        partial(registered_client, settings, credentials), kept, server.tokens, clock
    )


def registered_client(settings: MailboxSettings, credentials: Credentials) -> Client:
    """Return as whom and where a mailbox signs in, with the client's secret if it has one.

    Raises:
        CredentialError: the secret cannot be read.
    """
    name = settings.oauth_secret_credential
    return client_of(settings, "" if name is None else credentials.get(name))


class KeptRefreshToken:
    """The refresh token of one mailbox: the credential, or what has replaced it since.

    A successor that the ledger did not take, as on a full disk, is kept in memory and offered to
    the ledger again with the next one. Used by one thread at a time.
    """

    def __init__(
        self,
        settings: MailboxSettings,
        credentials: Credentials,
        messages: Messages,
        clock: Clock,
        tell: Tell,
    ) -> None:
        self._mailbox = settings.name
        self._name = settings.credential
        self._credentials = credentials
        self._messages = messages
        self._clock = clock
        self._tell = tell
        self._credential = ""
        self._unsaved: str | None = None

    def current(self) -> str:
        """Return the newest refresh token.

        Raises:
            CredentialError: there is none, or it cannot be read.
        """
        credential = self._credentials.get(self._name)
        if credential != self._credential:
            self._credential, self._unsaved = credential, None
        if self._unsaved is not None:
            return self._unsaved
        sealed = self._messages.fact(_fact("successor", self._name)) or ""
        return open_successor(self._name, credential, sealed) or credential

    def rotated(self, successor: str) -> None:
        """Keep what has replaced the `current` one in the ledger; durable when this returns.

        Raises:
            LedgerFailed: it is kept in memory only.
        """
        self._unsaved = successor
        sealed = seal_successor(self._name, self._credential, successor)
        self._messages.set_fact(_fact("successor", self._name), sealed, self._clock())
        self._unsaved = None

    def ends(self, at: datetime | None) -> None:
        """Remember when the sign-in ends, if the provider told, and tell when that is soon.

        A provider that tells only at the sign-in is believed until then.
        """
        now, known = self._clock(), self._time("ends")
        if at is not None and (known is None or abs(at - known) > SAME):
            remember_end(self._messages, self._name, at, now)
        end, begin = self._time("ends"), self._time("begins")
        if end is None or begin is None or end - now >= min(SOON, (end - begin) / 2):
            self._tell(notice.sign_in_renewed(mailbox=self._mailbox))
        else:
            self._tell(
                notice.sign_in_ending(
                    mailbox=self._mailbox, credential=self._name, left=end - now, ends_at=end
                )
            )

    def _time(self, what: str) -> datetime | None:
        value = self._messages.fact(_fact(what, self._name))
        return moment(value) if value else None


def remember_end(messages: Messages, name: str, at: datetime | None, now: datetime) -> None:
    """Note that the sign-in of a credential, made now, ends then; None: that is not known."""
    messages.set_fact(_fact("begins", name), stamp(now), now)
    messages.set_fact(_fact("ends", name), "" if at is None else stamp(at), now)


def _fact(what: str, name: str) -> str:
    return f"oauth-{what}:{name}"
