"""A TLS server on loopback that serves exports under the real links and fails as real servers do.

Written on bare sockets, one thread for each connection, because it has to break rules: drop a
connection half-way, announce another length, fall silent. One request per connection.
"""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from backupd.demo.answers import NOT_FOUND, Answer, Headers, Plan, wall_answer
from backupd.demo.certificates import Authority

AZURE_HOST = "proddatamgmtqueue.blob.core.windows.net"
ESTUARY_HOST = "chatgpt.com"
_PIECE = 1 << 16
_HEAD_LIMIT = 1 << 16
_PATIENCE_SECONDS = 30
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked and what was sent; never a query, which would hold the signature."""

    host: str
    path: str
    file_name: str
    start: int
    status: int
    sent: int
    complete: bool


@dataclass(slots=True)
class _Offer:
    path: Path
    etag: str
    plan: Plan
    drops: list[float]


@dataclass(frozen=True, slots=True)
class _Asked:
    host: str
    path: str
    file_name: str
    headers: dict[str, str]

    def done(self, start: int, status: int, sent: int, *, complete: bool) -> Request:
        """Return the record of what became of the request."""
        return Request(self.host, self.path, self.file_name, start, status, sent, complete)


class DownloadServer:
    """Serves the offered files; use it as a context, or `start` and `stop` it."""

    def __init__(self, authority: Authority) -> None:
        self._context = authority.server_context(ESTUARY_HOST, AZURE_HOST)
        self._offers: dict[str, _Offer] = {}
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="demo-downloads", daemon=True)

    def __enter__(self) -> DownloadServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def connect_to(self) -> dict[str, str]:
        """The `connect_to` setting that leads the real hosts here."""
        here = f"127.0.0.1:{self.port}"
        return {f"{ESTUARY_HOST}:443": here, f"{AZURE_HOST}:443": here}

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was asked so far, oldest first."""
        with self._changed:
            return tuple(self._requests)

    def start(self) -> DownloadServer:
        """Start serving."""
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Break off every connection and end all threads."""
        self._stopping.set()
        with self._changed:
            sockets = [self._listener, *self._sockets]
        for open_socket in sockets:
            _shut(open_socket)
        self._listener.close()
        for thread in [self._acceptor, *self._threads]:
            thread.join(5)

    def offer(self, file_name: str, path: Path, plan: Plan | None = None) -> None:
        """Serve `path` under that name in both link shapes, from now on as `plan` says."""
        plan = plan or Plan()
        digest = hashlib.sha256(f"{file_name}{path.stat().st_mtime_ns}".encode()).hexdigest()
        tag = {"strong": f'"{digest[:16]}"', "weak": f'W/"{digest[:16]}"', "none": ""}[plan.etag]
        with self._changed:
            self._offers[file_name] = _Offer(path, tag, plan, list(plan.drops))

    def wait_for_requests(self, file_name: str, count: int, timeout: float) -> bool:
        """Wait until that many requests for a file are done; tell whether it came to that."""
        with self._changed:
            return self._changed.wait_for(
                lambda: sum(one.file_name == file_name for one in self._requests) >= count,
                timeout,
            )

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._changed:
                self._sockets.add(connection)
                self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        open_now = connection
        try:
            connection.settimeout(_PATIENCE_SECONDS)
            with self._context.wrap_socket(connection, server_side=True) as stream:
                self._exchange(open_now, stream)
                open_now = stream
                asked = _read_request(stream)
                if asked is not None:
                    self._record(self._answer(stream, asked))
        except OSError:
            connection.close()  # the client went away, or refused our certificate
        finally:
            self._exchange(open_now, None)

    def _exchange(self, old: socket.socket, new: socket.socket | None) -> None:
        """Forget one open socket and remember another."""
        with self._changed:
            self._sockets.discard(old)
            if new is not None:
                self._sockets.add(new)

    def _record(self, done: Request) -> None:
        with self._changed:
            self._requests.append(done)
            self._changed.notify_all()

    def _answer(self, stream: ssl.SSLSocket, asked: _Asked) -> Request:
        """Answer one request and tell what was sent."""
        with self._changed:
            offer = self._offers.get(asked.file_name)
        if offer is None:
            return _send_answer(stream, asked, NOT_FOUND)
        answer = _instead(offer.plan, asked)
        if answer is not None:
            return _send_answer(stream, asked, answer)
        return self._send_file(stream, asked, offer)

    def _send_file(self, stream: ssl.SSLSocket, asked: _Asked, offer: _Offer) -> Request:
        size = offer.path.stat().st_size
        start, end = _wanted(asked.headers, offer, size)
        if start >= size:
            return _send_answer(stream, asked, Answer(416, (("Content-Range", f"bytes */{size}"),)))
        status = 200 if (start, end) == (0, size) else 206
        stream.sendall(_head(status, _file_headers(offer, start, end, size)))
        sent = self._send_body(stream, offer, start, end)
        return asked.done(start, status, sent, complete=sent == end - start)

    def _send_body(self, stream: ssl.SSLSocket, offer: _Offer, start: int, end: int) -> int:
        plan = offer.plan
        stop_at = end - start
        dropped = bool(offer.drops)
        if dropped:
            stop_at = int(stop_at * offer.drops.pop(0))
        elif plan.stall_after is not None:
            stop_at = min(stop_at, plan.stall_after)
        elif plan.length == "short":
            stop_at -= stop_at // 4
        sent = 0
        with offer.path.open("rb") as file:
            file.seek(start)
            while sent < stop_at and not self._stopping.is_set():
                limit = min(_PIECE, stop_at - sent, plan.rate // 10 + 1 if plan.rate else _PIECE)
                piece = file.read(limit)
                try:
                    stream.sendall(piece)
                except OSError:
                    break  # the client had enough
                sent += len(piece)
                if plan.rate:
                    self._stopping.wait(0.1)
        if dropped:
            _shut(stream)  # what was sent arrives, the rest never comes
        elif plan.stall_after is not None:
            self._stopping.wait()
        return sent


def _send_answer(stream: ssl.SSLSocket, asked: _Asked, answer: Answer) -> Request:
    length = ("Content-Length", str(len(answer.body)))
    stream.sendall(_head(answer.status, (*answer.headers, length)) + answer.body)
    return asked.done(0, answer.status, len(answer.body), complete=True)


def _read_request(stream: ssl.SSLSocket) -> _Asked | None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = stream.recv(4096)
        if not piece or len(head) > _HEAD_LIMIT:
            return None
        head += piece
    first, *rest = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in rest)
    }
    target = urlsplit(first.split(" ")[1])
    host = headers.get("host", "").removesuffix(":443")
    return _Asked(host, target.path, _file_name(host, target.path, target.query), headers)


def _file_name(host: str, path: str, query: str) -> str:
    """Return the export a request is for, or "" where no export lives."""
    if host == AZURE_HOST and path.startswith("/exportcontainer/"):
        return path.removeprefix("/exportcontainer/")
    fields = parse_qs(query)
    if (
        host == ESTUARY_HOST
        and path == "/backend-api/estuary/content"
        and fields.get("p") == ["de"]
    ):
        return fields.get("id", [""])[0]
    return ""


def _instead(plan: Plan, asked: _Asked) -> Answer | None:
    """Return what is answered in place of the file, if the plan has something."""
    if plan.redirect_to is not None:
        return Answer(302, (("Location", plan.redirect_to),))
    if plan.wall is None:
        return None
    if plan.bearer is not None and asked.headers.get("authorization") == f"Bearer {plan.bearer}":
        return None
    return wall_answer(plan.wall, azure=asked.host == AZURE_HOST)


def _wanted(headers: dict[str, str], offer: _Offer, size: int) -> tuple[int, int]:
    """Return the first byte to send and the byte after the last one."""
    found = _RANGE.fullmatch(headers.get("range", ""))
    validator = headers.get("if-range")
    stale = validator is not None and (validator != offer.etag or validator.startswith("W/"))
    if found is None or not offer.plan.ranges or stale:
        return 0, size
    last = int(found[2]) if found[2] else size - 1
    return int(found[1]), min(last + 1, size)


def _file_headers(offer: _Offer, start: int, end: int, size: int) -> Headers:
    headers: list[tuple[str, str]] = [("Content-Type", "application/zip")]
    if offer.plan.length != "none":
        headers.append(("Content-Length", str(end - start)))
    if offer.plan.ranges:
        headers.append(("Accept-Ranges", "bytes"))
    if offer.etag:
        headers.append(("ETag", offer.etag))
    if (start, end) != (0, size):
        headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    return tuple(headers)


def _head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _shut(open_socket: socket.socket) -> None:
    try:
        open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already closed
