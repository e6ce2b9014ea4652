"""Ways in against a real TLS server on loopback: what is sent where, and what answers mean."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download import fetch as download
from backupd.download.cookie_way import CookieWay
from backupd.download.cookies import SESSION
from backupd.download.fetch import Limits, Network
from backupd.download.session import Condition, Secret
from backupd.download.way import BearerWay, Direct, Errand, Way
from backupd.errors import CredentialError
from backupd.intake.ways import attempt
from backupd.ledger.db import LedgerFailed
from backupd.mail.link import Link, parse_link
from tests.support.https import HOSTS, Authority, Exchange, Script, Server, authority, sample, serve
from tests.support.sessions import (
    COOKIE,
    DENIAL,
    PAGE,
    TOKEN,
    Pocket,
    cookie_file,
    cookie_row,
    jwt,
    only_with,
    rotating,
    wall,
)

NAME = "0" * 64 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
URL = f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&p=de&sig={'ab' * 32}&v=0"
AZURE = (
    "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/"
    f"{'0' * 64}-2026-09-07-10-00-00.zip?se=2026-09-08T10%3A00%3A00Z&sig=ab%2Bcd%3D"
)
OLDER = "chat.openai.com"
SENT = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
NOW = SENT + timedelta(minutes=1)
LIMITS = Limits(connect_timeout=10, read_timeout=10, min_rate_window=20, reserve=1)
DATA = sample()


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(trust: Authority) -> Iterator[Server]:
    with Server(trust.context(*HOSTS, OLDER)) as server:
        yield server


Errands = Callable[..., Errand]


@pytest.fixture
def errand(server: Server, trust: Authority, tmp_path: Path) -> Errands:
    def make(url: str = URL, now: datetime = NOW, network: Network | None = None) -> Errand:
        return Errand(
            link=parse_link(url, SENT, SENT),
            part=tmp_path / "delivery.part",
            limits=LIMITS,
            network=network or Network(trust.ca_file, routes(server)),
            now=lambda: now,
            cancel=threading.Event(),
            progress=lambda _done, _total: None,
        )

    return make


def routes(server: Server) -> dict[str, str]:
    return {**server.connect_to, f"{OLDER}:443": f"127.0.0.1:{server.port}"}


def with_token(text: str = TOKEN) -> BearerWay:
    return BearerWay(lambda: Secret(text))


def with_cookies(text: str | None = None, pocket: Pocket | None = None) -> CookieWay:
    secret = Secret(cookie_file(cookie_row()) if text is None else text)
    return CookieWay(lambda: secret, pocket or Pocket())


def link() -> Link:
    return parse_link(URL, SENT, SENT)


def test_token_gets_the_file_that_a_plain_request_does_not(server: Server, errand: Errands) -> None:
    server.play(only_with("authorization", f"Bearer {TOKEN}", serve(DATA)))

    assert Direct().fetch(errand()).kind == "sign-in-needed"
    assert isinstance(with_token().fetch(errand()), download.Fetched)


def test_cookies_get_the_file_that_a_plain_request_does_not(
    server: Server, errand: Errands, tmp_path: Path
) -> None:
    server.play(only_with("cookie", f"{SESSION}={COOKIE}", serve(DATA)))

    assert Direct().fetch(errand()).kind == "sign-in-needed"
    assert isinstance(with_cookies().fetch(errand()), download.Fetched)


def test_signed_in_download_goes_on_where_it_was_cut(server: Server, errand: Errands) -> None:
    half = len(DATA) // 2
    server.play(only_with("authorization", f"Bearer {TOKEN}", serve(DATA, until=half)))
    assert isinstance(with_token().fetch(errand()), download.NetworkFailed)

    server.play(only_with("authorization", f"Bearer {TOKEN}", serve(DATA)))
    assert isinstance(with_token().fetch(errand()), download.Fetched)

    assert server.requests[-1].start


def test_session_that_ends_in_mid_download_costs_no_byte(server: Server, errand: Errands) -> None:
    half = len(DATA) // 2
    server.play(only_with("authorization", "Bearer first", serve(DATA, until=half)))
    assert isinstance(with_token("first").fetch(errand()), download.NetworkFailed)
    server.play(only_with("authorization", "Bearer second", serve(DATA)))
    assert with_token("first").fetch(errand()).kind == "session-refused"

    assert isinstance(with_token("second").fetch(errand()), download.Fetched)

    assert [request.start for request in server.requests[1:]] == [half - 65536] * 2


def answering(status: int, body: bytes, *fields: str) -> Script:
    return lambda exchange: exchange.answer(status, body, *fields)


ANSWERS = {
    "dead session": (wall, "session-refused"),
    "refused": (answering(403, PAGE), "session-refused"),
    "unprocessable": (answering(422, DENIAL), "session-refused"),
    "login page": (answering(200, PAGE, "Content-Type: text/html"), "session-refused"),
    "login redirect": (
        answering(302, b"", "Location: https://auth.openai.com/log-in"),
        "session-refused",
    ),
    "other account": (answering(403, DENIAL), "wrong-account"),
    "not found": (answering(404, DENIAL), "wrong-account"),
    "challenge": (answering(403, PAGE, "cf-mitigated: challenge"), "challenged"),
    "rate limit": (answering(429, DENIAL, "Retry-After: 7"), "rate-limited"),
    "broken": (answering(500, b""), "server-failed"),
}


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("kind", ["bearer", "cookies"])
def test_answer_to_a_signed_in_request_is_told_apart(
    server: Server, errand: Errands, tmp_path: Path, name: str, kind: str
) -> None:
    script, outcome = ANSWERS[name]
    way: Way = with_token() if kind == "bearer" else with_cookies()
    server.play(script)

    assert way.fetch(errand()).kind == outcome


@pytest.mark.parametrize("name", ["dead session", "other account", "login page", "not found"])
def test_after_the_deadline_a_wall_may_as_well_be_the_end(
    server: Server, errand: Errands, name: str
) -> None:
    server.play(ANSWERS[name][0])

    outcome = with_token().fetch(errand(now=SENT + timedelta(hours=25)))

    assert isinstance(outcome, download.Expired) and not outcome.certain


def redirecting(target: str, then: Script) -> Script:
    def script(exchange: Exchange) -> None:
        if exchange.number == 0:
            exchange.answer(302, b"", f"Location: {target}", f"Set-Cookie: {SESSION}=new; Path=/")
        else:
            then(exchange)

    return script


@pytest.mark.parametrize("target", [AZURE, URL.replace("chatgpt.com", OLDER), URL + "&again=1"])
def test_token_never_crosses_a_redirect(server: Server, errand: Errands, target: str) -> None:
    server.play(redirecting(target, serve(DATA)))

    with_token().fetch(errand())

    assert server.requests[0].fields["authorization"] == f"Bearer {TOKEN}"
    assert len(server.requests) == 2
    assert "authorization" not in server.requests[1].fields


def test_wall_behind_a_redirect_says_nothing_of_a_token_that_did_not_get_there(
    server: Server, errand: Errands
) -> None:
    server.play(redirecting(URL + "&again=1", wall))

    assert with_token().fetch(errand()).kind == "sign-in-needed"


@pytest.mark.parametrize(
    ("target", "carried"),
    [(AZURE, None), (URL.replace("chatgpt.com", OLDER), None), (URL + "&again=1", "new")],
)
def test_cookies_cross_a_redirect_to_their_own_host_only(
    server: Server, errand: Errands, tmp_path: Path, target: str, carried: str | None
) -> None:
    """Nor does a cookie that the file holds for the storage host get there."""
    storage = cookie_row("storage", "yes", domain="proddatamgmtqueue.blob.core.windows.net")
    server.play(redirecting(target, serve(DATA)))

    with_cookies(cookie_file(cookie_row(), storage)).fetch(errand())

    sent = server.requests[1].fields.get("cookie")
    assert (sent is None) if carried is None else (f"{SESSION}={carried}" in str(sent))


def test_server_that_is_not_the_real_one_gets_nothing(
    trust: Authority, errand: Errands, tmp_path: Path
) -> None:
    with Server(trust.context("impostor.example")) as impostor:
        network = Network(trust.ca_file, impostor.connect_to)
        outcomes = [way.fetch(errand(network=network)) for way in (with_token(), with_cookies())]

        assert [outcome.kind for outcome in outcomes] == ["network-failed"] * 2
        assert impostor.requests == []


def test_renewed_cookies_are_used_next_time_and_need_the_same_credential(
    server: Server, errand: Errands, tmp_path: Path
) -> None:
    script, good = rotating(DATA, COOKIE)
    server.play(script)
    pocket = Pocket()
    for _ in range(3):
        assert isinstance(with_cookies(None, pocket).fetch(errand()), download.Fetched)
        (tmp_path / "delivery.part").unlink()
    assert good() == f"{COOKIE}-3"

    other = cookie_file(cookie_row(), cookie_row("a", "another credential"))
    assert with_cookies(other, pocket).fetch(errand()).kind == "session-refused"
    assert isinstance(with_cookies(None, pocket).fetch(errand()), download.Fetched)


def test_cookies_that_were_taken_away_are_not_kept(server: Server, errand: Errands) -> None:
    gone = f"Set-Cookie: {SESSION}=; Domain=.chatgpt.com; Path=/; Max-Age=0"
    pocket = Pocket()
    server.play(answering(401, DENIAL, gone))

    with_cookies(None, pocket).fetch(errand())

    assert pocket.kept is None
    assert with_cookies(None, pocket).validity(NOW).condition is Condition.READY


class Full(Pocket):
    """A ledger on a full disk."""

    def keep(self, secret: str, text: str, now: datetime) -> None:
        raise LedgerFailed("use ledger: disk is full")


def test_place_for_renewed_cookies_that_fails_does_not_fail_the_download(
    server: Server, errand: Errands, caplog: pytest.LogCaptureFixture
) -> None:
    server.play(rotating(DATA, COOKIE)[0])

    assert isinstance(with_cookies(None, Full()).fetch(errand()), download.Fetched)

    assert "renewed cookies cannot be kept: use ledger" in caplog.text


@pytest.mark.parametrize(
    ("way", "detail"),
    [
        (with_token(jwt(NOW)), "the token ended"),
        (with_token("no token"), "does not hold one"),
        (BearerWay(lambda: _missing()), "no source has it"),
        (with_cookies(cookie_file(cookie_row(expires=1))), "session ended"),
        (with_cookies("nothing"), "no ="),
        (with_cookies(cookie_file(cookie_row(path="/auth"))), "no cookie is for"),
    ],
    ids=range(6),
)
def test_way_that_cannot_begin_says_so_without_asking_the_server(
    server: Server, errand: Errands, way: Way, detail: str
) -> None:
    outcome = way.fetch(errand())

    assert isinstance(outcome, download.SessionMissing)
    assert detail in outcome.detail
    assert server.requests == []


def _missing() -> Secret:
    raise CredentialError('read credential "x": no source has it')


def run(ways: tuple[Way, ...], errand: Errand) -> download.Outcome:
    return attempt(ways, errand, lambda _way, _outcome: None)


class Shop:
    """Answers each way differently, by how its requests are signed."""

    def __init__(self, plain: Script, signed: Script) -> None:
        self.plain, self.signed = plain, signed

    def __call__(self, exchange: Exchange) -> None:
        fields = exchange.request.fields
        let_in = "authorization" in fields or "cookie" in fields
        (self.signed if let_in else self.plain)(exchange)


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "broken"])
def test_next_way_is_tried_after_a_classified_answer(
    server: Server, errand: Errands, name: str
) -> None:
    server.play(Shop(plain=serve(DATA), signed=ANSWERS[name][0]))

    assert isinstance(run((with_token(), Direct()), errand()), download.Fetched)


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_of_the_first_way_stands_where_none_succeeds(
    server: Server, errand: Errands, name: str
) -> None:
    server.play(Shop(plain=wall, signed=ANSWERS[name][0]))

    assert run((with_token(), Direct()), errand()).kind == ANSWERS[name][1]


def test_no_further_way_is_tried_when_time_is_up_or_a_stop_is_asked_for(
    server: Server, errand: Errands
) -> None:
    stopped, late = errand(), errand(now=SENT + timedelta(hours=48))
    stopped.cancel.set()

    assert run((with_token("no token"), Direct()), stopped).kind == "session-missing"
    assert run((with_token("no token"), Direct()), late).kind == "session-missing"
    assert server.requests == []


def test_no_secret_is_in_log_outcome_or_exception(
    server: Server, errand: Errands, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for script, _ in ANSWERS.values():
        server.play(script)
        for way in (with_token(), with_token(jwt(NOW)), with_cookies()):
            said.append(repr(way.fetch(errand())) + repr(way) + repr(way.validity(NOW)))
    server.play(rotating(DATA, COOKIE)[0])
    said.append(repr(with_cookies().fetch(errand())))

    assert "canary" not in caplog.text + "".join(said)
