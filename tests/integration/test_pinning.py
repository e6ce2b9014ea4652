"""A name that leads into the own network is not followed; real sockets, resolver as the seam."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download import fetch as download
from backupd.download.fetch import Limits, Network, Outcome
from backupd.download.terms import Address
from backupd.mail.link import parse_link
from tests.support.https import Authority, Server, authority, sample, serve

NAME = "0" * 64 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
URL = f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&p=de&sig={'c0' * 32}"
SENT = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
LIMITS = Limits(connect_timeout=5, read_timeout=5, min_rate_window=20, reserve=1)


class Rebinding:
    """A resolver whose answers change: one list of addresses a question, the last for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.questions: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> list[Address]:
        self.questions.append((host, port))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [_address(address, port) for address in found]


def _address(address: str, port: int) -> Address:
    if ":" in address:
        return socket.AF_INET6, (address, port, 0, 0)
    return socket.AF_INET, (address, port)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(trust: Authority) -> Iterator[Server]:
    with Server(trust.context()) as server:
        yield server


def fetched(network: Network, part: Path) -> Outcome:
    link = parse_link(URL, SENT, SENT)
    return download.fetch(
        link,
        part,
        LIMITS,
        network,
        lambda: SENT + timedelta(minutes=1),
        threading.Event(),
        lambda _done, _total: None,
    )


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
    ],
)
def test_a_name_that_leads_inside_is_refused_before_any_connection(
    trust: Authority, tmp_path: Path, addresses: list[str]
) -> None:
    lookup = Rebinding(addresses)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)

        outcome = fetched(Network(trust.ca_file, {}, lookup), tmp_path / "part")

        with pytest.raises(TimeoutError):
            listener.accept()
    assert isinstance(outcome, download.NetworkFailed)
    assert "is not a public one" in outcome.detail
    assert lookup.questions == [("chatgpt.com", 443)]


def test_a_name_that_changes_its_answer_is_asked_once_and_that_answer_is_used(
    server: Server, trust: Authority, tmp_path: Path
) -> None:
    """The second answer would lead to an address where nobody listens."""
    server.script = serve(sample())
    port = next(iter(server.connect_to.values())).rpartition(":")[2]
    lookup = Rebinding(["127.0.0.1"], ["127.0.0.2"])

    outcome = fetched(
        Network(trust.ca_file, {"chatgpt.com:443": f"inside.example:{port}"}, lookup),
        tmp_path / "part",
    )

    assert isinstance(outcome, download.Fetched), outcome
    assert lookup.questions == [("inside.example", int(port))]


def test_connect_to_may_lead_inside_but_only_what_it_names(
    server: Server, trust: Authority, tmp_path: Path
) -> None:
    server.script = serve(sample())
    network = Network(trust.ca_file, {"elsewhere.example:443": "127.0.0.1:9"}, Rebinding(["::1"]))

    assert isinstance(fetched(network, tmp_path / "a"), download.NetworkFailed)
    assert isinstance(
        fetched(Network(trust.ca_file, server.connect_to), tmp_path / "b"), download.Fetched
    )
