"""What a server can do wrong in one answer: scripts for `tests.support.https.Server`."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from tests.support.https import Exchange, Script, sample, serve

DATA = sample()
OTHER = sample(seed=2)[: len(DATA)]
SMALL = sample(128 * 1024, seed=3)
CUT = len(DATA) // 2
TAG = 'ETag: "kept"'


def status(code: int, *fields: str, body: bytes = b"{}") -> Script:
    """Answer always with a status."""
    return lambda exchange: exchange.answer(code, body, *fields)


def redirect(target: str, code: int = 302) -> Script:
    """Answer always with a redirect."""
    return lambda exchange: exchange.answer(code, b"", f"Location: {target}")


def once(bad: Script, good: Script | None = None) -> Script:
    """Do wrong in the first request, then serve."""
    return lambda exchange: (good or serve(DATA))(exchange) if exchange.number else bad(exchange)


def headed(*fields: str, data: bytes = DATA) -> Script:
    """Send 200 with exactly these header fields and this body, then close."""

    def script(exchange: Exchange) -> None:
        exchange.head(200, *fields)
        exchange.send(data)

    return script


def chunked(data: bytes, end: bytes = b"0\r\n\r\n") -> Script:
    """Send a chunked body."""

    def script(exchange: Exchange) -> None:
        exchange.head(200, "Transfer-Encoding: chunked")
        for at in range(0, len(data), 50_000):
            piece = data[at : at + 50_000]
            exchange.send(f"{len(piece):x}\r\n", piece, b"\r\n")
        exchange.send(end)

    return script


def ranged(fields: Callable[[int], str], *more: str, data: bytes = DATA, shift: int = 0) -> Script:
    """Answer 206 from the first byte asked for, plus `shift`, with the Content-Range given."""

    def script(exchange: Exchange) -> None:
        start = (exchange.request.start or 0) + shift
        exchange.head(206, fields(start), f"Content-Length: {len(data) - start}", *more)
        exchange.send(data[start:])

    return script


def spans(start: int) -> str:
    """Return the truthful Content-Range from `start`."""
    return f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"


def truthful(*fields: str, data: bytes = DATA) -> Script:
    """Serve ranges without looking at If-Range."""

    def script(exchange: Exchange) -> None:
        if exchange.request.start is None:
            exchange.answer(200, data, *fields)
        else:
            ranged(spans, *fields, data=data)(exchange)

    return script


def short_ranges(exchange: Exchange) -> None:
    """Serve at most 200,000 bytes of any range."""
    start = exchange.request.start
    if start is None:
        exchange.answer(200, DATA, TAG)
        return
    last = min(start + 200_000, len(DATA)) - 1
    fields = f"Content-Range: bytes {start}-{last}/{len(DATA)}"
    exchange.answer(206, DATA[start : last + 1], fields, TAG)


def no_progress(exchange: Exchange) -> None:
    """Serve ranges that never get beyond the overlap."""
    start = exchange.request.start or 0
    fields = f"Content-Range: bytes {start}-{start + 65_535}/{len(DATA)}"
    exchange.answer(206, DATA[start : start + 65_536], fields, TAG)


def never_fits(exchange: Exchange) -> None:
    """Serve the beginning as a range, and a wrong one instead of any continuation."""
    start = 0 if exchange.request.start is None else 7
    fields = f"Content-Range: bytes {start}-{start + 199_999}/{len(DATA)}"
    exchange.answer(206, DATA[start : start + 200_000], fields, 'ETag: "kept"')


def stalls_after(count: int) -> Script:
    """Send a part of a correct answer, then nothing."""

    def script(exchange: Exchange) -> None:
        start = exchange.request.start or 0
        _begin(exchange, start)
        exchange.send(DATA[start : start + count])
        exchange.stall()

    return script


def drips_body(exchange: Exchange) -> None:
    """Send a correct answer byte by byte."""
    start = exchange.request.start or 0
    _begin(exchange, start)
    exchange.drip(DATA[start:])


def resets_body(exchange: Exchange) -> None:
    """Break a correct answer with a RST."""
    start = exchange.request.start or 0
    _begin(exchange, start)
    exchange.send(DATA[start : start + 100_000])
    exchange.reset()


def _begin(exchange: Exchange, start: int) -> None:
    length = f"Content-Length: {len(DATA) - start}"
    if exchange.request.start is None:
        exchange.head(200, length, TAG)
    else:
        exchange.head(206, length, spans(start), TAG)


def babbles(line: bytes) -> Script:
    """Send a line for ever, as long as somebody listens."""

    def script(exchange: Exchange) -> None:
        while not exchange.ended.is_set():
            exchange.send(line * 100)

    return script


def hops(count: int, target: str) -> Script:
    """Redirect to `target` `count` times, then serve."""

    def script(exchange: Exchange) -> None:
        if exchange.number < count:
            exchange.answer(302, b"", f"Location: {target}")
        else:
            serve(DATA, etag='"kept"')(exchange)

    return script


def interim(exchange: Exchange) -> None:
    """Precede a correct answer by interim ones."""
    exchange.send(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3
    )
    serve(DATA, etag='"kept"')(exchange)


def stalls_handshake(_: socket.socket, ended: threading.Event) -> bool:
    """Accept and stay silent."""
    ended.wait(30)
    return False


def drips_handshake(sock: socket.socket, ended: threading.Event) -> bool:
    """Begin a TLS record and never finish it."""
    sock.sendall(b"\x16\x03\x03\x40\x00")
    while not ended.wait(0.05):
        sock.sendall(b"\x02")
    return False


def resets_handshake(sock: socket.socket, _: threading.Event) -> bool:
    """Break the connection at once."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def speaks_clear(sock: socket.socket, _: threading.Event) -> bool:
    """Speak HTTP without TLS."""
    sock.recv(4096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    return False


def hesitates(_: socket.socket, ended: threading.Event) -> bool:
    """Let the client wait a little before the handshake."""
    ended.wait(0.3)
    return True


def breaks_off(sixteenth: int) -> Script:
    """Serve correctly, but break off after so many sixteenths of what was asked for."""

    def script(exchange: Exchange) -> None:
        have = 0 if exchange.request.start is None else CUT
        until = have + (len(DATA) - have) * sixteenth // 16
        serve(DATA, etag='"kept"', until=until)(exchange)

    return script
