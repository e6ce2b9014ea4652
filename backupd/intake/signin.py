"""A person signs in to a mailbox: the operation behind `secret set --oauth` and `secret test`.

Which way it goes is the provider's: a code to be entered anywhere where it has a device endpoint,
else the browser's return to this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from backupd.config import MailboxSettings, Settings
from backupd.credentials import Credentials
from backupd.errors import MailboxRefused, UsageError
from backupd.intake.mailkeys import Clock, access_tokens, is_signed_in, registered_client, untold
from backupd.ledger.messages import Messages
from backupd.oauth.device import Pause, Show, sign_in_by_device
from backupd.oauth.exchange import OAuthServer
from backupd.oauth.redirect import PATIENCE, sign_in_by_redirect


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever signs in: is shown lines, and may give up while `pause` waits so many seconds.

    `typed` is the descriptor of what they type; `patience` is seconds.
    """

    show: Show
    pause: Pause
    typed: int | None = None
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a sign-in gave: the refresh token, and when it ends if the provider told."""

    refresh_token: str = field(repr=False)
    ends_at: datetime | None


def mailbox_of(settings: Settings, credential: str) -> MailboxSettings:
    """Return the mailbox whose refresh token the credential of that name is.

    Raises:
        UsageError: there is none.
    """
    for mailbox in settings.mailboxes.values():
        if mailbox.credential == credential and is_signed_in(mailbox):
            return mailbox
    raise UsageError(
        f'sign in for credential "{credential[:60]}": no mailbox with auth = "oauth2" uses it',
        "see docs/providers.md for what such a mailbox needs in the configuration",
    )


def signed_in_mailbox(settings: Settings, credential: str) -> MailboxSettings | None:
    """Return the mailbox whose refresh token the credential of that name is, if there is one."""
    try:
        return mailbox_of(settings, credential)
    except UsageError:
        return None


def sign_in(
    mailbox: MailboxSettings, credentials: Credentials, person: Person, clock: Clock
) -> SignIn:
    """Let a person sign in.

    Raises:
        MailboxRefused: denied, too late, or the client is set up wrongly.
        MailboxUnreachable: the provider's server cannot be reached.
        CredentialError: the client's secret cannot be read.
    """
    client = registered_client(mailbox, credentials)
    server = OAuthServer(mailbox.ca_file, clock)
    if client.device_endpoint:
        tokens = sign_in_by_device(client, server, person.show, person.pause, clock)
    else:
        tokens = sign_in_by_redirect(client, server, person.show, person.typed, person.patience)
    if tokens.refresh is None:
        raise MailboxRefused(
            f'sign in at "{client.place}": it gave no refresh token, so this would end in an hour',
            "ask for one by the scope; for many providers that is offline_access",
        )
    return SignIn(tokens.refresh, tokens.refresh_expires_at)


def try_sign_in(
    mailbox: MailboxSettings, credentials: Credentials, messages: Messages, clock: Clock
) -> datetime | None:
    """Get an access token as the daemon would; return when it ends.

    Raises:
        MailboxRefused, MailboxUnreachable, CredentialError: that does not work; why.
    """
    tokens = access_tokens(mailbox, credentials, messages, clock, untold)
    tokens.get()
    return tokens.ends_at()
