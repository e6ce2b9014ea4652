"""Requests that a browser's cookies sign in, renewed by what the server sets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from backupd.download.cookies import Crumb, Jar, dump, read, reload
from backupd.download.outcome import Outcome, SessionMissing
from backupd.download.session import HOST, Kind, Secret, Validity
from backupd.download.way import Errand, request
from backupd.errors import BackupdError, CredentialError
from backupd.mail.link import Link

log = logging.getLogger("backupd.download")


class Renewed(Protocol):
    """Keeps what the server has renewed for next time, readable with the credential only."""

    def load(self, secret: str) -> str | None:
        """Return what was kept for this credential text; None where nothing is usable."""

    def keep(self, secret: str, text: str, now: datetime) -> None:
        """Replace what is kept.

        Raises:
            BackupdError: it cannot be written.
        """


class CookieWay:
    """Requests with the cookies of a credential, which `secret` gives anew for each attempt.

    What the server renews is kept by `renewed`, for the same credential text only: once a person
    replaces the credential, that counts again.
    """

    kind = Kind.COOKIES

    def __init__(self, secret: Callable[[], Secret], renewed: Renewed) -> None:
        self._secret = secret
        self._renewed = renewed

    def reaches(self, link: Link) -> bool:
        """Say whether the link lies on the one host whose cookies are kept."""
        return link.host == HOST

    def fetch(self, errand: Errand) -> Outcome:
        """Ask with the cookies as they are now; those that ended by their own word are not sent."""
        try:
            secret = self._secret().text
            jar = self._jar(secret)
        except CredentialError as error:
            return SessionMissing(error.message)
        until = jar.session_until()
        if until is not None and until <= errand.now():
            return SessionMissing(f"the cookies' session ended {until:%Y-%m-%d %H:%M} UTC")
        if not jar.headers_for(errand.link.url.reveal()):
            return SessionMissing(f"no cookie is for {errand.link.host}")
        had_session = jar.has_session()
        try:
            return request(errand, jar)
        finally:
            # A server that takes the session away leaves nothing worth keeping.
            if jar.changed and jar.has_session() == had_session:
                self._keep(secret, jar.crumbs(), errand.now())

    def validity(self, now: datetime) -> Validity:
        """Read the end of the session's own cookie, where it has one."""
        secret = self._secret()
        try:
            jar = self._jar(secret.text)
        except CredentialError as error:
            return secret.unusable(error)
        until = jar.session_until()
        return secret.validity(until, now, _described(jar, until))

    def _jar(self, secret: str) -> Jar:
        """Return the renewed cookies if there are any, else those of the credential.

        Raises:
            CredentialError: the credential holds no cookies for the host.
        """
        original = read(secret)
        return Jar(reload(self._renewed.load(secret)) or original)

    def _keep(self, secret: str, crumbs: tuple[Crumb, ...], now: datetime) -> None:
        try:
            self._renewed.keep(secret, dump(crumbs), now)
        except BackupdError as error:
            log.warning("renewed cookies cannot be kept: %s", error.message)


def _described(jar: Jar, until: datetime | None) -> str:
    number = len(jar.crumbs())
    if until is not None:
        return f"{number} cookies"
    if jar.has_session():
        return f"{number} cookies; the session's own does not say when it ends"
    return f"{number} cookies; the usual one of a session is not among them"
