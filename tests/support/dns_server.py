"""A DNS server on loopback that holds TXT records, behaves badly on demand, and notes questions."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

BEHAVIOURS = (
    "nxdomain",
    "no-txt",
    "servfail",
    "refused",
    "silent",
    "garbage",
    "other-id",
    "other-name",
    "empty-packet",
    "huge",
    "many",
    "truncated-for-ever",
    "endless-cname",
    "not-a-key",
    "withdrawn",
)
"""Every way of this server to be of no help."""


class DnsServer:
    """Answers on UDP and TCP at one port; use it in a `with`. `behaviour` None means well."""

    def __init__(self, records: Mapping[str, bytes] | None = None) -> None:
        self.records = dict(records or {})
        self.behaviour: str | None = None
        self.questions: list[str] = []
        self._udp = _Udp(("127.0.0.1", 0), _UdpHandler)
        self.port = int(self._udp.server_address[1])
        self._tcp = _Tcp(("127.0.0.1", self.port), _TcpHandler)
        self._released = threading.Event()
        for server in (self._udp, self._tcp):
            server.owner = self
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            for server in (self._udp, self._tcp)
        ]

    def __enter__(self) -> DnsServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._released.set()
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def answer(self, raw: bytes, *, udp: bool) -> bytes | None:
        """Return the answer to a question as it goes on the wire; None for silence."""
        question = dns.message.from_wire(raw)
        name = question.question[0].name
        self.questions.append(name.to_text(omit_final_dot=True).lower())
        if self.behaviour == "silent":
            return None
        if self.behaviour == "garbage":
            return b"\xff" * 40
        if self.behaviour == "empty-packet":
            return b""
        response = dns.message.make_response(question)
        self._fill(response, name, udp=udp)
        if self.behaviour == "other-id":
            response.id ^= 1
        return response.to_wire(max_size=65_535)

    def _fill(self, response: dns.message.Message, name: Any, *, udp: bool) -> None:
        codes = {"nxdomain": dns.rcode.NXDOMAIN, "servfail": dns.rcode.SERVFAIL}
        codes["refused"] = dns.rcode.REFUSED
        if self.behaviour in codes:
            response.set_rcode(codes[self.behaviour])
            return
        if self.behaviour == "truncated-for-ever":
            if udp:
                response.flags |= dns.flags.TC
            else:
                time.sleep(0)
                response.set_rcode(dns.rcode.SERVFAIL)
            return
        if self.behaviour == "endless-cname":
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", f"x.{name}"))
            return
        texts = self._texts(name.to_text(omit_final_dot=True).lower())
        if texts is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return
        owner = "elsewhere.example." if self.behaviour == "other-name" else name
        if texts:
            response.answer.append(
                dns.rrset.from_text(owner, 60, "IN", "TXT", *map(_quoted, texts))
            )

    def _texts(self, name: str) -> list[bytes] | None:
        match self.behaviour:
            case "no-txt":
                return []
            case "huge":
                return [b"v=DKIM1; p=" + b"A" * 60_000]
            case "many":
                return [b"v=DKIM1; k=rsa; n=%d; p=AAAA" % number for number in range(300)]
            case "not-a-key":
                return [b"v=spf1 include:_spf.example.com ~all"]
            case "withdrawn":
                return [b"v=DKIM1; k=rsa; p="]
        return [self.records[name]] if name in self.records else None


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True
    owner: DnsServer


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner: DnsServer


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        raw, sock = self.request
        answer = self.server.owner.answer(raw, udp=True)  # type: ignore[attr-defined]
        if answer is None:
            return
        if len(answer) > 1232:
            whole = dns.message.from_wire(answer)
            cut = dns.message.make_response(dns.message.from_wire(raw))
            cut.flags |= dns.flags.TC
            cut.id = whole.id
            answer = cut.to_wire()
        sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        size = int.from_bytes(self.rfile.read(2), "big")
        raw = self.rfile.read(size)
        if len(raw) < size or not size:
            return
        answer = self.server.owner.answer(raw, udp=False)  # type: ignore[attr-defined]
        if answer is not None:
            self.wfile.write(len(answer).to_bytes(2, "big") + answer)


def _quoted(text: bytes) -> str:
    pieces = [text[at : at + 255].decode("ascii") for at in range(0, len(text), 255)]
    return " ".join(f'"{piece}"' for piece in pieces)
