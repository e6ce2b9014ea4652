"""Owner of httpx: one request at a time, each on a connection of its own.

Hides httpx from the rest: what goes in is a URL and header fields, what comes out is an `Incoming`
or an `Ended`. `httpx.Client` is left out on purpose: it parses the target of a redirect before the
link rules see it, keeps cookies, reads proxies and netrc from the environment and logs whole URLs.
What is left decodes nothing and follows nothing; the libraries' loggers are shut off all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

import httpcore
import httpx

from backupd import __version__
from backupd.download import sockets
from backupd.download.headers import Headers
from backupd.download.outcome import Ended, LinkRefused, NetworkFailed
from backupd.download.pace import Pace
from backupd.download.terms import Limits, Network

for _name in ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).setLevel(logging.WARNING)
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).propagate = False
    logging.getLogger(_name).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer whose body is still on its way; `body` yields raw chunks of at most 64 KiB."""

    status: int
    headers: Headers
    body: Iterator[bytes]


class Client:
    """Sends requests under one set of terms; close it, or use it in a `with`."""

    def __init__(self, network: Network, limits: Limits, pace: Pace) -> None:
        self._pace = pace
        self._timeout = httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout)
        self._transport = _Transport(network, pace)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    @contextmanager
    def get(self, url: str, extra: tuple[tuple[str, str], ...]) -> Iterator[Incoming]:
        """Ask for `url`, which must have passed the link rules, with `extra` header fields.

        Raises:
            Ended: no answer came, or its body breaks off while it is read.
        """
        with self._exchange(self._request("GET", url, extra, b"")) as incoming:
            yield incoming

    @contextmanager
    def post(self, url: str, extra: tuple[tuple[str, str], ...], body: bytes) -> Iterator[Incoming]:
        """Send `body` to `url`, which must have come from the configuration.

        Raises:
            Ended: as `get`.
        """
        with self._exchange(self._request("POST", url, extra, body)) as incoming:
            yield incoming

    @contextmanager
    def _exchange(self, request: Callable[[], httpx.Request]) -> Iterator[Incoming]:
        response = self._send(request)
        try:
            fields = Headers.of(
                (name.decode("ascii", "replace"), value.decode("ascii", "replace"))
                for name, value in response.headers.raw
            )
            yield Incoming(response.status_code, fields, _body(response))
        finally:
            response.close()

    def _request(
        self, method: str, url: str, extra: tuple[tuple[str, str], ...], body: bytes
    ) -> Callable[[], httpx.Request]:
        return lambda: httpx.Request(
            method,
            url,
            headers=_fields(extra),
            content=body or None,
            extensions={"target": _target(url), "timeout": self._timeout.as_dict()},
        )

    def _send(self, request: Callable[[], httpx.Request]) -> httpx.Response:
        self._pace.begin_head()
        try:
            response = self._transport.handle_request(request())
        except _FOREIGN as exc:
            _translate(exc)
        self._pace.end_head()
        return response


class _Transport(httpx.BaseTransport):
    """Carries httpx's requests over the own sockets."""

    def __init__(self, network: Network, pace: Pace) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=sockets.tls_context(network),
            max_keepalive_connections=0,
            network_backend=sockets.Backend(network, pace),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the answer is read as it is consumed."""
        url = request.url
        response = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.read(),
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Stream(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


_FOREIGN = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


def _fields(extra: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Name all fields of the request; identity, because a cut coded body is no error to httpx."""
    return [
        ("User-Agent", f"backupd/{__version__}"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        *extra,
    ]


def _target(url: str) -> bytes:
    """Return path and query exactly as written: a signature may cover every byte of them."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target.encode("ascii")


def _body(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()
    except _FOREIGN as exc:
        _translate(exc)


def _translate(exc: Exception) -> NoReturn:
    """End the attempt in own words: the foreign text may quote the server or the URL."""
    if isinstance(exc, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        raise Ended(LinkRefused("the link cannot be read")) from None
    if isinstance(exc, httpcore.WriteError):
        raise Ended(NetworkFailed("the server closed the connection")) from None
    raise Ended(NetworkFailed("the connection broke off or broke the protocol")) from None
