"""Downloads by the system's Chromium from a TLS server on loopback that signs in by a cookie."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download import fetch as download
from backupd.download.browser_reach import Browser
from backupd.download.browser_way import BrowserWay
from backupd.download.fetch import Limits, Network
from backupd.download.session import Condition
from backupd.download.way import Errand
from backupd.errors import CredentialError
from backupd.mail.link import parse_link
from tests.support import FULL, needs, unavailable
from tests.support.browser_site import HTML, browser, crumb, expired, interstitial, signed_in, site
from tests.support.https import HOSTS, Authority, Exchange, Server, authority, sample, serve
from tests.support.sessions import COOKIE, DENIAL, FAR

NAME = "0" * 64 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
SIGNATURE = "ab" * 32
URL = f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&p=de&sig={SIGNATURE}&v=0"
ELSEWHERE = "evil.example"
SENT = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
NOW = SENT + timedelta(minutes=1)
DATA = sample()
Errands = Callable[..., Errand]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    needs("chromium", "certutil")
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(trust: Authority) -> Iterator[Server]:
    with Server(trust.context(*HOSTS, ELSEWHERE)) as server:
        yield server


@pytest.fixture
def errand(server: Server, trust: Authority, tmp_path: Path) -> Errands:
    # A host that is not on the list leads here, too: it is the rules that keep from asking it.
    routes = {**server.connect_to, f"{ELSEWHERE}:443": f"127.0.0.1:{server.port}"}

    def make(now: datetime = NOW, limits: Limits | None = None) -> Errand:
        return Errand(
            link=parse_link(URL, SENT, SENT),
            part=tmp_path / "delivery.part",
            limits=limits or Limits(reserve=1),
            network=Network(trust.ca_file, routes),
            now=lambda: now,
            cancel=threading.Event(),
            progress=lambda _done, _total: None,
        )

    return make


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory whose profile was signed in by import."""
    needs("chromium")
    state = tmp_path_factory.mktemp("signed")
    known = BrowserWay(browser(state), "download").keep((crumb(),), datetime.now(UTC))
    assert known.has_session
    return state


def way(state: Path) -> BrowserWay:
    return BrowserWay(browser(state), "download")


def test_export_comes_past_an_interstitial_page(
    server: Server,
    errand: Errands,
    signed: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(site(DATA, signed_in, interstitial))
    (tmp_path / "delivery.part").write_bytes(b"left by another way")

    outcome = way(signed).fetch(errand())

    assert outcome == download.Fetched(len(DATA), hashlib.sha256(DATA).hexdigest())
    assert (tmp_path / "delivery.part").read_bytes() == DATA
    assert {request.server_name for request in server.requests} == {"chatgpt.com"}
    validity = way(signed).validity(NOW)
    assert validity.condition is Condition.READY
    assert validity.until == FAR or (validity.until and validity.until > datetime.now(UTC))
    assert leaks(signed) == []
    assert SIGNATURE not in caplog.text
    assert COOKIE not in caplog.text
    assert [path.name for path in (signed / "browser").iterdir()] == ["download"]
    assert way(signed).fetch(errand()) == outcome  # found without asking anybody


def leaks(state: Path) -> list[Path]:
    """Files below the state directory that hold the link's signature."""
    files = (path for path in state.rglob("*") if path.is_file())
    return [path for path in files if SIGNATURE.encode() in path.read_bytes()]


def test_stop_is_heeded_at_once_and_nothing_is_left_running(
    server: Server, errand: Errands, signed: Path
) -> None:
    asked, job = threading.Event(), errand()

    def stalling(exchange: Exchange) -> None:
        asked.set()
        exchange.stall()

    server.play(stalling)
    ended: list[download.Outcome] = []
    thread = threading.Thread(target=lambda: ended.append(way(signed).fetch(job)))
    thread.start()
    assert asked.wait(30)
    seen = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    began = time.monotonic()
    job.cancel.set()
    thread.join(10)

    assert [outcome.kind for outcome in ended] == ["cancelled"]
    assert time.monotonic() - began < 2.5
    assert str(signed) in seen  # the worker
    assert SIGNATURE not in seen
    assert COOKIE not in seen
    assert working(signed) == []


def answering(status: int, body: bytes, *fields: str) -> Callable[[Exchange], bool]:
    def door(exchange: Exchange) -> bool:
        exchange.answer(status, body, *fields)
        return True

    return door


def leading(target: str) -> Callable[[Exchange], bool]:
    return answering(302, b"", f"Location: {target}")


def cut(exchange: Exchange) -> bool:
    serve(DATA, until=len(DATA) // 2)(exchange)
    return True


ANSWERS = {
    "login redirect": (
        answering(302, b"", "Location: https://auth.openai.com/x"),
        "session-refused",
    ),
    "elsewhere": (leading("https://evil.example/x"), "link-refused"),
    "ended": (expired, "session-refused"),
    "other account": (answering(403, DENIAL, "Content-Type: application/json"), "wrong-account"),
    "rate limit": (answering(429, DENIAL, "Retry-After: 7"), "rate-limited"),
    "page": (answering(200, b"<!doctype html><html>", HTML), "session-refused"),
    "no zip": (answering(200, b"no", "Content-Type: application/zip"), "not-a-zip"),
    "no end": (answering(200, DATA[:70000], "Content-Type: application/zip"), "not-a-zip"),
    "cut": (cut, "network-failed"),
    "challenge without end": (
        answering(403, b"<html>one moment</html>", HTML, "cf-mitigated: challenge"),
        "challenged",
    ),
}
TRIED = ANSWERS if FULL else ("login redirect",)  # each is another start of Chromium


@pytest.mark.parametrize("name", TRIED)
def test_answers_are_told_apart(
    server: Server, errand: Errands, signed: Path, tmp_path: Path, name: str
) -> None:
    door, kind = ANSWERS[name]
    server.play(site(DATA, signed_in, door))

    outcome = way(signed).fetch(errand())

    assert outcome.kind == kind
    assert not (tmp_path / "delivery.part").exists()
    hosts = {request.server_name for request in server.requests}
    assert hosts <= {"chatgpt.com"}


def wall_after_the_deadline(server: Server, errand: Errands, signed: Path, _fresh: Path) -> None:
    server.play(site(DATA, expired))
    late = parse_link(URL, SENT, SENT).deadline + timedelta(minutes=1)

    assert way(signed).fetch(errand(now=late)).kind == "expired"


def file_over_the_limit(server: Server, errand: Errands, signed: Path, _fresh: Path) -> None:
    server.play(site(DATA))

    outcome = way(signed).fetch(errand(limits=Limits(max_size=1000, reserve=1)))

    assert outcome == download.TooBig(1000)


def hung_browser_is_killed(server: Server, errand: Errands, signed: Path, _fresh: Path) -> None:
    moment, job = [NOW], errand()
    stopped: list[int] = []

    def hang(exchange: Exchange) -> None:
        stopped.extend(working(signed))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        moment[0] = job.link.give_up_at
        exchange.stall()

    server.play(hang)
    job = Errand(
        job.link, job.part, job.limits, job.network, lambda: moment[0], job.cancel, job.progress
    )

    assert way(signed).fetch(job).kind == "expired"
    assert len(stopped) > 0
    assert working(signed) == []


def working(state: Path) -> list[int]:
    """The processes that work with the profile of a state directory."""
    home = os.fsencode(state / "browser" / "download")
    work = f"/backupd-{hashlib.sha256(home).hexdigest()[:8]}-"
    marks = (os.fsencode(state), work.encode())
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if any(mark in path.read_bytes() for mark in marks):
                found.append(int(path.parent.name))
    return found


def test_nobody_signed_in_is_said_and_nothing_is_asked(
    server: Server, errand: Errands, tmp_path: Path
) -> None:
    outcome = way(tmp_path).fetch(errand())

    assert outcome == download.SessionMissing("nobody has signed in to the browser's profile yet")
    assert server.requests == []
    validity = way(tmp_path).validity(NOW)
    assert validity.condition is Condition.UNUSABLE
    assert "session login" in validity.hint


def ended_sign_in_is_known_without_a_request(
    server: Server, errand: Errands, _signed: Path, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    soon = int((now + timedelta(seconds=6)).timestamp())
    way(tmp_path).keep((crumb(expires=soon),), now)
    while datetime.now(UTC).timestamp() <= soon:
        time.sleep(0.2)

    job = errand()
    late = Errand(
        job.link, job.part, job.limits, job.network, lambda: NOW, job.cancel, job.progress
    )
    assert isinstance(way(tmp_path).fetch(late), download.SessionMissing)
    assert way(tmp_path).validity(datetime.now(UTC)).condition is Condition.ENDED
    assert server.requests == []


def person_signs_in_in_a_window(
    server: Server, errand: Errands, _signed: Path, tmp_path: Path
) -> None:
    needs("Xvfb")
    server.play(site(DATA, signed_in))
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-nolisten", "tcp", "-screen", "0", "800x600x24"]
    with (
        subprocess.Popen(command, pass_fds=(theirs,), stderr=subprocess.DEVNULL) as screen,
        open(ours) as told,
    ):
        os.close(theirs)
        place = browser(tmp_path)
        number = told.readline().strip()
        seen = Browser(place.state, {**place.environ, "DISPLAY": f":{number}"})
        known = BrowserWay(seen, "download").sign_in(errand().network, datetime.now(UTC))
        screen.terminate()

    assert known.has_session
    assert isinstance(way(tmp_path).fetch(errand()), download.Fetched)


def test_no_display_is_said(tmp_path: Path, errand: Errands) -> None:
    place = browser(tmp_path)
    hidden = {name: value for name, value in place.environ.items() if "DISPLAY" not in name}

    with pytest.raises(CredentialError) as caught:
        BrowserWay(Browser(place.state, hidden), "download").sign_in(errand().network, NOW)

    assert "no display" in caught.value.message
    assert "--cookies" in caught.value.hint


SCENES = {
    "window": person_signs_in_in_a_window,
    "wall after the deadline": wall_after_the_deadline,
    "file over the limit": file_over_the_limit,
    "hung browser": hung_browser_is_killed,
    "ended sign-in": ended_sign_in_is_known_without_a_request,
}


@pytest.mark.parametrize("name", SCENES if FULL else ("file over the limit",))
def test_end_of_a_download(
    server: Server, errand: Errands, signed: Path, tmp_path: Path, name: str
) -> None:
    SCENES[name](server, errand, signed, tmp_path)


def test_root_gets_no_browser_without_a_sandbox(signed: Path, errand: Errands) -> None:
    if os.geteuid() != 0:
        unavailable("run as root: for anybody else the sandbox may work")
    place = browser(signed)
    plain = {key: value for key, value in place.environ.items() if not key.startswith("BACKUPD_")}

    outcome = BrowserWay(Browser(place.state, plain), "download").fetch(errand())

    assert outcome == download.SessionMissing("Chromium's sandbox cannot work here")


def test_missing_chromium_is_said(signed: Path, errand: Errands) -> None:
    none = browser(signed)
    bare = type(none)(none.state, {**none.environ, "PATH": "/nowhere"})

    outcome = BrowserWay(bare, "download").fetch(errand())

    assert outcome == download.SessionMissing("Chromium is not installed")
    with pytest.raises(CredentialError) as caught:
        BrowserWay(bare, "download").keep((crumb(),), NOW)
    assert "apt-get install chromium" in caught.value.hint
