"""Which session an account is given, and which ways lead to a link, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backupd.config import Settings, load
from backupd.credentials import Credentials
from backupd.download.session import Kind
from backupd.intake.ways import KeptCookies, Ways
from backupd.ledger.db import open_database
from backupd.ledger.messages import Messages
from backupd.mail.link import parse_link

NOW = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
FILE = "5f3a9c0d" * 8 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
ESTUARY = f"https://chatgpt.com/backend-api/estuary/content?id={FILE}&p=de&sig={'ab' * 32}"
AZURE = (
    "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/"
    f"{FILE}?se=2026-09-08T10%3A00%3A00Z&sig=ab%2Bcd%3D"
)


@pytest.fixture
def messages(tmp_path: Path) -> Iterator[Messages]:
    database = open_database(tmp_path / "ledger.sqlite")
    yield Messages(database)
    database.close()


@pytest.fixture
def credentials() -> Iterator[Credentials]:
    made = Credentials({}, {})
    yield made
    made.close()


def settings(directory: Path, text: str) -> Settings:
    config = directory / "config.toml"
    config.write_text(f'[state]\npath = "{directory}/state"\n{text}')
    return load(config)


COOKIES = '[download]\nsession = "cookies"\nsession_credential = "usual"\n'


@pytest.mark.parametrize(
    ("text", "kind", "credential"),
    [
        ("", "none", None),
        ('[download]\nsession_credential = "usual"\n', "none", None),
        (COOKIES, "cookies", "usual"),
        (COOKIES + '[accounts.a]\nprefix = "ffff"\nsession = "none"\n', "cookies", "usual"),
        (COOKIES + '[accounts.a]\nprefix = "5F3A9C"\nsession = "none"\n', "none", None),
        (COOKIES + '[accounts.a]\nprefix = "5f3a9c"\nsession_credential = "a"\n', "cookies", "a"),
        (COOKIES + '[accounts.a]\nprefix = "5f3a9c"\n', "cookies", "usual"),
        (
            '[accounts.a]\nprefix = "5f3a9c0d5"\nsession = "bearer"\nsession_credential = "a"\n'
            '[accounts.b]\nprefix = "5f3a"\nsession = "cookies"\nsession_credential = "b"\n',
            "bearer",
            "a",
        ),
    ],
)
def test_longest_prefix_that_fits_decides_and_leaves_the_rest_to_download(
    tmp_path: Path,
    credentials: Credentials,
    messages: Messages,
    text: str,
    kind: str,
    credential: str | None,
) -> None:
    choice = Ways(settings(tmp_path, text), credentials, messages).choice(FILE)

    assert (choice.kind, choice.credential) == (kind, credential)


@pytest.mark.parametrize("session", ["bearer", "cookies"])
@pytest.mark.parametrize(
    ("url", "signed_in"),
    [(ESTUARY, True), (AZURE, False)],
)
def test_session_comes_first_unless_the_link_needs_none(
    tmp_path: Path,
    credentials: Credentials,
    messages: Messages,
    session: str,
    url: str,
    signed_in: bool,
) -> None:
    text = COOKIES.replace("cookies", session)
    ways = Ways(settings(tmp_path, text), credentials, messages).to(parse_link(url, NOW, NOW))

    assert [way.kind for way in ways] == (
        [Kind(session), Kind.DIRECT] if signed_in else [Kind.DIRECT]
    )


def test_without_a_session_every_link_is_asked_for_plainly(
    tmp_path: Path, credentials: Credentials, messages: Messages
) -> None:
    for url in (ESTUARY, AZURE):
        ways = Ways(settings(tmp_path, ""), credentials, messages).to(parse_link(url, NOW, NOW))
        assert [way.kind for way in ways] == [Kind.DIRECT]


def test_renewed_cookies_come_back_with_the_same_credential_only(messages: Messages) -> None:
    place = KeptCookies(messages, "session-personal")
    assert place.load("old credential") is None

    place.keep("old credential", "renewed", NOW)

    assert place.load("old credential") == "renewed"
    assert place.load("new credential") is None
    assert KeptCookies(messages, "session-work").load("old credential") is None


def test_ledger_shows_nothing_of_renewed_cookies(tmp_path: Path, messages: Messages) -> None:
    KeptCookies(messages, "session-personal").keep("credential", "renewed-canary", NOW)

    files = [path.read_bytes() for path in tmp_path.glob("ledger.sqlite*")]
    assert files and not any(b"canary" in raw for raw in files)
