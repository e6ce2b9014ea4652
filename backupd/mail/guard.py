"""The TLS socket under an IMAP connection, with limits and a way to break it off.

imaplib reads whatever the server sends, as long as it sends something. The hook used here is the
documented one, `SSLContext.sslsocket_class`: a socket class whose `read` asks a `Guard` first.

- Each operation has an amount of time and of bytes; a server that drips or floods runs into it.
- Another thread may `abort` the connection at any moment: a blocked read ends at once.
- In *narrow* mode (IDLE) a read takes one byte. So nothing is ever read ahead into imaplib's
  buffer, where `poll` cannot see it: a `+ idling` and a `* 2 EXISTS` that came together are told
  apart by `pending`.

The context verifies certificates and host names always, needs TLS 1.2, and does not honour
`SSLKEYLOGFILE`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPERATION_SECONDS = 60.0

# imaplib sends a command in pieces, which must not wait for each other. A connection that a NAT or
# a firewall has forgotten is found dead within about two minutes.
_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)


class Aborted(OSError):
    """The connection was broken off from this side."""


class Guard:
    """Limits for one connection; `beat` is called at the start of every operation.

    An operation may take `seconds`, counted over all that the server sends. `abort` may be called
    from any thread, all else belongs to the thread that talks.
    """

    def __init__(
        self, beat: Callable[[], None] = lambda: None, seconds: float = OPERATION_SECONDS
    ) -> None:
        self.narrow = False
        self.aborted = False
        self._beat = beat
        self._lock = threading.Lock()
        self._socket: ssl.SSLSocket | None = None
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._bytes_left = 0

    def context(self, ca_file: Path | None) -> ssl.SSLContext:
        """Return a client context whose sockets obey this guard.

        `ca_file` (PEM) replaces the system's authorities.

        Raises:
            OSError: `ca_file` cannot be read; ssl.SSLError is one of them.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
        context.sslsocket_class = _socket_class(self)
        return context

    def allow(self, size: int, waiting: float = 0.0) -> None:
        """Begin an operation that may receive `size` bytes; `waiting` is added to its seconds.

        Raises:
            Aborted: `abort` was called.
        """
        self._beat()
        self._until = time.monotonic() + self._seconds + waiting
        self._bytes_left = size
        self.check()

    def attach(self, sock: ssl.SSLSocket) -> None:
        """Take charge of a new socket, before its handshake."""
        with self._lock:
            self._socket = sock
        for option in _SOCKET_OPTIONS:
            sock.setsockopt(*option)
        self.check()

    def check(self) -> None:
        """Refuse to go on.

        Raises:
            Aborted: `abort` was called.
            TimeoutError: the operation's time is over.
        """
        if self.aborted:
            raise Aborted("the connection was broken off")
        if time.monotonic() > self._until:
            raise TimeoutError("the server is too slow")

    def count(self, size: int) -> None:
        """Count received bytes.

        Raises:
            OSError: more than the operation allows.
        """
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise OSError("the server sends too much")

    def pending(self) -> bool:
        """Tell whether decrypted bytes wait to be read, which `poll` would not notice."""
        return self._socket is not None and self._socket.pending() > 0

    def abort(self) -> None:
        """Break the connection off, also under a thread that is blocked in it; may be repeated."""
        self.aborted = True
        with self._lock:
            if self._socket is None:
                return
            try:
                # Not SSLSocket.shutdown, which would pull the TLS state from under a reader.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                self._socket = None

    def release(self) -> None:
        """Forget the socket, which its owner closes now."""
        with self._lock:
            self._socket = None


def _socket_class(guard: Guard) -> type[ssl.SSLSocket]:
    class GuardedSocket(ssl.SSLSocket):
        """A TLS socket that asks its guard before and after each read."""

        def do_handshake(self, block: bool = False) -> None:
            guard.attach(self)
            super().do_handshake(block)

        def recv(self, size: int = 1024, flags: int = 0) -> bytes:
            """Receive bytes; close at an error, which is one before the handshake.

            `wrap_socket` calls it if the other side is gone already, and forgets the socket.
            """
            try:
                return super().recv(size, flags)
            except OSError:
                self.close()
                raise

        def read(self, size: int = 1024, buffer: Any = None) -> Any:
            guard.check()
            got = super().read(1 if guard.narrow else size, buffer)
            guard.count(got if isinstance(got, int) else len(got))
            return got

    return GuardedSocket
