"""A scripted HTTPS server on loopback that can break every rule, and ZIPs for it to serve.

It speaks TLS over raw sockets and sends exactly the bytes a script says, so that lengths can lie,
chunks be cut and handshakes stall. Use it in a `with`; leaving it ends every stalled script.
"""

from __future__ import annotations

import io
import random
import re
import socket
import ssl
import struct
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme

HOSTS = ("chatgpt.com", "proddatamgmtqueue.blob.core.windows.net")
ETAG = '"0x8DCF5F1A2B3C4D5"'
MODIFIED = "Sat, 26 Oct 2024 21:40:00 GMT"


@dataclass(frozen=True)
class Request:
    """One request as received; field names in lower case; the name asked for by TLS."""

    method: str
    target: str
    fields: dict[str, str]
    server_name: str | None

    @property
    def start(self) -> int | None:
        """Return the first byte of an open range asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.fields.get("range", ""))
        return int(found[1]) if found else None


@dataclass
class Exchange:
    """One request and the means to answer it; `number` counts requests since the script was set."""

    number: int
    request: Request
    sock: ssl.SSLSocket
    ended: threading.Event

    def send(self, *pieces: bytes | str) -> None:
        """Send bytes as they are."""
        self.sock.sendall(b"".join(p.encode("ascii") if isinstance(p, str) else p for p in pieces))

    def head(self, status: int | str, *fields: str) -> None:
        """Send a status line and header fields."""
        lines = [f"HTTP/1.1 {status} X" if isinstance(status, int) else status, *fields, "", ""]
        self.send("\r\n".join(lines))

    def answer(self, status: int, body: bytes = b"", *fields: str) -> None:
        """Send a well-formed answer."""
        self.head(status, f"Content-Length: {len(body)}", *fields)
        self.send(body)

    def stall(self) -> None:
        """Do nothing until the server is closed."""
        self.ended.wait(30)

    def drip(self, data: bytes, pause: float = 0.05) -> None:
        """Send one byte at a time, slowly."""
        for index in range(len(data)):
            if self.ended.wait(pause):
                return
            self.send(data[index : index + 1])

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def reset(self) -> None:
        """Break the connection with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Exchange], None]


def serve(data: bytes, *fields: str, etag: str | None = ETAG, until: int | None = None) -> Script:
    """Make a script that serves `data` correctly, with ranges; `until` cuts the answer there."""

    def script(exchange: Exchange) -> None:
        start = exchange.request.start
        fresh = exchange.request.fields.get("if-range", etag) == etag
        named = [*fields] if etag is None else [f"ETag: {etag}", *fields]
        if start is None or not fresh:
            exchange.head(200, f"Content-Length: {len(data)}", *named)
            exchange.send(data[:until])
        elif start >= len(data):
            exchange.answer(416, b"", f"Content-Range: bytes */{len(data)}")
        else:
            exchange.head(
                206,
                f"Content-Length: {len(data) - start}",
                f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}",
                *named,
            )
            exchange.send(data[start:until])

    return script


@dataclass
class Server:
    """The server; `script` answers each request and may be replaced between requests.

    `context` speaks TLS; `greet`, where given, gets each connection before TLS and says whether
    to go on.
    """

    context: ssl.SSLContext
    script: Script = lambda exchange: exchange.answer(500)
    greet: Callable[[socket.socket, threading.Event], bool] | None = None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._since = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._names: dict[object, str | None] = {}
        self.context.sni_callback = self._note_name
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Return the port listened on."""
        return int(self._listener.getsockname()[1])

    @property
    def connect_to(self) -> dict[str, str]:
        """Return the routes that lead the known hosts here."""
        return {f"{host}:443": f"127.0.0.1:{self.port}" for host in HOSTS}

    def play(self, script: Script) -> None:
        """Answer from now on with `script`, counting requests from zero."""
        with self._lock:
            self._since = len(self.requests)
            self.script = script

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with self._lock:
            for sock in self._open:
                _shut(sock)
        _shut(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _note_name(self, sock: object, name: str | None, _: ssl.SSLContext) -> None:
        self._names[sock] = name

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(30)
            if self.greet is not None and not self.greet(sock, self._ended):
                return
            with self.context.wrap_socket(sock, server_side=True) as secured:
                with self._lock:
                    self._open.discard(sock)
                    self._open.add(secured)
                    sock = secured
                self._answer(secured)
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _answer(self, sock: ssl.SSLSocket) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = sock.recv(65536)
            if not piece:
                return
            raw += piece
        with self._lock:
            request = _parse(raw, self._names.pop(sock, None))
            number = len(self.requests) - self._since
            self.requests.append(request)
            script = self.script
        exchange = Exchange(number, request, sock, self._ended)
        script(exchange)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _parse(raw: bytes, server_name: str | None) -> Request:
    first, *lines = raw.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return Request(method, target, {n.lower(): v.strip() for n, v in pairs}, server_name)


@dataclass(frozen=True)
class Authority:
    """A private certificate authority; `ca_file` holds its certificate."""

    ca: trustme.CA
    ca_file: Path

    def context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return a server's context with a fresh certificate for `names`."""
        now = datetime.now(UTC)
        leaf = self.ca.issue_cert(
            *(names or HOSTS), not_after=now - timedelta(days=1) if expired else None
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


def authority(directory: Path) -> Authority:
    """Make a certificate authority with its certificate in `directory`."""
    ca = trustme.CA()
    ca_file = directory / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    return Authority(ca, ca_file)


@cache
def sample(size: int = 512 * 1024, seed: int = 1) -> bytes:
    """Return a ZIP of about `size` bytes that does not compress."""
    generator = random.Random(seed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index in range(8):
            info = zipfile.ZipInfo(f"file-{index}.dat", (2024, 10, 26, 21, 40, 0))
            file.writestr(info, generator.randbytes(size // 8))
    return buffer.getvalue()
