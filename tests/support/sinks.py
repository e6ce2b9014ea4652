"""Servers on loopback that take notices as their services would."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the HTTP sink got."""

    path: str
    headers: dict[str, str]
    json: Any


@dataclass(slots=True)
class HttpSink:
    """An HTTP server that keeps what it gets.

    `statuses` are used up one a request, then 200; while `gate` is not set, answers wait for it.
    """

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def titles(self) -> list[str]:
        """The titles of the notices that were accepted."""
        return [request.json["title"].removeprefix("backupd: ") for request in self.requests]


@contextmanager
def http_sink() -> Iterator[HttpSink]:
    """Run an HTTP sink on a port of its own."""
    sink = HttpSink()
    sink.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sink.arrived.release()
            sink.gate.wait(20)
            status = sink.statuses.pop(0) if sink.statuses else 200
            if status == 200:
                sink.requests.append(Request(self.path, dict(self.headers), json.loads(raw)))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink
    finally:
        sink.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """Return a port of loopback at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@dataclass
class SmtpSink:
    """An SMTP server that keeps what it gets."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802  # aiosmtpd's name
        self, server: object, session: object, envelope: Any
    ) -> str:
        """Take one mail."""
        self.mails.append(envelope.content)
        return "250 OK"


@contextmanager
def smtp_sink() -> Iterator[SmtpSink]:
    """Run an SMTP sink on a port of its own."""
    sink = SmtpSink()
    sink.port = free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=sink.port)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()
