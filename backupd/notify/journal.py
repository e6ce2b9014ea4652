"""The journal: every notice as one entry with fields, by journald's native protocol.

One datagram to `/run/systemd/journal/socket` is one entry: `NAME=value` lines, or for a value with
line ends `NAME`, its length as 64 bits little-endian, and the value. An entry too long for a
datagram goes as a sealed memory file whose descriptor is sent instead. Where there is no journal
the notice is one line on stderr: plain on a terminal, JSON elsewhere.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ (2026-11-23).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from backupd.notice import Notice, Severity

SOCKET = Path("/run/systemd/journal/socket")

_PRIORITY = {Severity.INFO: 6, Severity.WARNING: 4, Severity.ERROR: 3}
_MESSAGE_IDS = uuid.UUID("3d9d6b1e-7d5a-4c55-9f0c-6c1c5e2f6a71")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_PATIENCE = 2.0
"""Seconds to wait for a journal whose queue is full."""


def message_id(event: str) -> str:
    """Return the MESSAGE_ID of an event: 32 hex digits, the same in every version."""
    return uuid.uuid5(_MESSAGE_IDS, event).hex


def fields_of(notice: Notice) -> dict[str, str]:
    """Return the journal fields of a notice; its own are prefixed with BACKUPD_."""
    fields = {
        "MESSAGE": f"{notice.title}\n{notice.body}",
        "PRIORITY": str(_PRIORITY[notice.severity]),
        "MESSAGE_ID": message_id(notice.event),
        "SYSLOG_IDENTIFIER": "backupd",
        "BACKUPD_EVENT": notice.event,
        "BACKUPD_SEVERITY": notice.severity.value,
    }
    if notice.snapshot:
        fields["BACKUPD_SNAPSHOT"] = notice.snapshot
    if notice.delivery:
        fields["BACKUPD_DELIVERY"] = notice.delivery
    return fields | {f"BACKUPD_{name.upper()}": str(value) for name, value in notice.fields.items()}


def encode(fields: dict[str, str]) -> bytes:
    """Write fields in the native protocol; names are A-Z, 0-9 and `_`, as journald demands."""
    return b"".join(_field(name.encode("ascii"), value) for name, value in fields.items())


def _field(name: bytes, value: str) -> bytes:
    raw = value.encode("utf-8", "backslashreplace")
    if b"\n" not in raw:
        return name + b"=" + raw + b"\n"
    return name + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n"


class Journal:
    """Sends notices to the journal at `path`, or writes them to `fallback` (default stderr)."""

    def __init__(self, path: Path = SOCKET, fallback: TextIO | None = None) -> None:
        self._path = path
        self._fallback = fallback

    def send(self, notice: Notice) -> None:
        """Hand the notice over; a journal that cannot be used means the line, never an error."""
        try:
            self._send(encode(fields_of(notice)))
        except OSError:
            self._write(notice)

    def _send(self, entry: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_PATIENCE)
            channel.connect(str(self._path))
            try:
                channel.send(entry)
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                _send_as_file(channel, entry)

    def _write(self, notice: Notice) -> None:
        stream = self._fallback if self._fallback is not None else sys.stderr
        try:
            line = _plain_line(notice) if stream.isatty() else _json_line(notice)
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError, AttributeError):
            return  # stderr is closed, or None; the notice log still has it


def open_journal(environ: Mapping[str, str] = os.environ) -> Journal:
    """Return the journal of this machine, or stderr where there is none.

    With `BACKUPD_JOURNAL=off` in the environment it is stderr always: a demo or a test leaves
    nothing in the machine's journal.
    """
    return Journal(Path(os.devnull) if environ.get("BACKUPD_JOURNAL") == "off" else SOCKET)


def _send_as_file(channel: socket.socket, entry: bytes) -> None:
    """Send an entry that no datagram holds, as a memory file that nobody can change any more."""
    descriptor = os.memfd_create("backupd-notice", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(entry)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(channel, [b""], [descriptor])
    finally:
        os.close(descriptor)


def _plain_line(notice: Notice) -> str:
    text = " ".join(notice.body.split())
    return f"backupd: {notice.severity.value}: {notice.title}: {text}"


def _json_line(notice: Notice) -> str:
    entry = {
        "event": notice.event,
        "severity": notice.severity.value,
        "title": notice.title,
        "body": notice.body,
        "delivery": notice.delivery,
        "snapshot": notice.snapshot,
        "fields": dict(notice.fields),
    }
    return json.dumps({name: value for name, value in entry.items() if value is not None})
