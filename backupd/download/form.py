"""Send a form to a server that the configuration names, and read its short answer.

The same sockets, certificates and bounds as downloads; nothing is followed, kept or logged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from backupd.download.outcome import Ended
from backupd.download.pace import Pace
from backupd.download.terms import Limits, Network
from backupd.download.transport import Client

LONGEST_ANSWER = 64 * 1024
"""Bytes that are read of an answer."""
LONGEST_EXCHANGE = timedelta(seconds=30)

_HEADERS = (("Content-Type", "application/x-www-form-urlencoded"),)


class NoAnswer(Exception):
    """The server could not be reached or broke off; the text says why, without an address."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the body may be a secret."""

    status: int
    body: bytes = field(repr=False)


def send_form(
    url: str, fields: tuple[tuple[str, str], ...], network: Network, clock: Callable[[], datetime]
) -> Reply:
    """Send `fields` to `url` and return the answer, whatever its status; 30 seconds at most.

    Raises:
        NoAnswer: there is none.
    """
    limits = Limits(connect_timeout=10.0, read_timeout=20.0)
    pace = Pace(limits, threading.Event(), clock, clock() + LONGEST_EXCHANGE)
    reason = "it cannot be used"
    try:
        with (
            Client(network, limits, pace) as client,
            client.post(url, _HEADERS, urlencode(fields).encode("ascii")) as incoming,
        ):
            body = b""
            for chunk in incoming.body:
                body += chunk
                if len(body) > LONGEST_ANSWER:
                    break
            return Reply(incoming.status, body[: LONGEST_ANSWER + 1])
    except Ended as ended:
        reason = getattr(ended.outcome, "detail", reason)
    raise NoAnswer(reason)  # outside of the handler: nothing of the request comes along
