"""The kinds of IMAP fault: what a server does wrong, and from where on until it is mended.

A kind is a hook of the scripted server. Some answer one command wrongly; some change the server
and cut the connection, so that whatever comes next meets the change. `Fault` makes a kind strike at
a position, and mends everything at once.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass

import trustme

from tests.support.scripted_imap import Connection, Folder, Hook, ScriptedImap

POSITIONS = ("start", "IDLE", "fetch")
CANARY = "https://chatgpt.com/x?sig=canary"
_LONG = 30.0


@dataclass(frozen=True)
class Kind:
    """One kind; `start` is the place at which it strikes at the start of a connection.

    `refused`: it is a refusal of the login, after which nobody may try again.
    """

    name: str
    strike: Hook
    start: str = "EXAMINE"
    refused: bool = False


class Fault:
    """A kind that strikes at a position, from `begin` until `mend`; `struck` counts."""

    def __init__(self, server: ScriptedImap, kind: Kind, position: str) -> None:
        self._server = server
        self._kind = kind
        self._position = position
        self._active = threading.Event()
        self._is_lasting = isinstance(kind.strike, _FromNowOn)
        self.struck = 0

    def begin(self) -> None:
        """Let the kind strike from now on."""
        server = self._server
        self._kept = (
            server.capabilities, server.password, server.greeting, server.tls, dict(server.folders),
        )  # fmt: skip
        self._active.set()
        if self._position == "start" and isinstance(self._kind.strike, _FromNowOn):
            self._kind.strike.change(server)
            self.struck = 1
            return
        place = {"start": self._kind.start, "IDLE": "IDLE", "fetch": "FETCH"}[self._position]
        server.hooks[place] = self._in_idle if place == "IDLE" else self._strike

    def mend(self) -> None:
        """Make the server a good one again; what hangs in a strike ends."""
        self._active.clear()
        server = self._server
        server.hooks.clear()
        (
            server.capabilities, server.password, server.greeting, server.tls, server.folders,
        ) = self._kept  # fmt: skip

    def _strike(self, connection: Connection, tag: str, arguments: str) -> bool:
        if not self._active.is_set() or (self.struck and self._is_lasting):
            return False
        self.struck += 1
        self._server.note()
        with contextlib.suppress(ssl.SSLError):
            return self._kind.strike(connection, tag, arguments)
        return True

    def _in_idle(self, connection: Connection, tag: str, arguments: str) -> bool:
        """Strike inside of IDLE, a moment after it was entered; together with that if so asked."""
        if not self._active.is_set() or (self.struck and self._is_lasting):
            return False
        if self._kind.strike is _coalesced:
            connection.send("+ idling\r\n* 7 EXISTS\r\n")
            self.struck += 1
            self._server.note()
        else:
            connection.send("+ idling\r\n")
            connection.wait_for_client(0.05)
            if self._strike(connection, tag, arguments):
                return True
        connection.rest_in_idle(tag)
        return True


def _mute(connection: Connection, tag: str, arguments: str) -> bool:
    connection.wait_for_client(_LONG)
    connection.cut()
    return True


def _end(connection: Connection, tag: str, arguments: str) -> bool:
    connection.cut()
    return True


def _reset(connection: Connection, tag: str, arguments: str) -> bool:
    connection.reset()
    return True


def _says(text: str, then: str = "go on") -> Hook:
    """Send a text, `TAG` standing for the tag; then "go on", "cut", "mute" or be "done"."""

    def strike(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send(text.replace("TAG", tag or "*").encode("latin-1"))
        if then == "mute":
            connection.wait_for_client(_LONG)
        if then in ("cut", "mute"):
            connection.cut()
        return then != "go on"

    return strike


def _in_two_packets(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* 3 EXI")
    connection.wait_for_client(0.1)
    connection.send("STS\r\n")
    return False


def _long_line(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send(b"* OK " + b"x" * 1_100_000 + f"\r\n{tag} OK done\r\n".encode())
    connection.wait_for_client(1)
    return True


def _drip(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* OK ")
    while connection.server.hooks and not connection.client_speaks(0.05):
        connection.send("x")
    connection.cut()
    return True


def _flood(connection: Connection, tag: str, arguments: str) -> bool:
    for _ in range(500):
        connection.send(b"* OK " + b"x" * 10_000 + b"\r\n")
    connection.wait_for_client(5)
    return True


def _coalesced(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* 7 EXISTS\r\n")
    return False


@dataclass(frozen=True)
class _FromNowOn:
    """Change the server and cut the connection, once: the next one meets what has changed."""

    change: Callable[[ScriptedImap], None]

    def __call__(self, connection: Connection, tag: str, arguments: str) -> bool:
        self.change(connection.server)
        connection.cut()
        return True


def _hook(place: str, hook: Hook) -> Hook:
    """Have a place of every further connection answered wrongly."""

    def change(server: ScriptedImap) -> None:
        server.hooks[place] = hook

    return _FromNowOn(change)


def _set(name: str, value: object) -> Hook:
    return _FromNowOn(lambda server: setattr(server, name, value))


def _clear_text(connection: Connection, tag: str, arguments: str) -> bool:
    connection.send("* OK no TLS here\r\n")
    connection.wait_for_client(1)
    return True


def _roll(server: ScriptedImap) -> None:
    """Give every mail of the folder a new UID, once."""
    box = server.folders["INBOX"]
    if box.uidvalidity == 100:
        box.uidvalidity, box.uidnext = 4242, len(box.mails) + 1
        for number, mail in enumerate(box.mails, 1):
            mail.uid = number


def _gap(server: ScriptedImap) -> None:
    server.folders["INBOX"].uidnext += 1000


def _rename(name: str) -> Callable[[ScriptedImap], None]:
    def change(server: ScriptedImap) -> None:
        box = server.folders.get("INBOX", Folder())
        server.folders = {name: box, "Junk": server.folders["Junk"]}

    return change


def _without_uidnext(connection: Connection, tag: str, arguments: str) -> bool:
    folder = connection.server.folders.get(arguments.strip('"'))
    if folder is None:
        return False
    connection.folder = arguments.strip('"')
    connection.send(
        f"* {len(folder.mails)} EXISTS\r\n* OK [UIDVALIDITY {folder.uidvalidity}] ok\r\n"
        f"{tag} OK [READ-ONLY] done\r\n"
    )
    return True


@functools.cache
def _context(kind: str) -> ssl.SSLContext:
    """Make the server's side of TLS with a certificate that must not be accepted."""
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    issued = trustme.CA().issue_cert(
        "other.example" if kind == "host" else "localhost",
        not_after=past if kind == "expired" else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


def _certificate(kind: str) -> Hook:
    return _FromNowOn(lambda server: setattr(server, "tls", _context(kind)))


_NESTED = "(" * 20_000
_NOISE = (
    "* 9 FETCH (UID 99 FLAGS (\\Seen) BODY[] {2}\r\nno)\r\n* 1 EXPUNGE\r\n"
    "* 1 FETCH (FLAGS (\\Recent) X-OTHER (a (b NIL)) MODSEQ (12))\r\n"
)
_DENIED = "TAG NO [AUTHENTICATIONFAILED] Invalid credentials\r\n"

KINDS = (
    # the connection
    Kind("mute", _mute, "GREETING"),
    Kind("end of file", _end, "GREETING"),
    Kind("reset", _reset, "GREETING"),
    Kind("BYE", _says("* BYE too busy\r\n", "cut"), "GREETING"),
    Kind("BYE, and stays", _says("* BYE too busy\r\n", "mute")),
    Kind("TLS never begins", _hook("CONNECT", _mute), "GREETING"),
    Kind("clear text for TLS", _hook("CONNECT", _clear_text), "GREETING"),
    Kind("refuses connections", _hook("CONNECT", _reset), "GREETING"),
    Kind("certificate of another authority", _certificate("authority"), "GREETING"),
    Kind("certificate of another host", _certificate("host"), "GREETING"),
    Kind("certificate expired", _certificate("expired"), "GREETING"),
    # lines and literals
    Kind("half a line", _says("* 1 EXI", "cut")),
    Kind("half a line, then mute", _says("* 1 EXI", "mute")),
    Kind("line in two packets", _in_two_packets),
    Kind("garbage", _says(f"\x00\xff)(((( {CANARY}\r\n* {{\r\nTAG OK\r\n", "cut"), "GREETING"),
    Kind("NUL and 8-bit", _says("* OK \x00\xff\xfe\r\n")),
    Kind("line beyond 1 MB", _long_line),
    Kind("nested parentheses", _says(f"* 1 FETCH {_NESTED}\r\nTAG OK d\r\n", "done")),
    Kind("literal beyond all bounds", _says("* 1 FETCH (BODY[] {99999999999}\r\nxx", "cut")),
    Kind("literal too short", _says(f"* 1 FETCH (BODY[] {{3}}\r\nFrom: {CANARY}\r\n)\r\n", "cut")),
    Kind("literal cut off", _says("* 1 FETCH (UID 1 BODY[] {4000}\r\nFrom: x\r\n", "cut")),
    Kind("literal that stalls", _says("* 1 FETCH (UID 1 BODY[] {4000}\r\nFrom: x\r\n", "mute")),
    Kind("negative literal", _says("* 1 FETCH (UID 1 BODY[] {-5}\r\n)\r\nTAG OK d\r\n", "done")),
    Kind("drip", _drip),
    Kind("flood", _flood),
    # answers
    Kind("wrong tag", _says("zz99 OK done\r\n", "mute")),
    Kind("answered twice", _says("TAG OK done\r\n")),
    Kind("continuation out of place", _says("+ go on\r\n")),
    Kind("unavailable", _says("TAG NO [UNAVAILABLE] Temporary failure\r\n", "done")),
    Kind("throttled", _says("TAG NO [THROTTLED] slow down, try again\r\n", "done")),
    Kind("in use", _says("TAG NO [INUSE] mailbox is locked\r\n", "done")),
    Kind("server bug", _says("TAG NO [SERVERBUG] internal error\r\n", "done")),
    Kind("BAD", _says("TAG BAD what\r\n", "done")),
    Kind("alert", _says("* OK [ALERT] maintenance at noon\r\n")),
    Kind("unsolicited data", _says(_NOISE)),
    Kind("coalesced EXISTS", _coalesced),
    Kind("OK without data", _says("TAG OK done\r\n", "done"), "SEARCH"),
    Kind("bad charset", _hook("SEARCH", _says("TAG NO [BADCHARSET (US-ASCII)] x\r\n", "done"))),
    # the login
    Kind("login refused", _hook("LOGGED-IN", _says(_DENIED, "done")), "GREETING", refused=True),
    Kind("password changed", _set("password", "another"), "GREETING", refused=True),
    Kind(
        "wants an app password",
        _hook("LOGGED-IN", _says("TAG NO [ALERT] App password required\r\n", "done")),
        "GREETING",
        refused=True,
    ),
    Kind(
        "login unavailable",
        _hook("LOGGED-IN", _says("TAG NO [UNAVAILABLE] Temporary failure\r\n", "done")),
        "GREETING",
    ),
    Kind(
        "too many connections",
        _hook("LOGGED-IN", _says("TAG NO [ALERT] Too many simultaneous connections\r\n", "done")),
        "GREETING",
    ),
    Kind("session expired", _says("TAG NO [EXPIRED] token has expired\r\n", "done")),
    # folders and capabilities
    Kind("no IDLE", _set("capabilities", "IMAP4rev1 AUTH=PLAIN"), "GREETING"),
    Kind("UIDVALIDITY rolls", _FromNowOn(_roll), "GREETING"),
    Kind("UIDs leap", _FromNowOn(_gap), "GREETING"),
    Kind("no UIDNEXT", _hook("EXAMINE", _without_uidnext), "GREETING"),
    Kind("folder missing", _FromNowOn(lambda server: server.folders.pop("INBOX", None)), "LIST"),
    Kind("folder renamed", _FromNowOn(_rename("Old mail")), "GREETING"),
    Kind("folder renamed beyond ASCII", _FromNowOn(_rename("Entw&APw-rfe")), "GREETING"),
)
