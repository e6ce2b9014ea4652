"""Access tokens of one mailbox, in memory, refreshed before they end.

A refresh token may be exchanged at each use (*rotated*), and then the old one is dead: the new one
is handed to `RefreshTokens.rotated` before its access token is used. If the provider refuses, the
refresh token is read again: another process may have rotated it meanwhile. Only then is the refusal
final; who asks again without a change asks the provider once more, so the caller must not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from backupd.oauth.messages import (
    Client,
    Form,
    SignInRefused,
    SignInUnreachable,
    Tokens,
    refresh_form,
)

AHEAD = timedelta(minutes=5)
"""A token is refreshed so long before its end, or when three quarters of its life are over."""
FRESH = timedelta(seconds=60)
"""A token that is refused so soon after it was made will not be better the next time."""

Exchange = Callable[[Client, Form], Tokens]


class RefreshTokens(Protocol):
    """Where the refresh token is kept."""

    def current(self) -> str:
        """Return the newest one."""

    def rotated(self, successor: str) -> None:
        """Keep the one that has replaced the `current` one; durable when this returns."""

    def ends(self, at: datetime | None) -> None:
        """Take note of when the newest one will end, or that the server does not tell."""


class AccessTokens:
    """Thread-safe; `get` and `renew` may ask the provider, which takes half a minute at most."""

    def __init__(
        self,
        client: Callable[[], Client],
        kept: RefreshTokens,
        exchange: Exchange,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._kept = kept
        self._exchange = exchange
        self._clock = clock
        self._tokens: Tokens | None = None
        self._lock = threading.Lock()
        self._closed = False

    def get(self) -> str:
        """Return an access token that is good for a while.

        Raises:
            SignInRefused: a person must sign in again, or the client is set up wrongly.
            SignInUnreachable: no token now; the one in memory has ended.
            CredentialError: there is no refresh token, or it cannot be read.
        """
        with self._lock:
            known, now = self._tokens, self._clock()
            if known is not None and now < _due(known):
                return known.access
            try:
                return self._refreshed()
            except SignInUnreachable:
                if known is None or not known.begins_at <= now < known.expires_at:
                    raise
                return known.access

    def renew(self, refused: str) -> str | None:
        """Return another token in place of one that the mail server refused, if there can be one.

        Raises:
            SignInRefused, SignInUnreachable, CredentialError: as `get`.
        """
        with self._lock:
            known, now = self._tokens, self._clock()
            if known is None or known.access != refused or abs(now - known.begins_at) < FRESH:
                return None
            self._tokens = None
            return self._refreshed()

    def close(self, patience: float) -> None:
        """Begin no more refreshes; wait so many seconds for one that is under way.

        Its answer may hold the only refresh token that is still good.
        """
        self._closed = True
        if self._lock.acquire(timeout=patience):
            self._lock.release()

    def ends_at(self) -> datetime | None:
        """Return when the access token in memory ends, if there is one."""
        with self._lock:
            return None if self._tokens is None else self._tokens.expires_at

    def _refreshed(self) -> str:
        if self._closed:
            raise SignInUnreachable("refresh a sign-in: the program ends")
        used = self._kept.current()
        client = self._client()
        try:
            tokens = self._exchange(client, refresh_form(client, used))
        except SignInRefused:
            newer = self._kept.current()
            if newer == used:
                self._tokens = None
                raise
            used = newer
            tokens = self._exchange(client, refresh_form(client, used))
        if tokens.refresh is not None and tokens.refresh != used:
            self._kept.rotated(tokens.refresh)
        self._kept.ends(tokens.refresh_expires_at)
        self._tokens = tokens
        return tokens.access


def _due(tokens: Tokens) -> datetime:
    life = tokens.expires_at - tokens.begins_at
    return tokens.expires_at - min(AHEAD, life / 4)
