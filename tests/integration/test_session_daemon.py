"""The real daemon, signed in: the export comes unattended, and what signs in shows nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.exports.series import GeneratedExport
from backupd.demo.imap import DemoImap
from backupd.download.cookies import SESSION
from tests.support.https import HOSTS, Exchange, Script, Server, serve
from tests.support.sessions import (
    COOKIE,
    DENIAL,
    FAR,
    PAGE,
    cookie_file,
    cookie_row,
    jwt,
    only_with,
    rotating,
    wall,
)
from tests.support.stage import PASSWORD, Stage, exports, just_now, until


class Site:
    """A stage whose downloads come from a scripted server."""

    def __init__(self, stage: Stage, imap: DemoImap, server: Server) -> None:
        self.stage, self.imap, self.server = stage, imap, server
        self.exports = exports(2)
        for export in self.exports:
            export.write(stage.root / export.file_name)

    def sign_in_by(self, kind: str, secret: str | None) -> None:
        """Choose the session and what it signs in with."""
        here = f"127.0.0.1:{self.server.port}"
        routes = ", ".join(f'"{host}:443" = "{here}"' for host in HOSTS)
        lines = self.stage.config.read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("connect_to", "session"))]
        new = f'session = "{kind}"\nsession_credential = "session-me"\nconnect_to = {{ {routes} }}'
        self.stage.config.write_text("\n".join(kept).replace("[download]", f"[download]\n{new}"))
        if secret is not None:
            (self.stage.credentials / "session-me").write_text(secret)

    def data(self, number: int) -> bytes:
        return (self.stage.root / self.exports[number].file_name).read_bytes()

    def send(self, number: int) -> GeneratedExport:
        """Deliver the mail of an export."""
        export = self.exports[number]
        self.imap.deliver(self.stage.ready_mail(export), just_now())
        return export


@contextmanager
def opened(root: Path) -> Iterator[Site]:
    authority = Authority()
    with (
        DownloadServer(authority) as downloads,
        Server(authority.server_context(*HOSTS)) as server,
        DemoImap(authority.server_context("localhost"), "demo", PASSWORD) as imap,
    ):
        stage = Stage(root, authority, downloads)
        stage.configure(imap.port)
        stage.run("init")
        yield Site(stage, imap, server)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path) as site:
        yield site


def left_behind(site: Site, *canaries: str) -> list[str]:
    """Name every file below the stage, but the credentials, that holds a canary."""
    found = []
    for path in site.stage.root.rglob("*"):
        if path.is_file() and site.stage.credentials not in path.parents:
            raw = path.read_bytes()
            found += [f"{path.name}: {one}" for one in canaries if one.encode() in raw]
    return found


def test_cookies_fetch_two_exports_over_a_restart_and_show_nowhere(site: Site) -> None:
    """The server renews the cookie at each answer; the old one is dead by then."""
    stage, first, second = site.stage, site.data(0), site.data(1)
    site.sign_in_by("cookies", cookie_file(cookie_row()))
    script, good = rotating(first, COOKIE)
    site.server.play(script)
    with stage.daemon() as daemon:
        site.send(0)
        until(lambda: "stored" in stage.events(), 30, "the first export")
        seen = Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
        seen += Path(f"/proc/{daemon.pid}/environ").read_bytes()

    site.server.play(only_with("cookie", f"{SESSION}={good()}", serve(second)))
    with stage.daemon():
        site.send(1)
        until(lambda: stage.events().count("stored") == 2, 30, "the second export")

    assert "sign_in_needed" not in stage.events()
    assert b"canary" not in seen
    assert left_behind(site, COOKIE) == []
    status = stage.json("status")
    assert (status["state"], status["proven"]) == ("OK", 2)
    assert [(one["place"], one["state"]) for one in status["sessions"]] == [("download", "ready")]


def refusing(exchange: Exchange) -> None:
    """Answer each request with another wall."""
    walls: tuple[Script, ...] = (
        wall,
        lambda one: one.answer(200, PAGE, "Content-Type: text/html"),
        lambda one: one.answer(403, DENIAL, "Set-Cookie: a=canary-from-the-server"),
        lambda one: one.answer(302, b"", "Location: https://auth.openai.com/log-in?token=canary"),
    )
    walls[exchange.number % len(walls)](exchange)


@pytest.mark.parametrize(("kind", "secret"), [("bearer", jwt(FAR)), ("cookies", f"a={COOKIE}")])
def test_nothing_of_a_refused_session_is_written_anywhere(
    site: Site, kind: str, secret: str
) -> None:
    stage = site.stage
    site.sign_in_by(kind, secret)
    site.server.play(refusing)
    with stage.daemon():
        site.send(0)
        site.send(1)
        until(lambda: stage.events().count("sign_in_needed") == 2, 30, "both to be told of")

    assert "canary" not in stage.run("session", "test")
    # The ledger's file holds the notices, the logs what a daemon says at -vv.
    assert left_behind(site, "canary-token", "canary-cookie", "canary-from", "token=canary") == []


def test_session_test_says_what_is_there_and_ends_with_its_code(site: Site) -> None:
    stage = site.stage
    assert "[download] none: links" in stage.run("session", "test")

    site.sign_in_by("bearer", None)
    assert "no source has it" in stage.run("session", "test", code=12)

    site.sign_in_by("bearer", jwt(just_now()))
    (ended,) = json.loads(stage.run("session", "test", "--json", code=21))
    assert (ended["state"], ended["place"], ended["credential"]) == (
        "ended",
        "download",
        "session-me",
    )

    site.sign_in_by("bearer", jwt(FAR))
    shown = stage.run("session", "test")
    assert "bearer: ready, until 2099" in shown or "bearer: ready, until 2098-12-31" in shown
    assert "it is sent to chatgpt.com only" in shown
    assert site.server.requests == []
