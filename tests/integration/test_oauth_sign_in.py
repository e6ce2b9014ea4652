"""A person signs in: by a code on another device, by the own browser, by a pasted address."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from backupd.config import MailboxSettings
from backupd.credentials import Credentials
from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.intake.signin import Person, SignIn, sign_in
from tests.support.token_server import SCOPE, TOKEN_MARK, TokenServer

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def running() -> Iterator[TokenServer]:
    with TokenServer() as server:
        yield server


@dataclass
class Desk:
    """Where a person sits: what was shown, and a clock that pauses move on."""

    server: TokenServer
    settings: MailboxSettings
    shown: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    now: datetime = START
    gives_up: bool = False

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)
        return self.gives_up

    def sign_in(
        self,
        show: Callable[[str], None] | None = None,
        typed: int | None = None,
        patience: float = 10,
    ) -> SignIn:
        credentials = Credentials({}, {})
        try:
            person = Person(show or self.shown.append, self.pause, typed, patience)
            return sign_in(self.settings, credentials, person, lambda: self.now)
        finally:
            credentials.close()
            if typed is not None:
                os.close(typed)


@pytest.fixture
def desk(running: TokenServer, tmp_path: Path) -> Iterator[Desk]:
    running.forms.clear()
    ca = running.write_ca(tmp_path / "ca.pem")
    settings = MailboxSettings(
        name="test", host="localhost", username="user1", ca_file=ca, **running.settings()
    )
    yield Desk(running, settings)
    running.device_script, running.script = [], []
    running.interval, running.device_lifetime, running.refresh_lifetime = 0, 60, None


@pytest.fixture
def browser_desk(desk: Desk) -> Desk:
    """A provider without device codes, as Google is one for mail."""
    update = {
        "oauth_device_endpoint": None,
        "oauth_authorize_endpoint": desk.server.url("/authorize"),
    }
    desk.settings = desk.settings.model_copy(update=update)
    return desk


def test_a_device_code_is_shown_and_waited_for_at_the_pace_of_the_server(desk: Desk) -> None:
    desk.server.interval = 3
    desk.server.device_script = ["authorization_pending", "slow_down", "authorization_pending"]
    desk.server.refresh_lifetime = 90 * 86400

    got = desk.sign_in()

    assert got.refresh_token == desk.server.made[-2]
    assert got.ends_at == desk.now + timedelta(days=90)
    assert desk.pauses == [3, 3, 8, 8]
    assert "https://example.org/enter" in desk.shown[0]
    assert "ABCD-EFGH" in desk.shown[0]
    assert TOKEN_MARK not in "".join(desk.shown)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("access_denied", "denied"),
        ("expired_token", "not entered in time"),
        ("invalid_grant", "refused: invalid_grant"),
    ],
)
def test_a_device_sign_in_that_fails_says_why(desk: Desk, code: str, words: str) -> None:
    desk.server.device_script = [code]

    with pytest.raises(MailboxRefused, match=words):
        desk.sign_in()


def test_a_device_code_that_nobody_enters_ends_by_itself(desk: Desk) -> None:
    desk.server.interval, desk.server.device_lifetime = 5, 20
    desk.server.device_script = ["authorization_pending"] * 99

    with pytest.raises(MailboxRefused, match="not entered in time"):
        desk.sign_in()

    assert desk.pauses == [5] * 4


def test_a_bad_moment_while_a_code_is_entered_does_not_end_the_waiting(desk: Desk) -> None:
    desk.server.script = [(503, {})]
    desk.server.interval = 1

    assert desk.sign_in().refresh_token

    assert desk.pauses == [1, 6]


def test_a_person_may_give_up(desk: Desk) -> None:
    desk.gives_up = True

    with pytest.raises(MailboxRefused, match="given up"):
        desk.sign_in()


class Browser:
    """Opens the address that is shown, agrees, and follows the way back."""

    def __init__(self, desk: Desk, before: Callable[[str], None] = lambda _uri: None) -> None:
        self._desk = desk
        self._before = before
        self._threads: list[threading.Thread] = []
        self.page = ""
        self.redirect_uri = ""

    def show(self, line: str) -> None:
        self._desk.shown.append(line)
        if found := re.search(r"https://\S+/authorize\?\S+", line):
            thread = threading.Thread(target=self._open, args=(found[0],))
            self._threads.append(thread)
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)

    def _open(self, address: str) -> None:
        back = self._desk.server.authorize(query_of(address))
        self.redirect_uri = back.partition("?")[0]
        self._before(self.redirect_uri)
        self.page = get(back)


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def get(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except urllib.error.HTTPError as problem:
        with problem:
            return f"{problem.code}"


def test_the_browser_comes_back_and_the_server_verifies_pkce(browser_desk: Desk) -> None:
    browser = Browser(browser_desk)

    got = browser_desk.sign_in(browser.show)
    browser.join()

    assert got.refresh_token in browser_desk.server.made
    assert "close this page" in browser.page
    asked = query_of(browser_desk.shown[0].split("\n")[1])
    assert asked["scope"] == SCOPE
    assert asked["redirect_uri"] == browser.redirect_uri
    assert urlsplit(browser.redirect_uri).hostname == "127.0.0.1"
    (form,) = browser_desk.server.grants("authorization_code")
    assert form["code_verifier"] not in "".join(browser_desk.shown)


def test_only_a_return_of_this_very_sign_in_counts(browser_desk: Desk) -> None:
    answers = []

    def others(redirect_uri: str) -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(redirect_uri).port or 0)):
            pass
        for wrong in ("?code=x", "?code=x&state=wrong", "?state=wrong&error=access_denied"):
            answers.append(get(redirect_uri + wrong))
        answers.append(get(redirect_uri + "favicon.ico"))

    browser = Browser(browser_desk, others)
    got = browser_desk.sign_in(browser.show)
    browser.join()

    assert answers == ["404"] * 4
    assert got.refresh_token
    assert len(browser_desk.server.grants("authorization_code")) == 1


def test_a_denial_in_the_browser_is_told_there_and_here(browser_desk: Desk) -> None:
    class Denier(Browser):
        def _open(self, address: str) -> None:
            query = query_of(address)
            back = urlencode({"state": query["state"], "error": "access_denied"})
            self.page = get(f"{query['redirect_uri']}?{back}")

    browser = Denier(browser_desk)
    with pytest.raises(MailboxRefused, match="refused: access_denied"):
        browser_desk.sign_in(browser.show)
    browser.join()

    assert "not granted" in browser.page


def test_a_stolen_code_is_worthless_without_the_verifier(browser_desk: Desk) -> None:
    server = browser_desk.server
    stolen: list[int] = []

    def thief(_redirect_uri: str) -> None:
        code = server.made[-1]
        form = {"client_id": "backupd-test", "grant_type": "authorization_code", "code": code}
        status, _ = server.post("/token", {**form, "code_verifier": "guess"})
        stolen.append(status)

    browser = Browser(browser_desk, thief)
    with pytest.raises(MailboxRefused, match="invalid_grant"):
        browser_desk.sign_in(browser.show)
    browser.join()

    assert stolen == [400]


def test_over_ssh_the_address_of_the_last_page_is_pasted(browser_desk: Desk) -> None:
    """The browser runs elsewhere, so nothing comes back to the listener."""
    reader, writer = os.pipe()

    def show(line: str) -> None:
        browser_desk.shown.append(line)
        if "\n" in line:
            back = browser_desk.server.authorize(query_of(line.split("\n")[1]))
            os.write(writer, f"what is this\n{back}\n".encode())

    got = browser_desk.sign_in(show, typed=reader)
    os.close(writer)

    assert got.refresh_token
    assert any("paste" in line for line in browser_desk.shown)


def test_nobody_signs_in(browser_desk: Desk) -> None:
    reader, writer = os.pipe()
    os.close(writer)

    with pytest.raises(MailboxRefused, match="nobody signed in"):
        browser_desk.sign_in(typed=reader, patience=0.4)

    address = query_of(browser_desk.shown[0].split("\n")[1])["redirect_uri"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", urlsplit(address).port or 0))


def test_a_sign_in_without_a_refresh_token_is_no_sign_in(desk: Desk) -> None:
    desk.server.script = [(200, {"access_token": "short", "expires_in": 3600})]

    with pytest.raises(MailboxRefused, match="no refresh token"):
        desk.sign_in()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"access_token": "a b", "refresh_token": "x"}),
        (200, {"access_token": 7}),
        (302, {"access_token": "x"}),
        (500, {"error": "invalid_grant"}),
    ],
)
def test_answers_that_make_no_sense_are_no_refusal(
    browser_desk: Desk, answer: tuple[int, dict[str, object]]
) -> None:
    browser_desk.server.script = [answer]
    browser = Browser(browser_desk)

    with pytest.raises(MailboxUnreachable):
        browser_desk.sign_in(browser.show)
    browser.join()


CONFIG = """
[state]
path = "{root}/state"
[mailboxes.personal]
host = "localhost"
username = "user1"
ca_file = "{ca}"
{keys}
"""


@pytest.fixture
def command(desk: Desk, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a verb with a configuration whose mailbox signs in at the server."""
    keys = "\n".join(f'{key} = "{value}"' for key, value in desk.server.settings().items())
    text = CONFIG.format(root=tmp_path, ca=tmp_path / "ca.pem", keys=keys)
    (tmp_path / "config.toml").write_text(text)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environ = {**kept, "HOME": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        config = str(tmp_path / "config.toml")
        return subprocess.run(
            [sys.executable, "-m", "backupd", "-vv", "--config", config, *arguments],
            capture_output=True,
            text=True,
            env=environ,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )

    return run


def test_the_command_signs_in_and_prints_the_credential_for_systemd(
    desk: Desk, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command("secret", "set", "imap-personal", "--oauth", "--print")

    assert done.returncode == 0, done.stderr
    assert done.stdout == desk.server.made[-2]
    assert "ABCD-EFGH" in done.stderr
    assert TOKEN_MARK not in done.stderr

    (tmp_path / "imap-personal").write_text(done.stdout)
    tried = command("secret", "test", "imap-personal")
    assert tried.returncode == 0, tried.stderr
    assert "gave access to mailbox personal" in tried.stderr

    desk.server.revoke()
    refused = command("secret", "test", "imap-personal")
    assert refused.returncode == 12
    assert "secret set" in refused.stderr
    assert TOKEN_MARK not in tried.stderr + refused.stderr


def test_nothing_of_a_sign_in_is_logged(
    browser_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = Browser(browser_desk)

    browser_desk.sign_in(browser.show)
    browser.join()

    logged = "".join(record.getMessage() for record in caplog.records)
    assert TOKEN_MARK not in logged
    assert "code_challenge" not in logged
