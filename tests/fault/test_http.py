"""What servers and networks do wrong, each once from the first byte and once in a resumed file.

Every case asserts the outcome, whether another attempt is worth it, that the file is identical or
no file, that the next attempt at a healthy server ends in the identical file, that no attempt
outlasts its bounds, and that neither log nor outcome nor sidecar holds a piece of the link.
Under BACKUPD_FULL=1 once more with a token and with cookies, which show nowhere either.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from backupd.download.cookies import Jar, read
from backupd.download.fetch import Expired, Fetched, Network, Outcome, fetch
from backupd.download.session import Anonymous, Session, bearer
from backupd.mail.link import parse_link
from tests.fault.test_http_kinds import (
    ACCOUNT,
    CANARY,
    CUTS,
    KINDS,
    OK,
    PERHAPS,
    SENT,
    SIGN_IN,
    Kind,
    kind,
)
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.https import Authority, Server, authority, serve
from tests.support.https_faults import CUT, DATA
from tests.support.sessions import COOKIE, TOKEN, cookie_file, cookie_row

LONGEST_ATTEMPT = 8.0
POSITIONS = ("first", "resumed")
SIGNINGS = ("plain", "bearer", "cookies") if FULL else ("plain",)
SIGNED_OUT = ("session-refused", "wrong-account")
"""What a wall is called where the request was signed in."""
HTTP = campaign("HTTP faults")


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificates(
    trust: Authority, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ssl.SSLContext]:
    return {
        "": trust.context(),
        "expired": trust.context(expired=True),
        "other": trust.context("example.org"),
        "foreign": authority(tmp_path_factory.mktemp("foreign")).context(),
    }


@dataclass
class Bench:
    """One case's server, part and attempts."""

    server: Server
    trust: Authority
    part: Path
    signing: str

    def attempt(self, case: Kind, closed: bool = False) -> Outcome:
        """Make one attempt under the terms of the case."""
        network = Network(self.trust.ca_file, self.server.connect_to)
        if closed:
            network = Network(self.trust.ca_file, dict.fromkeys(network.connect_to, _nobody()))
        link = parse_link(case.url, SENT, SENT)
        return fetch(
            link,
            self.part,
            case.limits,
            network,
            lambda: case.now,
            threading.Event(),
            session=self.session(),
        )

    def session(self) -> Session:
        """Return what signs this case in."""
        if self.signing == "plain":
            return Anonymous()
        return bearer(TOKEN) if self.signing == "bearer" else Jar(read(cookie_file(cookie_row())))

    def healthy(self, case: Kind) -> Kind:
        """Return the terms under which nothing is wrong."""
        return kind("healthy", case.script, OK, url=case.url)


def _nobody() -> str:
    """Return an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize("signing", SIGNINGS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("case", [*KINDS, *CUTS], ids=lambda case: case.name)
def test_fault_ends_as_it_should(
    case: Kind,
    position: str,
    signing: str,
    trust: Authority,
    certificates: dict[str, ssl.SSLContext],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    outcomes: list[Outcome] = []
    place = position if signing == "plain" else f"{position} {signing}"
    with HTTP.case(case.name, place), Server(certificates[""]) as server:
        bench = Bench(server, trust, tmp_path / "delivery.part", signing)
        if position == "resumed":
            server.play(serve(DATA, etag=case.etag, until=CUT))
            outcomes.append(bench.attempt(bench.healthy(case)))
            assert bench.part.stat().st_size == CUT

        server.play(case.script)
        server.greet, server.context = case.greet, certificates[case.certificate]
        started = time.monotonic()
        outcome = bench.attempt(case, closed="closed" in case.facts)
        assert time.monotonic() - started < LONGEST_ATTEMPT
        outcomes.append(outcome)
        expected = case.first if position == "first" else case.resumed
        if expected == SIGN_IN and outcome.kind in SIGNED_OUT and signing != "plain":
            expected = outcome.kind
        _check(case, expected, outcome, bench.part)

        server.greet, server.context = None, certificates[""]
        server.play(serve(case.data))
        healed = bench.attempt(bench.healthy(case))
        outcomes.append(healed)
        assert healed == Fetched(len(case.data), hashlib.sha256(case.data).hexdigest())
        assert bench.part.read_bytes() == case.data
        _check_secrecy(outcomes, bench.part, caplog, capfd)


def _check(case: Kind, expected: str, outcome: Outcome, part: Path) -> None:
    perhaps = isinstance(outcome, Expired) and not outcome.certain
    assert (PERHAPS if perhaps else outcome.kind) == expected, outcome
    assert outcome.detail
    if "wait" in case.facts:
        wait = getattr(outcome, "retry_after", None)
        assert (None if wait is None else wait.total_seconds()) == case.facts["wait"]
    there = part.read_bytes() if part.exists() else b""
    if isinstance(outcome, Fetched):
        assert there == case.data
        assert outcome == Fetched(len(case.data), hashlib.sha256(case.data).hexdigest())
    else:
        assert DATA.startswith(there) or case.data.startswith(there)


def _check_secrecy(
    outcomes: list[Outcome],
    part: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    texts = [repr(outcome) + outcome.detail for outcome in outcomes]
    texts += [record.getMessage() + repr(record.args) for record in caplog.records]
    texts += [caplog.text, *capfd.readouterr()]
    texts += [path.name for path in part.parent.iterdir()]
    texts += [path.read_text() for path in part.parent.iterdir() if path != part]
    for text in texts:
        assert CANARY not in text
        assert TOKEN not in text
        assert COOKIE not in text
        assert ACCOUNT not in text
        assert "sig=" not in text
