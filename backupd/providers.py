"""What is known of mail providers: where their servers are and how one signs in. Pure data.

Only facts that a provider's own pages, or a tested library's issues, support; `docs/providers.md`
shows the table and a test compares the two. A provider without `endpoints` is reached by a
password or an app password.

Sources, looked at on 2026-11-23: Google "OAuth 2.0 for Desktop Apps"; Microsoft "Authenticate an
IMAP, POP or SMTP connection using OAuth", "OAuth 2.0 device authorization grant" and "POP, IMAP and
SMTP settings for Outlook.com"; Fastmail "Server names and ports"; mailbox.org "E-mail
configuration"; for iCloud, Yahoo, GMX, WEB.DE, Posteo and the Proton Bridge the provider data base
of Delta Chat and the settings that other mail programs publish.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a provider's OAuth server answers; an empty text means that it has none.

    `extra` is added to the address that a person opens; `scope` is what backupd asks for.
    """

    token: str
    device: str
    authorize: str
    scope: str
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: its IMAP server, how to sign in, and what backupd does about its ways.

    The first of `hosts` is the one to use; `login` is "app password", "password" or "oauth2", the
    best one first.
    """

    name: str
    title: str
    hosts: tuple[str, ...]
    login: tuple[str, ...]
    username: str
    quirks: str
    port: int = 993
    security: str = "tls"
    endpoints: Endpoints | None = None


GOOGLE = Endpoints(
    "https://oauth2.googleapis.com/token",
    "",  # Google's device flow does not know the scope for mail
    "https://accounts.google.com/o/oauth2/v2/auth",
    "https://mail.google.com/",
    extra=(("access_type", "offline"), ("prompt", "consent")),
)
MICROSOFT = Endpoints(
    "https://login.microsoftonline.com/common/oauth2/v2.0/token",
    "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
    "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
)

PROVIDERS = (
    Provider(
        name="google",
        title="Gmail, Google Workspace",
        hosts=("imap.gmail.com", "imap.googlemail.com"),
        login=("app password", "oauth2"),
        username="whole address",
        quirks="the all-mail folder is found by its use (`\\All`), whatever its name",
        endpoints=GOOGLE,
    ),
    Provider(
        name="microsoft",
        title="Outlook.com, Microsoft 365",
        hosts=("outlook.office365.com", "imap-mail.outlook.com"),
        login=("oauth2",),
        username="whole address",
        quirks="takes no passwords; IMAP may have to be allowed first; searches are plain ASCII; "
        "IDLE is renewed every nine minutes and not relied on",
        endpoints=MICROSOFT,
    ),
    Provider(
        name="icloud",
        title="iCloud Mail",
        hosts=("imap.mail.me.com",),
        login=("app password",),
        username="the part before the @; if refused, the whole address",
        quirks="bodies are asked for in the one form that it answers",
    ),
    Provider(
        name="yahoo",
        title="Yahoo Mail",
        hosts=("imap.mail.yahoo.com",),
        login=("app password",),
        username="whole address",
        quirks="searches name no character set and are narrow; IDLE is not relied on",
    ),
    Provider(
        name="fastmail",
        title="Fastmail",
        hosts=("imap.fastmail.com",),
        login=("app password",),
        username="whole address",
        quirks="none known",
    ),
    Provider(
        name="gmx",
        title="GMX",
        hosts=("imap.gmx.net", "imap.gmx.com"),
        login=("password", "app password"),
        username="whole address",
        quirks="IMAP must be allowed in the settings first",
    ),
    Provider(
        name="webde",
        title="WEB.DE",
        hosts=("imap.web.de",),
        login=("password",),
        username="the part before the @; if refused, the whole address",
        quirks="IMAP must be allowed in the settings first; its folder for unknown senders is no "
        "junk folder: name it in `folders`",
    ),
    Provider(
        name="posteo",
        title="Posteo",
        hosts=("posteo.de",),
        login=("app password",),
        username="whole address",
        quirks="none known",
    ),
    Provider(
        name="mailbox.org",
        title="mailbox.org",
        hosts=("imap.mailbox.org",),
        login=("password", "app password"),
        username="whole address",
        quirks="with two-factor login only an application password works",
    ),
    Provider(
        name="proton",
        title="Proton Mail, by its Bridge",
        hosts=("127.0.0.1",),
        login=("password",),
        username="as the Bridge shows it",
        quirks="own certificate: `ca_file`; may be down or locked after a start: tried again",
        port=1143,
        security="starttls",
    ),
)
"""Every provider, in the order of the documentation."""

OAUTH_NAMES = tuple(provider.name for provider in PROVIDERS if provider.endpoints is not None)
"""The providers whose OAuth endpoints are known."""


def endpoints_of(name: str | None, host: str) -> Endpoints | None:
    """Return the OAuth endpoints of the provider called `name`, else of the one at `host`."""
    for provider in PROVIDERS:
        chosen = provider.name == name if name else host.lower() in provider.hosts
        if chosen and provider.endpoints is not None:
            return provider.endpoints
    return None
