"""What the daemon and the process that drives Chromium say to each other, over a unix socket.

One connection carries one request and its replies: any number of `Progress`, then one that ends it.
A message is four bytes of length, big-endian, and JSON; a file goes along as a descriptor with the
length (SCM_RIGHTS). The signed URL and cookies travel here and nowhere else: not in an argument,
the environment or a file (I6). The side that closes early is done with it: the other then stops.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from types import UnionType
from typing import TypeVar

import msgspec

from backupd.download.cookies import Crumb
from backupd.download.session import Fields

LONGEST = 4 << 20
PATIENCE = 10.0
"""Seconds within which a message that has begun must have come."""
_LENGTH = 4

Pairs = tuple[tuple[str, str], ...]


class Talk(msgspec.Struct, frozen=True, tag=True):
    """One message; the name of its class goes with it. Its repr shows nothing that it carries."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Trust(msgspec.Struct, frozen=True):
    """Whom to trust and where to connect; `ca` is PEM, added to the system's store."""

    ca: str | None = None
    connect_to: Pairs = ()


class Get(Talk, frozen=True):
    """Download `url`, which has passed the link rules; at most `seconds` and `max_size` bytes.

    `now` is the time in epoch seconds, here and below. `reserve` bytes are to stay free.
    """

    profile: str
    url: str
    now: float
    seconds: float
    max_size: int
    reserve: int
    trust: Trust


class Look(Talk, frozen=True):
    """Say what is known of a profile; no browser is started."""

    profile: str


class Keep(Talk, frozen=True):
    """Put cookies into a profile."""

    profile: str
    now: float
    seconds: float
    crumbs: tuple[Crumb, ...]


class SignIn(Talk, frozen=True):
    """Open a window for a person to sign in, at most `seconds`."""

    profile: str
    now: float
    seconds: float
    trust: Trust


class Progress(Talk, frozen=True):
    """A sign of life, with the bytes downloaded and the whole size, if known."""

    done: int
    total: int | None


class Known(Talk, frozen=True):
    """What is known of a profile: how many cookies of the host, whether the session's is there,
    when that ends or ended (epoch seconds), and a mark that changes with each sign-in."""

    cookies: int
    has_session: bool
    until: float | None
    mark: str


class Downloaded(Talk, frozen=True):
    """The finished file comes along; `total` is the length that the server announced."""

    total: int | None
    fields: Fields
    signed: bool


class Answered(Talk, frozen=True):
    """The server gave a page: status, a few fields, its first bytes. `signed`: with cookies."""

    status: int
    fields: Fields
    head: bytes
    signed: bool


class Strayed(Talk, frozen=True):
    """The page led to where the link rules forbid to go; it was not asked for."""

    reason: str
    to_sign_in: bool
    signed: bool


class Failed(Talk, frozen=True):
    """Nothing came of it. `kind` is `missing`, `network`, `too-big` or `disk-full` (`number`)."""

    kind: str
    detail: str
    hint: str = ""
    number: int = 0


Request = Get | Look | Keep | SignIn
Reply = Progress | Known | Downloaded | Answered | Strayed | Failed
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply and the descriptor that came with it; whoever holds it closes that."""

    reply: Reply
    fd: int | None


class Broken(Exception):
    """The other side is gone, or speaks another language."""


def send(sock: socket.socket, message: Request | Reply, fd: int | None = None) -> None:
    """Send one message whole, with a descriptor if there is one.

    Raises:
        Broken: the other side is gone.
    """
    body = msgspec.json.encode(message)
    try:
        socket.send_fds(sock, [len(body).to_bytes(_LENGTH, "big")], [] if fd is None else [fd])
        sock.sendall(body)
    except OSError as error:
        raise Broken from error


def receive_request(sock: socket.socket) -> Request:
    """Receive the request.

    Raises:
        Broken: none came whole within `PATIENCE`.
    """
    body, fd = _receive(sock)
    if fd is not None:
        os.close(fd)
    return _decoded(body, Request)


def receive_reply(sock: socket.socket) -> Heard:
    """Receive one reply that has begun to arrive.

    Raises:
        Broken: the other side is gone, or says what is no reply.
    """
    body, fd = _receive(sock)
    try:
        return Heard(_decoded(body, Reply), fd)
    except Broken:
        if fd is not None:
            os.close(fd)
        raise


def _decoded(body: bytes, kind: type[T] | UnionType) -> T:
    try:
        decoded: T = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Broken from error
    return decoded


def _receive(sock: socket.socket) -> tuple[bytes, int | None]:
    sock.settimeout(PATIENCE)
    try:
        head, fds, _, _ = socket.recv_fds(sock, _LENGTH, 1, socket.MSG_CMSG_CLOEXEC)
    except OSError as error:
        raise Broken from error
    fd = fds[0] if fds else None
    try:
        head += _exactly(sock, _LENGTH - len(head)) if head else b""
        return _exactly(sock, _length(head)), fd
    except BaseException:
        if fd is not None:
            os.close(fd)
        raise


def _length(head: bytes) -> int:
    length = int.from_bytes(head, "big")
    if len(head) != _LENGTH or length > LONGEST:
        raise Broken
    return length


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        try:
            piece = sock.recv(min(length - len(data), 1 << 16))
        except OSError as error:
            raise Broken from error
        if not piece:
            raise Broken
        data += piece
    return bytes(data)
