"""The table of mail providers, and the page that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme

from backupd import config
from backupd.config.values import parse_web_address
from backupd.errors import UsageError
from backupd.intake.signin import mailbox_of
from backupd.oauth.exchange import client_of
from backupd.providers import OAUTH_NAMES, PROVIDERS, Provider, endpoints_of

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text("utf-8")


def row(provider: Provider) -> str:
    cells = (
        provider.title,
        f"`{provider.hosts[0]}`",
        str(provider.port),
        provider.security,
        ", ".join(provider.login),
        provider.username,
        provider.quirks,
    )
    return f"| {' | '.join(cells)} |"


def test_the_page_shows_exactly_the_table() -> None:
    rows = re.findall(r"(?m)^\| .*`.* \|$", PAGE)

    assert rows[1:] == [row(provider) for provider in PROVIDERS]


def test_every_endpoint_is_one_that_the_configuration_would_take() -> None:
    for provider in PROVIDERS:
        if provider.endpoints is not None:
            ends = provider.endpoints
            for address in filter(None, (ends.token, ends.device, ends.authorize)):
                assert parse_web_address(address) == address
            assert ends.device or ends.authorize
        assert ("oauth2" in provider.login) == (provider.endpoints is not None)


def test_names_and_hosts_are_unique() -> None:
    hosts = [host for provider in PROVIDERS for host in provider.hosts]

    assert len({provider.name for provider in PROVIDERS}) == len(PROVIDERS)
    assert len(set(hosts)) == len(hosts)


def test_a_provider_is_known_by_name_or_host() -> None:
    for name in OAUTH_NAMES:
        assert endpoints_of(name, "mail.example.org") is not None
    assert endpoints_of(None, "IMAP.gmail.com") == endpoints_of("google", "")
    assert endpoints_of(None, "imap.fastmail.com") is None


def blocks() -> list[str]:
    """The examples of the page."""
    found = re.findall(r"(?m)(?:^ {4}.*\n)+", PAGE)
    return [re.sub(r"(?m)^ {4}", "", one) for one in found if "[mailboxes." in one]


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.split("\n")[0])
def test_the_examples_are_valid(tmp_path: Path, block: str) -> None:
    pem = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(pem))
    (tmp_path / "config.toml").write_text(re.sub(r'ca_file = ".*"', f'ca_file = "{pem}"', block))

    settings = config.load(tmp_path / "config.toml", {})

    (mailbox,) = settings.mailboxes.values()
    if mailbox.auth == "oauth2" and mailbox.oauth_provider != "token":
        client = client_of(mailbox)
        assert client.token_endpoint
        assert client.device_endpoint or client.authorize_endpoint
        assert client.scope


def test_what_is_configured_goes_before_what_is_known() -> None:
    mailbox = config.MailboxSettings(
        name="x",
        host="outlook.office365.com",
        username="x",
        auth="oauth2",
        oauth_client_id="id",
        oauth_token_endpoint="https://login.example.org/tenant/token",
    )

    client = client_of(mailbox)

    assert client.token_endpoint == "https://login.example.org/tenant/token"
    assert client.device_endpoint.startswith("https://login.microsoftonline.com/common/")
    assert client.place == "login.example.org"


def test_a_credential_of_no_such_mailbox_cannot_be_signed_in_to(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[mailboxes.a]\nhost = "x"\nusername = "x"\n')
    settings = config.load(tmp_path / "config.toml", {})

    for name in ("imap-a", "imap-b"):
        with pytest.raises(UsageError, match="no mailbox with auth"):
            mailbox_of(settings, name)
