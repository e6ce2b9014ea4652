"""A small IMAP server over TLS that can be told to misbehave on the wire.

Left alone it serves one account with mail in memory, well enough for the watcher. A test changes
its ways through `Faults`, or hooks a command: `hooks["IDLE"] = function`, which gets the
connection and the command's tag and arguments and returns True if it has answered.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme

from backupd.config import MailboxSettings

Hook = Callable[["Connection", str, str], bool]

_CAPABILITIES = "IMAP4rev1 AUTH=PLAIN IDLE SPECIAL-USE"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@functools.cache
def _certificate() -> tuple[ssl.SSLContext, bytes]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context, authority.cert_pem.bytes()


@dataclass
class Mail:
    """One mail of a folder."""

    uid: int
    raw: bytes
    received_at: datetime


@dataclass
class Folder:
    """A folder in memory."""

    uidvalidity: int = 100
    uidnext: int = 1
    mails: list[Mail] = field(default_factory=list)
    flags: str = ""


class ScriptedImap:
    """The server; a context manager. `commands` is every line that clients sent, in order."""

    def __init__(self, *, starttls: bool = False) -> None:
        self.folders: dict[str, Folder] = {"INBOX": Folder(), "Junk": Folder(flags=r"\Junk")}
        self.capabilities = _CAPABILITIES
        self.zone = "+0000"
        self.greeting = "* OK ready"
        self.hooks: dict[str, Hook] = {}
        self.username = "user"
        self.password = self.password_of_user = "correct horse"
        self.refusals = 0
        self.commands: list[str] = []
        self.connections = 0
        self.logins = 0
        self.starttls = starttls
        self.idling = 0
        self._open: set[Connection] = set()
        self._changed = threading.Condition()

    def __enter__(self) -> ScriptedImap:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.tls, self.ca_pem = _certificate()
        self._closing = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self.drop()
        for thread in list(self._threads):
            thread.join(5)
        self._listener.close()

    def settings(self, directory: Path, **changes: Any) -> MailboxSettings:
        """Return the settings that lead here; the authority's certificate goes to `directory`."""
        ca_file = directory / "scripted-ca.pem"
        ca_file.write_bytes(self.ca_pem)
        values: dict[str, Any] = {
            "name": "test",
            "host": "localhost",
            "port": self.port,
            "ca_file": ca_file,
            "username": self.username,
            "security": "starttls" if self.starttls else "tls",
            "connect_timeout": 2.0,
            "read_timeout": 2.0,
        }
        return MailboxSettings(**{**values, **changes})

    def deliver(self, raw: bytes, folder: str = "INBOX", at: datetime | None = None) -> int:
        """Put a mail into a folder; connections in IDLE hear of it."""
        uid = self.put(self.folders[folder], raw, at)
        for connection in list(self._open):
            connection.news(folder)
        return uid

    def put(self, box: Folder, raw: bytes, at: datetime | None = None) -> int:
        """Put a mail into a folder, which may be away at the moment; nobody hears of it."""
        with self._changed:
            mail = Mail(box.uidnext, raw, at or datetime.now(UTC))
            box.uidnext += 1
            box.mails.append(mail)
            self._changed.notify_all()
        return mail.uid

    def drop(self) -> None:
        """Cut every connection."""
        for connection in list(self._open):
            connection.cut()

    def wait(self, satisfied: Callable[[ScriptedImap], bool], seconds: float = 10) -> None:
        """Block until `satisfied(self)`; it is looked at after every command."""
        with self._changed:
            if not self._changed.wait_for(lambda: satisfied(self), seconds):
                raise AssertionError(f"not in {seconds} s; commands: {self.commands[-20:]}")

    def wait_out(self, seconds: float) -> None:
        """Let time pass; what is watched is what happens meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def note(self, line: str = "") -> None:
        """Record a command, or only that something changed."""
        with self._changed:
            if line:
                self.commands.append(line)
            self._changed.notify_all()

    def count_idle(self, change: int) -> None:
        """Count a connection into or out of IDLE."""
        with self._changed:
            self.idling += change
            self._changed.notify_all()

    def _accept(self) -> None:
        while not self._closing:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, plain)
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(OSError, ValueError):
            connection.serve()
        self._open.discard(connection)
        connection.close()
        self.note()


class Connection:
    """One client's connection."""

    def __init__(self, server: ScriptedImap, plain: socket.socket) -> None:
        self.server = server
        self.folder: str | None = None
        self.in_idle = False
        self._socket: socket.socket = plain
        self._bell, self._ear = socket.socketpair()
        self._buffer = b""

    def serve(self) -> None:
        """Greet, then answer commands until the client goes."""
        if self._hooked("CONNECT", "", ""):
            return
        if not self.server.starttls:
            self._wrap()
        if not self._hooked("GREETING", "", ""):
            self.send(f"{self.server.greeting}\r\n")
        while (line := self.line()) is not None:
            self.server.note(line)
            tag, _, rest = line.partition(" ")
            verb, _, arguments = rest.partition(" ")
            if verb == "UID":
                verb, _, arguments = arguments.partition(" ")
            if self._hooked(verb.upper(), tag, arguments):
                continue
            getattr(self, f"do_{verb.lower()}", self.do_unknown)(tag, arguments)
            if verb.upper() == "LOGOUT":
                return

    def send(self, text: str | bytes) -> None:
        """Send as one TLS record."""
        self._socket.sendall(text.encode() if isinstance(text, str) else text)

    def reset(self) -> None:
        """End the connection with a RST in place of a FIN."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def line(self) -> str | None:
        """Read one line; None at the end of the connection."""
        while b"\r\n" not in self._buffer:
            piece = self._socket.recv(65536)
            if not piece:
                return None
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "replace")

    def cut(self) -> None:
        """End the connection from another thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the sockets."""
        for one in (self._socket, self._bell, self._ear):
            one.close()

    def news(self, folder: str) -> None:
        """Have a client in IDLE told that a folder grew."""
        if self.in_idle and self.folder == folder:
            with contextlib.suppress(OSError):
                self._bell.send(b"!")

    def do_unknown(self, tag: str, arguments: str) -> None:
        self.send(f"{tag} BAD unknown command\r\n")

    def do_capability(self, tag: str, arguments: str) -> None:
        offered = self.server.capabilities + (" STARTTLS" if self.server.starttls else "")
        self.send(f"* CAPABILITY {offered}\r\n{tag} OK done\r\n")

    def do_starttls(self, tag: str, arguments: str) -> None:
        self.send(f"{tag} OK begin TLS\r\n")
        self._wrap()

    def do_noop(self, tag: str, arguments: str) -> None:
        self.send(f"{tag} OK done\r\n")

    def do_logout(self, tag: str, arguments: str) -> None:
        self.send(f"* BYE bye\r\n{tag} OK done\r\n")

    def do_login(self, tag: str, arguments: str) -> None:
        wanted = f'{self.server.username} "{self.server.password}"'
        self._logged_in(tag, ok=arguments == wanted)

    def do_authenticate(self, tag: str, arguments: str) -> None:
        self.send("+ \r\n")
        wanted = f"\0{self.server.username}\0{self.server.password}".encode()
        self._logged_in(tag, ok=base64.b64decode(self.line() or "") == wanted)

    def do_list(self, tag: str, arguments: str) -> None:
        for name, folder in self.server.folders.items():
            self.send(f'* LIST ({folder.flags}) "/" "{name}"\r\n')
        self.send(f"{tag} OK done\r\n")

    def do_examine(self, tag: str, arguments: str) -> None:
        name = arguments.strip('"')
        folder = self.server.folders.get(name)
        if folder is None:
            self.send(f"{tag} NO [NONEXISTENT] no such mailbox\r\n")
            return
        self.folder = name
        self.send(
            f"* {len(folder.mails)} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n"
            f"* OK [UIDVALIDITY {folder.uidvalidity}] ok\r\n* OK [UIDNEXT {folder.uidnext}] ok\r\n"
            f"{tag} OK [READ-ONLY] done\r\n"
        )

    def do_search(self, tag: str, arguments: str) -> None:
        mails = self._folder().mails
        since = re.search(r"SINCE (\d+)-(\w+)-(\d+)", arguments)
        first = re.search(r"UID (\d+):\*", arguments)
        wanted = [mail for mail in mails if b"openai.com" in mail.raw.partition(b"\r\n\r\n")[0]]
        if since:
            day = date(int(since[3]), _MONTHS.index(since[2]) + 1, int(since[1]))
            wanted = [mail for mail in wanted if mail.received_at.date() >= day]
        if first:
            last = mails[-1].uid if mails else 0
            wanted = [mail for mail in wanted if mail.uid >= int(first[1]) or mail.uid == last]
        uids = "".join(f" {mail.uid}" for mail in wanted)
        self.send(f"* SEARCH{uids}\r\n{tag} OK done\r\n")

    def do_fetch(self, tag: str, arguments: str) -> None:
        numbers, _, items = arguments.partition(" ")
        wanted = {int(number) for number in numbers.split(",")}
        for sequence, mail in enumerate(self._folder().mails, 1):
            if mail.uid in wanted:
                self.send(b"* %d FETCH (%s)\r\n" % (sequence, self.fetched(mail, items)))
        self.send(f"{tag} OK done\r\n")

    def fetched(self, mail: Mail, items: str) -> bytes:
        """Return the answer to a FETCH for one mail, without its brackets."""
        at = mail.received_at.astimezone(datetime.strptime(self.server.zone, "%z").tzinfo)
        stamp = f"{at.day:2d}-{_MONTHS[at.month - 1]}-{at:%Y %H:%M:%S} {self.server.zone}"
        parts = [f"UID {mail.uid}".encode()]
        if "RFC822.SIZE" in items:
            parts.append(f'RFC822.SIZE {len(mail.raw)} INTERNALDATE "{stamp}"'.encode())
        if "HEADER.FIELDS" in items:
            head = mail.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            name = b"BODY[HEADER.FIELDS (FROM SUBJECT DATE MESSAGE-ID)]"
            parts.append(name + b" {%d}\r\n" % len(head) + head)
        if "BODY.PEEK[]" in items:
            parts.append(b"BODY[] {%d}\r\n" % len(mail.raw) + mail.raw)
        return b" ".join(parts)

    def do_idle(self, tag: str, arguments: str) -> None:
        self.send("+ idling\r\n")
        self.rest_in_idle(tag)

    def rest_in_idle(self, tag: str) -> None:
        """Wait for DONE, telling of new mails meanwhile."""
        self.in_idle = True
        self.server.count_idle(1)
        try:
            while self._hears_bell():
                self.send(f"* {len(self._folder().mails)} EXISTS\r\n")
            line = self.line()
            if line is None:
                raise OSError("the client went away in IDLE")
        finally:
            self.in_idle = False
            self.server.count_idle(-1)
        self.server.note(line)
        self.send(f"{tag} OK idle ended\r\n")

    def _hears_bell(self) -> bool:
        """Wait for the bell or the client; False if it was the client."""
        if self._buffer:
            return False
        ready, _, _ = select.select([self._socket, self._ear], [], [])
        if self._ear in ready:
            self._ear.recv(1024)
        return self._ear in ready

    def wait_for_client(self, seconds: float) -> None:
        """Say nothing until the client speaks or goes away or the time is over."""
        self.client_speaks(seconds)

    def client_speaks(self, seconds: float) -> bool:
        """Wait so long for the client, and tell whether it said something or went away."""
        return bool(self._buffer or select.select([self._socket], [], [], seconds)[0])

    def _logged_in(self, tag: str, *, ok: bool) -> None:
        if self._hooked("LOGGED-IN", tag, ""):
            self.server.refusals += 1
            self.server.note()
            return
        if ok:
            self.server.logins += 1
            self.send(f"{tag} OK logged in\r\n")
        else:
            self.send(f"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n")
            self.server.refusals += 1
            self.server.note()

    def _folder(self) -> Folder:
        return self.server.folders[self.folder or "INBOX"]

    def _hooked(self, name: str, tag: str, arguments: str) -> bool:
        hook = self.server.hooks.get(name)
        return hook is not None and hook(self, tag, arguments)

    def _wrap(self) -> None:
        self._socket = self.server.tls.wrap_socket(self._socket, server_side=True)
