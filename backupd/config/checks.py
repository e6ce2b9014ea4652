"""What tables must agree on, and what is allowed but likely unwanted."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backupd.config.oauth import check_oauth
from backupd.config.problems import Place, Report
from backupd.config.schema import Settings
from backupd.config.values import parse_optional_path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
_WEB = re.compile(r"https?://[^/\s]")
_LARGEST_CA_FILE = 4 * 1024 * 1024
_NO_BROWSER = (
    "\"browser\" needs a package that is not installed: pip install 'backupd[browser]' (in the "
    "environment that backupd runs in)"
)


def check(data: Mapping[str, Any], report: Report) -> None:
    """Report what is wrong between keys.

    `data` is the file as parsed, so that a mistake in one key hides no other: every type is
    possible here, and what has the wrong one has been reported already.
    """
    repository = _table(data.get("repository")).get("path")
    for name, mailbox in _table(data.get("mailboxes")).items():
        _check_mailbox(_table(mailbox), ("mailboxes", name), repository, report)
    download = _table(data.get("download"))
    _check_session(download, ("download",), report)
    _check_ca_file(download.get("ca_file"), ("download", "ca_file"), report)
    for name, account in _table(data.get("accounts")).items():
        _check_session(_table(account), ("accounts", name), report)
    _check_prefixes(_table(data.get("accounts")), report)
    _check_channels(data.get("notify"), report)
    url = _table(data.get("heartbeat")).get("url")
    if isinstance(url, str) and not _WEB.match(url):
        report.add(("heartbeat", "url"), "must be an https:// URL")


def cautions(settings: Settings) -> tuple[str, ...]:
    """Return what is allowed but leaves the daemon unable to do something a person may expect."""
    found = []
    if not settings.mailboxes:
        found.append("no mailbox is configured: exports arrive only by `backupd import`")
    found += [
        f"mailboxes.{name}.authserv_id is not set: only OpenAI's own signature can prove a mail"
        for name, mailbox in settings.mailboxes.items()
        if not mailbox.authserv_ids
    ]
    if not settings.notify:
        found.append("no [[notify]] channel: notices go to the journal and the notice log only")
    found += [
        f"{channel.id} has a password in its URL: keep this file private, or use a credential"
        for channel in settings.notify
        if channel.url is not None and _holds_password(channel.url.get_secret_value())
    ]
    if settings.heartbeat is not None:
        found.append("[heartbeat] is not used by this version")
    return tuple(found)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(value: object) -> Path | None:
    try:
        return parse_optional_path(value)
    except ValueError:
        return None


def _check_mailbox(
    mailbox: Mapping[str, Any], place: Place, repository: object, report: Report
) -> None:
    check_oauth(mailbox, place, report)
    if "/" in str(mailbox.get("host", "")):
        report.add((*place, "host"), "must be a host name, not a URL")
    _check_ca_file(mailbox.get("ca_file"), (*place, "ca_file"), report)
    folder, archive = _path(mailbox.get("drop_folder")), _path(repository)
    if folder is not None and archive is not None and folder.is_relative_to(archive):
        report.add((*place, "drop_folder"), "must not be inside the repository")


def _check_session(table: Mapping[str, Any], place: Place, report: Report) -> None:
    session = table.get("session")
    if session == "browser" and importlib.util.find_spec("playwright") is None:
        report.add((*place, "session"), _NO_BROWSER)
    if session in ("bearer", "cookies") and "session_credential" not in table:
        report.add(
            (*place, "session_credential"),
            f'is missing: session = "{session}" needs the name of a credential',
        )


def _check_prefixes(accounts: Mapping[str, Any], report: Report) -> None:
    """Report two accounts of one prefix; a longer one is a more exact one."""
    owners: dict[str, str] = {}
    for name, account in accounts.items():
        prefix = _table(account).get("prefix")
        if not isinstance(prefix, str):
            continue
        owner = owners.setdefault(prefix.lower(), name)
        if owner != name:
            report.add(("accounts", name, "prefix"), f"is the same as in [accounts.{owner}]")


def _check_ca_file(value: object, place: Place, report: Report) -> None:
    path = _path(value)
    if path is None:
        return
    try:
        with path.open("rb") as file:
            found = b"-----BEGIN CERTIFICATE-----" in file.read(_LARGEST_CA_FILE)
    except OSError as error:
        report.add(place, f"cannot be read: {str(error.strerror).lower()}")
        return
    if not found:
        report.add(place, "holds no certificate in PEM form")


def _check_channels(notify: object, report: Report) -> None:
    named: set[str] = set()
    for index, channel in enumerate(notify if isinstance(notify, list) else ()):
        place: Place = ("notify", index)
        url, credential = _table(channel).get("url"), _table(channel).get("credential")
        if (url is None) == (credential is None):
            report.add(place, "needs either `url` or `credential`, and not both")
        elif isinstance(url, str) and url and not _SCHEME.match(url):
            report.add((*place, "url"), 'must be an Apprise URL, such as "ntfys://ntfy.sh/topic"')
        if isinstance(credential, str) and credential in named:
            report.add((*place, "credential"), "is already used by another [[notify]]")
        named |= {credential} if isinstance(credential, str) else set()


def _holds_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:
        return False
