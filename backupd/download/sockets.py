"""The one place where downloads touch sockets: resolve, connect, TLS, read, write.

A network backend for httpcore. A name is resolved once for each connection, every address that was
found must be a public one, and the connection goes to the very address that was judged: a name that
answers otherwise the next time (DNS rebinding) gains nothing. Only what `connect_to` names may lie
elsewhere. All waiting is done in slices under a `Pace`.
"""

from __future__ import annotations

import errno
import os
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import httpcore

from backupd.download.addresses import is_public
from backupd.download.outcome import Ended, NetworkFailed
from backupd.download.pace import SLICE, Pace
from backupd.download.terms import Address, Lookup, Network

T = TypeVar("T")


def tls_context(network: Network) -> ssl.SSLContext:
    """Make the verifying TLS context: the system's store as OpenSSL finds it, or `ca_file` alone.

    Built by hand because `ssl.create_default_context` writes session keys to the file that the
    environment's SSLKEYLOGFILE names.

    Raises:
        Ended: `ca_file` cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if network.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cafile=network.ca_file)
    except ssl.SSLError as exc:
        raise Ended(NetworkFailed(f'ca_file "{network.ca_file}": no certificate in it')) from exc
    except OSError as exc:
        raise Ended(NetworkFailed(f'ca_file "{network.ca_file}": {_words(exc)}')) from exc
    return context


class Backend(httpcore.NetworkBackend):
    """Connects where the `Network` says, under a `Pace`."""

    def __init__(self, network: Network, pace: Pace) -> None:
        self._network = network
        self._pace = pace

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that answers; `timeout` covers all of them."""
        until = time.monotonic() + (timeout or 0.0)
        lookup = self._network.lookup or _system_lookup
        addresses = _resolve(*self._network.route(host, port), until, self._pace, lookup)
        if not self._network.is_free(host, port):
            _require_public(host, addresses)
        failure = NetworkFailed(f"connect {host}: no address")
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = time.monotonic() + (until - time.monotonic()) / left
            try:
                return Stream(_dial(address, share, self._pace), host, self._pace)
            except OSError as exc:
                failure = NetworkFailed(f"connect {host}: {_words(exc)}")
        raise Ended(failure)


class Stream(httpcore.NetworkStream):
    """One connection, clear or TLS; closed by its owner."""

    def __init__(self, sock: socket.socket, host: str, pace: Pace) -> None:
        self._sock = sock
        self._host = host
        self._pace = pace

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Secure the connection; `timeout` bounds the whole handshake."""
        until = time.monotonic() + (timeout or 0.0)
        try:
            secured = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            self._sock = secured
            _sliced(secured, secured.do_handshake, until, self._pace)
        except BaseException as exc:
            self.close()
            if isinstance(exc, OSError):
                raise Ended(NetworkFailed(f"TLS with {self._host}: {_words(exc)}")) from exc
            raise
        return self

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive at most `max_bytes`; empty at the end of the stream."""
        until = time.monotonic() + (timeout or 0.0)
        try:
            return _sliced(self._sock, partial(self._sock.recv, max_bytes), until, self._pace)
        except OSError as exc:
            raise Ended(NetworkFailed(f"read from {self._host}: {_words(exc)}")) from exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of `buffer`."""
        until = time.monotonic() + (timeout or 0.0)
        sent = 0
        try:
            while sent < len(buffer):
                rest = buffer[sent:]
                sent += _sliced(self._sock, partial(self._sock.send, rest), until, self._pace)
        except OSError as exc:
            # A server may answer and close before it has read all; httpcore then reads on.
            raise httpcore.WriteError from exc

    def close(self) -> None:
        """Close the connection at once."""
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        """Return None for all but the TLS object, by which httpcore knows the protocol."""
        if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket):
            return self._sock
        return False if info == "is_readable" else None


def _require_public(host: str, addresses: Sequence[Address]) -> None:
    """Refuse a name if any of its addresses is not public: one that is does not excuse the others.

    Raises:
        Ended: one is not. It may be a passing fault: a captive portal answers like this.
    """
    for _, where in addresses:
        if not is_public(str(where[0])):
            raise Ended(
                NetworkFailed(
                    f"resolve {host}: its address {where[0]} is not a public one; if that is"
                    " meant, name it in connect_to"
                )
            )


def _resolve(host: str, port: int, until: float, pace: Pace, lookup: Lookup) -> Sequence[Address]:
    """Look up all addresses, in the system's order of preference.

    The look-up runs in a thread that is left behind when it takes too long: the resolver cannot be
    interrupted.
    """
    answers: queue.SimpleQueue[Sequence[Address] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(lookup, host, port, answers), daemon=True).start()
    while True:
        try:
            found = answers.get(timeout=SLICE)
            break
        except queue.Empty:
            pace.check()
        if time.monotonic() >= until:
            raise Ended(NetworkFailed(f"resolve {host}: timed out"))
    if isinstance(found, OSError):
        raise Ended(NetworkFailed(f"resolve {host}: {_words(found)}")) from found
    return found


def _system_lookup(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _look_up(
    lookup: Lookup,
    host: str,
    port: int,
    answers: queue.SimpleQueue[Sequence[Address] | OSError],
) -> None:
    try:
        answers.put(lookup(host, port))
    except OSError as exc:
        answers.put(exc)
    except UnicodeError:
        answers.put(OSError(errno.EINVAL, "not a host name"))


def _dial(address: Address, until: float, pace: Pace) -> socket.socket:
    """Open a TCP connection to one address.

    Raises:
        OSError: it cannot be reached before `until`.
    """
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _connect(sock, where, until, pace)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, where: Any, until: float, pace: Pace) -> None:
    sock.setblocking(False)
    code = sock.connect_ex(where)
    if code == errno.EINPROGRESS:
        _await_writable(sock, until, pace)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _await_writable(sock: socket.socket, until: float, pace: Pace) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    while not poll.poll(SLICE * 1000):
        pace.check()
        if time.monotonic() >= until:
            raise TimeoutError


def _sliced(sock: socket.socket, action: Callable[[], T], until: float, pace: Pace) -> T:
    """Do one socket operation in slices until it succeeds, `until` has come or `pace` ends it."""
    while True:
        started = time.monotonic()
        if started >= until:
            raise TimeoutError
        sock.settimeout(min(SLICE, until - started))
        try:
            result = action()
        except TimeoutError:
            pace.waited(time.monotonic() - started, 0)
            continue
        received = len(result) if isinstance(result, bytes) else 0
        pace.waited(time.monotonic() - started, received)
        return result


def _words(exc: OSError) -> str:
    """Say what went wrong in words of the system, never in words of the server."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message.rstrip(".").lower()
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "protocol error").replace("_", " ").lower()
    if isinstance(exc, TimeoutError):
        return "timed out"
    if isinstance(exc, socket.gaierror):
        return (exc.strerror or "unknown host").lower()
    return os.strerror(exc.errno).lower() if exc.errno else "connection broken"
