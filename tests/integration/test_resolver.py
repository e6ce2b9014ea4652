"""Keys are looked up in bounded time, whatever a DNS server does; servers on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from backupd.mail.resolver import TxtResolver
from backupd.mail.signature import LookupFailed
from tests.support.dns_server import BEHAVIOURS, DnsServer

NAME = "s1._domainkey.tm.openai.com"
RECORD = b"v=DKIM1; k=rsa; p=" + b"A" * 392
LIMIT = 0.5
PASSING = frozenset(
    {"servfail", "refused", "silent", "garbage", "other-id", "empty-packet", "truncated-for-ever"}
)


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer({NAME: RECORD, "long.example": b"x" * 4000}) as server:
        yield server


def resolver_of(server: DnsServer) -> TxtResolver:
    return TxtResolver(["127.0.0.1"], server.port, LIMIT)


def test_a_record_of_several_strings_is_read_whole(server: DnsServer) -> None:
    assert resolver_of(server)(NAME) == (RECORD,)
    assert server.questions == [NAME]


def test_a_record_too_long_for_a_datagram_comes_by_tcp(server: DnsServer) -> None:
    assert resolver_of(server)("long.example") == (b"x" * 4000,)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_whatever_a_server_does_the_answer_comes_in_time_and_failures_are_told_apart(
    server: DnsServer, behaviour: str
) -> None:
    server.behaviour = behaviour
    before = time.monotonic()

    if behaviour in PASSING:
        with pytest.raises(LookupFailed, match=NAME):
            resolver_of(server)(NAME)
    else:
        assert RECORD not in resolver_of(server)(NAME)

    assert time.monotonic() - before < LIMIT + 1


def test_no_server_at_all_is_a_passing_failure() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(LookupFailed):
        TxtResolver(["127.0.0.1"], port, LIMIT)(NAME)


@pytest.mark.parametrize("name", ["a" * 64 + ".openai.com", "a..openai.com", "x." * 130 + "com"])
def test_a_name_that_cannot_be_has_no_record(server: DnsServer, name: str) -> None:
    assert resolver_of(server)(name) == ()
    assert server.questions == []
