"""A person signs in to the browser's own profile: in a window, or by a file of cookies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from backupd.config import Settings
from backupd.download.browser_talk import Known
from backupd.download.cookies import read
from backupd.download.session import Kind
from backupd.download.terms import Network
from backupd.errors import CredentialError, UsageError
from backupd.intake.ways import Choice, Ways


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the profile holds now; `until` is aware UTC, None if unknown."""

    place: str
    cookies: int
    until: datetime | None


def account_of(ways: Ways, account: str | None) -> Choice:
    """Return how an account is signed in; None stands for what [download] says.

    Raises:
        UsageError: there is no such account, or no browser signs it in.
    """
    found = next((choice for choice in ways.choices() if choice.account == account), None)
    if found is None:
        raise UsageError(
            f"sign in: no table [accounts.{account}] in the configuration",
            "`backupd session test` lists the accounts",
        )
    if found.kind is not Kind.BROWSER:
        raise UsageError(
            f'sign in: [{found.place}] has session = "{found.kind}", which needs no sign-in here',
            'set session = "browser", or see docs/signed-in.md for the others',
        )
    return found


def by_cookies(ways: Ways, choice: Choice, text: str, now: datetime) -> SignedIn:
    """Put the cookies of a cookies.txt, or of lines `name=value`, into the profile.

    Raises:
        CredentialError: nothing in it is for the host, or the browser cannot be used.
    """
    return _result(choice, ways.browser(choice).keep(read(text), now))


def by_window(ways: Ways, choice: Choice, settings: Settings, now: datetime) -> SignedIn:
    """Open a window and wait until the person has signed in.

    Raises:
        UsageError: there is no display.
        CredentialError: the window was closed before that, or the browser cannot be used.
    """
    if not ways.can_show_windows:
        raise UsageError(
            "sign in: no window can be opened here",
            "sign in with a browser elsewhere, export its cookies of chatgpt.com to a file, and"
            " run `backupd session login --cookies FILE`",
        )
    network = Network(settings.download.ca_file, settings.download.connect_to)
    return _result(choice, ways.browser(choice).sign_in(network, now))


def _result(choice: Choice, known: Known) -> SignedIn:
    if not known.has_session:
        raise CredentialError(
            "sign in: there is no session of ChatGPT in the browser's profile",
            "sign in completely before the window closes, or give all cookies of chatgpt.com",
        )
    until = None if known.until is None else datetime.fromtimestamp(known.until, UTC)
    return SignedIn(choice.place, known.cookies, until)
