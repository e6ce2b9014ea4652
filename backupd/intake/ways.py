"""Which ways lead to an export, in which order, and what is made of their answers.

A link of the anonymous era is asked for plainly first; any other by the session that its account
is given, and plainly at last, for nobody knows of a link whether it needs a sign-in. One account's
session is [download]'s unless a table of [accounts] names the account by the beginning of its
export files; the longest beginning that fits is the account's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from backupd.config import Settings
from backupd.credentials import Credentials
from backupd.credentials.succession import open_successor, seal_successor
from backupd.download import fetch as download
from backupd.download.browser_reach import browser
from backupd.download.browser_way import BrowserWay
from backupd.download.cookie_way import CookieWay
from backupd.download.session import Kind, Secret
from backupd.download.way import BearerWay, Direct, Errand, Way
from backupd.ledger.messages import Messages
from backupd.mail.link import Link

log = logging.getLogger(__name__)

_TRY_ANOTHER = (
    download.SignInNeeded,
    download.SessionRefused,
    download.SessionMissing,
    download.WrongAccount,
    download.Challenged,
    download.RateLimited,
    download.Expired,
)
"""Answers that another way may get round; a certain expiry is told apart where it counts."""
_COUNTS = (
    download.Fetched,
    download.Cancelled,
    download.DiskFull,
    download.TooBig,
    download.NetworkFailed,
)
"""Answers to a later way that stand for the attempt; else the first way's answer does."""
_BY_CREDENTIAL = (Kind.BEARER, Kind.COOKIES)


@dataclass(frozen=True, slots=True)
class Choice:
    """How one account is signed in; `account` is None for what [download] says of all others.

    `profile` is the browser's, where that is what signs in.
    """

    account: str | None
    prefix: str
    kind: Kind
    credential: str | None
    profile: str = "download"

    @property
    def place(self) -> str:
        """Name the table of the configuration that decides."""
        return "download" if self.account is None else f"accounts.{self.account}"

    @property
    def signs_in(self) -> bool:
        """Say whether there is a session at all."""
        return self.kind is not Kind.DIRECT


class Ways:
    """The ways in of one configuration. Secrets are read when a way is used, never before."""

    def __init__(self, settings: Settings, credentials: Credentials, messages: Messages) -> None:
        """Prepare; `messages` is where renewed cookies are kept."""
        self._choices = choices(settings)
        self._credentials = credentials
        self._messages = messages
        self._browser = browser(settings.state.path, os.environ)

    @property
    def can_show_windows(self) -> bool:
        """Say whether a window can be opened for a person to sign in."""
        return self._browser.has_display

    def choices(self) -> tuple[Choice, ...]:
        """Return how every account is signed in."""
        return self._choices

    def choice(self, file_name: str) -> Choice:
        """Return how the account of an export file is signed in."""
        fitting = [one for one in self._choices if file_name.lower().startswith(one.prefix)]
        return max(fitting, key=lambda one: len(one.prefix))

    def to(self, link: Link) -> tuple[Way, ...]:
        """Return the ways to try, in order; never none."""
        direct = Direct()
        session = self.session(self.choice(link.file_name))
        if session is None or not session.reaches(link):
            return (direct,)
        return (session, direct) if link.signed_in else (direct, session)

    def session(self, choice: Choice) -> Way | None:
        """Return the way that signs in as chosen; None where nothing signs in."""
        if choice.kind is Kind.BROWSER:
            return self.browser(choice)
        if choice.credential is None:
            return None
        secret = partial(_secret, self._credentials, choice.credential)
        if choice.kind is Kind.BEARER:
            return BearerWay(secret)
        return CookieWay(secret, KeptCookies(self._messages, choice.credential))

    def browser(self, choice: Choice) -> BrowserWay:
        """Return the browser with the profile of an account."""
        return BrowserWay(self._browser, choice.profile)


class KeptCookies:
    """Renewed cookies in the ledger, sealed under the credential (`credentials.succession`)."""

    def __init__(self, messages: Messages, credential: str) -> None:
        self._messages = messages
        self._name = credential

    def load(self, secret: str) -> str | None:
        """Return what was kept for this credential text; None where nothing is usable."""
        return open_successor(self._name, secret, self._messages.fact(self._fact()) or "")

    def keep(self, secret: str, text: str, now: datetime) -> None:
        """Replace what is kept; durable when this returns.

        Raises:
            LedgerFailed: it cannot be written; what was kept before still is.
        """
        self._messages.set_fact(self._fact(), seal_successor(self._name, secret, text), now)

    def _fact(self) -> str:
        return f"session-successor:{self._name}"


def attempt(
    ways: Sequence[Way], errand: Errand, heard: Callable[[Way, download.Outcome], None]
) -> download.Outcome:
    """Try the ways in order until one settles it; `ways` are one or more.

    Where none does, the first way's answer stands: it is the one that should have worked. `heard`
    is told of every way's answer.
    """
    first: download.Outcome | None = None
    for way in ways:
        outcome = way.fetch(errand)
        log.info("way %s: %s: %s", way.kind, outcome.kind, outcome.detail)
        heard(way, outcome)
        if first is None or isinstance(outcome, _COUNTS) or _is_certain(outcome):
            first = outcome
        if not isinstance(outcome, _TRY_ANOTHER) or _is_certain(outcome):
            break
        if errand.cancel.is_set() or errand.now() >= errand.link.give_up_at:
            break
    if first is None:
        raise AssertionError("there is always a way to try")
    return first


def _is_certain(outcome: download.Outcome) -> bool:
    return isinstance(outcome, download.Expired) and outcome.certain


def choices(settings: Settings) -> tuple[Choice, ...]:
    """Return how every account is signed in: [download] first, then each of [accounts]."""
    usual = settings.download
    of_accounts = (
        _choice(
            name,
            account.prefix.lower(),
            account.session or usual.session,
            account.session_credential or usual.session_credential,
            # Who takes over [download]'s session takes over its profile, too.
            f"accounts.{name}" if account.session else "download",
        )
        for name, account in settings.accounts.items()
    )
    return (_choice(None, "", usual.session, usual.session_credential), *of_accounts)


def _choice(
    account: str | None,
    prefix: str,
    session: str,
    credential: str | None,
    profile: str = "download",
) -> Choice:
    kind = Kind(session)
    used = credential if kind in _BY_CREDENTIAL else None
    return Choice(account, prefix, kind, used, profile)


def _secret(credentials: Credentials, name: str) -> Secret:
    found = credentials.find(name)
    return Secret(found.value, renewed=found.printed)
