"""Log in on an encrypted connection, by password or access token.

OAuth2 has two forms: OAUTHBEARER, the standard one, is used where the server offers it, else
XOAUTH2, which Google and Microsoft made before. The server's refusal of a token comes as a
challenge (RFC 7628 §3.2.2) before the status line; only the latter is quoted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, LoginError

from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.mail.answers import FOREIGN, cause, is_broken, is_passing, quoted
from backupd.mail.message import safe

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOGIN_HINT = "set the credential again, then reload; many providers want an app password"
_OAUTH_HINT = (
    "sign in again with `backupd secret set NAME --oauth`, with the account of the mailbox, then "
    "reload; see that the account allows IMAP"
)


class ServerSettings(Protocol):
    """What must be known of a mailbox to log in; `config.MailboxSettings` satisfies it."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def security(self) -> str: ...
    @property
    def ca_file(self) -> Path | None: ...
    @property
    def username(self) -> str: ...
    @property
    def auth(self) -> str: ...
    @property
    def folders(self) -> tuple[str, ...] | None: ...
    @property
    def connect_timeout(self) -> float: ...
    @property
    def read_timeout(self) -> float: ...


def check_login(settings: ServerSettings, secret: str) -> None:
    """Refuse, before anything is sent, what cannot or must not be used.

    Raises:
        MailboxRefused: clear text was asked for, or user name or secret cannot be sent.
    """
    if settings.security not in ("tls", "starttls"):
        raise MailboxRefused(
            f'log in to "{safe(settings.host, 80)}": a password is never sent in clear text',
            'set security to "tls" or "starttls"',
        )
    if not secret or _CONTROL.search(settings.username) or _CONTROL.search(secret):
        what = "token" if settings.auth == "oauth2" else "password"
        raise MailboxRefused(
            f'log in to "{safe(settings.host, 80)}": the {what} is empty, or it or the user name'
            " holds a line break or control character",
            "set the credential again",
        )


def log_in(client: IMAPClient, settings: ServerSettings, secret: str) -> None:
    """Log in on a connection that is encrypted already.

    Raises:
        MailboxRefused: the server refused, or cannot do what the settings want.
        MailboxUnreachable: the connection broke, or the server has a bad moment.
    """
    what = f'log in to "{safe(settings.host, 80)}" as "{safe(settings.username, 80)}"'
    try:
        if settings.auth == "oauth2":
            _by_token(client, settings.username, secret, what)
        elif client.has_capability("AUTH=PLAIN"):
            client.plain_login(settings.username, secret)
        else:
            client.login(settings.username, secret)
    except LoginError as problem:
        # The library wraps everything into LoginError, a connection that broke as well.
        broke = isinstance(problem.__context__, IMAPClientAbortError) or is_broken(problem)
        answer = quoted(problem).replace(secret, "…")
        if broke or is_passing(answer):
            reason = "the connection broke" if broke else answer
            raise MailboxUnreachable(f"{what}: {reason}") from None
        hint = _OAUTH_HINT if settings.auth == "oauth2" else _LOGIN_HINT
        raise MailboxRefused(f"{what}: refused: {answer}", hint) from None
    except UnicodeError:
        raise MailboxRefused(
            f"{what}: the server takes only ASCII passwords", "choose an ASCII password"
        ) from None
    except FOREIGN as problem:
        raise MailboxUnreachable(f"{what}: {cause(problem)}") from None


def _by_token(client: IMAPClient, username: str, token: str, what: str) -> None:
    if client.has_capability("AUTH=OAUTHBEARER"):
        client.oauthbearer_login(username, token)
    elif client.has_capability("AUTH=XOAUTH2"):
        client.oauth2_login(username, token)
    else:
        raise MailboxRefused(
            f"{what}: the server offers neither OAUTHBEARER nor XOAUTH2",
            'set auth to "password", or see what the provider says of OAuth2 and IMAP',
        )
