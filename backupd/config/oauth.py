"""Whether a mailbox says all that signing in by OAuth2 needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backupd.config.problems import Place, Report
from backupd.providers import OAUTH_NAMES, endpoints_of

READY_MADE = "token"
"""The `oauth_provider` of mailboxes whose credential is an access token itself."""

_NEEDS = "is missing: the host belongs to no provider whose endpoints are known"


def check_oauth(mailbox: Mapping[str, Any], place: Place, report: Report) -> None:
    """Report what is missing or too much; `mailbox` is the table as parsed."""
    keys = [key for key in mailbox if key.startswith("oauth_")]
    if mailbox.get("auth") != "oauth2":
        for key in keys:
            report.add((*place, key), 'is only used with auth = "oauth2"')
        return
    name = mailbox.get("oauth_provider")
    if name == READY_MADE:
        for key in keys:
            if key != "oauth_provider":
                report.add((*place, key), f'is not used with oauth_provider = "{READY_MADE}"')
        return
    if "oauth_client_id" not in mailbox:
        report.add(
            (*place, "oauth_client_id"),
            'is missing: auth = "oauth2" needs the client id under which you registered backupd '
            "with the provider; see docs/providers.md",
        )
    known = endpoints_of(name if isinstance(name, str) else None, str(mailbox.get("host", "")))
    if known is None and name not in OAUTH_NAMES:
        _check_own_endpoints(mailbox, place, report)


def _check_own_endpoints(mailbox: Mapping[str, Any], place: Place, report: Report) -> None:
    if "oauth_token_endpoint" not in mailbox:
        report.add(
            (*place, "oauth_token_endpoint"),
            f"{_NEEDS}; name it and the others, or set oauth_provider",
        )
    elif not {"oauth_device_endpoint", "oauth_authorize_endpoint"} & mailbox.keys():
        report.add(
            (*place, "oauth_device_endpoint"), f"{_NEEDS}; name it or oauth_authorize_endpoint"
        )
    elif "oauth_scope" not in mailbox:
        report.add((*place, "oauth_scope"), f"{_NEEDS}; name the scope that stands for IMAP")
