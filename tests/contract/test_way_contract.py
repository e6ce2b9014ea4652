"""What the pipeline relies on, of every way in: the rules of `backupd/download/way.py`."""

from __future__ import annotations

import hashlib
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download import fetch as download
from backupd.download.browser_way import BrowserWay
from backupd.download.cookie_way import CookieWay
from backupd.download.fetch import Limits, Network
from backupd.download.session import Condition, Secret
from backupd.download.way import BearerWay, Direct, Errand, Way
from backupd.errors import CredentialError
from backupd.mail.link import parse_link
from tests.support import FULL
from tests.support.browser_site import browser, crumb
from tests.support.https import Authority, Exchange, Server, authority, sample, serve
from tests.support.sessions import TOKEN, Pocket, cookie_file, cookie_row, wall

NAME = "0" * 64 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
URL = f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&p=de&sig={'ab' * 32}&v=0"
SENT = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
DATA = sample()
Make = Callable[[str], Way]

WAYS: dict[str, tuple[Make, str]] = {
    "direct": (lambda _secret: Direct(), ""),
    "bearer": (lambda secret: BearerWay(lambda: Secret(secret)), TOKEN),
    "cookies": (
        lambda secret: CookieWay(lambda: Secret(secret), Pocket()),
        cookie_file(cookie_row()),
    ),
}


PROFILES: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def profiles(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where browser profiles are: one that is signed in, and one that never is."""
    PROFILES[:] = [tmp_path_factory.mktemp("signed"), tmp_path_factory.mktemp("empty")]


def with_browser(secret: str) -> Way:
    """The browser, its profile signed in unless the secret is none."""
    way = BrowserWay(browser(PROFILES["\x01" in secret]), "download")
    if "\x01" not in secret and not way.known().has_session:
        way.keep((crumb(),), SENT)
    return way


if FULL:  # each of its cases is one or two starts of Chromium
    WAYS["browser"] = (with_browser, "signed in")
CONTINUED = [name for name in WAYS if name != "browser"]
"""Ways that keep what came before a cut."""
SIGNING = [name for name in WAYS if name != "direct"]
every_way = pytest.mark.parametrize("name", WAYS)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(trust: Authority) -> Iterator[Server]:
    with Server(trust.context()) as server:
        yield server


@pytest.fixture
def errand(server: Server, trust: Authority, tmp_path: Path) -> Callable[..., Errand]:
    def make(now: datetime = SENT, progress: list[int] | None = None) -> Errand:
        heard = progress if progress is not None else []
        return Errand(
            link=parse_link(URL, SENT, SENT),
            part=tmp_path / "delivery.part",
            limits=Limits(connect_timeout=10, read_timeout=10, reserve=1),
            network=Network(trust.ca_file, server.connect_to),
            now=lambda: now,
            cancel=threading.Event(),
            progress=lambda done, _total: heard.append(done),
        )

    return make


def usable(name: str) -> Way:
    make, secret = WAYS[name]
    return make(secret)


@every_way
def test_fetched_file_is_whole_private_and_named_by_its_hash(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, name: str
) -> None:
    heard: list[int] = []
    server.play(serve(DATA))

    outcome = usable(name).fetch(errand(progress=heard))

    part = tmp_path / "delivery.part"
    assert outcome == download.Fetched(len(DATA), hashlib.sha256(DATA).hexdigest())
    assert part.read_bytes() == DATA
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert heard[-1] == len(DATA)


@every_way
def test_every_end_is_an_outcome(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, name: str
) -> None:
    way = usable(name)
    for script in (wall, Exchange.close, Exchange.reset, lambda one: one.answer(200, b"no")):
        server.play(script)
        assert not isinstance(way.fetch(errand()), download.Fetched)


@every_way
def test_stop_is_heeded_within_a_second(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, name: str
) -> None:
    asked, stopped = threading.Event(), errand()

    def stalling(exchange: Exchange) -> None:
        asked.set()
        exchange.stall()

    server.play(stalling)
    ended: list[download.Outcome] = []
    way = usable(name)
    thread = threading.Thread(target=lambda: ended.append(way.fetch(stopped)))
    thread.start()
    assert asked.wait(10)
    began = time.monotonic()
    stopped.cancel.set()
    thread.join(10)

    assert [outcome.kind for outcome in ended] == ["cancelled"]
    assert time.monotonic() - began < 2  # a second, and one for a busy machine


@every_way
def test_nothing_is_tried_past_the_end_of_the_link(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, name: str
) -> None:
    server.play(serve(DATA))

    outcome = usable(name).fetch(errand(now=SENT + timedelta(days=3)))

    assert isinstance(outcome, download.Expired)
    assert server.requests == []


@pytest.mark.parametrize("first", CONTINUED)
@pytest.mark.parametrize("second", SIGNING)
def test_way_that_cannot_begin_leaves_alone_what_another_fetched(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, first: str, second: str
) -> None:
    server.play(serve(DATA, until=len(DATA) // 2))
    assert isinstance(usable(first).fetch(errand()), download.NetworkFailed)
    left = (tmp_path / "delivery.part").read_bytes()

    outcome = WAYS[second][0]("not usable\x01").fetch(errand())

    assert isinstance(outcome, download.SessionMissing)
    assert (tmp_path / "delivery.part").read_bytes() == left
    assert len(left) > 0


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_any_way_goes_on_with_what_any_other_left(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, first: str, second: str
) -> None:
    server.play(serve(DATA, until=len(DATA) // 2))
    assert isinstance(usable(first).fetch(errand()), download.NetworkFailed)
    server.play(serve(DATA))

    assert isinstance(usable(second).fetch(errand()), download.Fetched)

    assert (tmp_path / "delivery.part").read_bytes() == DATA


@every_way
def test_validity_is_said_without_asking_the_server(
    server: Server, tmp_path: Path, name: str
) -> None:
    validity = usable(name).validity(SENT)

    assert validity.condition is Condition.READY
    assert validity.sent_to == "chatgpt.com"
    assert server.requests == []


@pytest.mark.parametrize("name", ["bearer", "cookies"])
def test_secret_is_read_anew_for_every_attempt(
    server: Server, errand: Callable[..., Errand], tmp_path: Path, name: str
) -> None:
    asked: list[int] = []

    def secret() -> Secret:
        asked.append(1)
        raise CredentialError('read credential "x": no source has it')

    way: Way = BearerWay(secret) if name == "bearer" else CookieWay(secret, Pocket())
    for _ in range(2):
        assert isinstance(way.fetch(errand()), download.SessionMissing)
    with pytest.raises(CredentialError):
        way.validity(SENT)

    assert len(asked) == 3
