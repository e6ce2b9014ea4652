"""The journal by its native protocol, against a socket of our own that decodes what arrives."""

from __future__ import annotations

import array
import io
import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd import notice
from backupd.notice import Notice, Severity
from backupd.notify.journal import Journal, message_id

MESSAGE_IDS = Path(__file__).parents[1] / "data" / "message-ids.txt"


class Sink:
    """A journal socket: receives entries, also those that come as a memory file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def receive(self) -> dict[str, str]:
        room = socket.CMSG_LEN(struct.calcsize("i"))
        data, extra, _flags, _address = self._socket.recvmsg(1024 * 1024, room)
        for level, kind, raw in extra:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            (descriptor,) = array.array("i", raw)
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                data = file.read()
                with pytest.raises(OSError, match="not permitted"):
                    os.ftruncate(descriptor, 0)
        return decoded(data)

    def close(self) -> None:
        self._socket.close()


def decoded(data: bytes) -> dict[str, str]:
    """Read the protocol as its page describes it."""
    fields = {}
    rest = data
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, plain, value = head.partition(b"=")
        if not plain:
            (length,) = struct.unpack("<Q", rest[:8])
            value = rest[8 : 8 + length]
            assert rest[8 + length : 9 + length] == b"\n"
            rest = rest[9 + length :]
        fields[name.decode("ascii")] = value.decode("utf-8")
    return fields


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    opened = Sink(tmp_path / "journal")
    yield opened
    opened.close()


def sample(**more: object) -> Notice:
    given = {"event": "stored", "severity": Severity.INFO, "title": "A title", "body": "One.\nTwo."}
    return Notice(**(given | more))  # type: ignore[arg-type]


def test_fields_arrive(sink: Sink) -> None:
    Journal(sink.path).send(
        sample(delivery="d1", snapshot="s1", fields={"new": 3, "new_bytes": 4711, "host": "x"})
    )

    assert sink.receive() == {
        "MESSAGE": "A title\nOne.\nTwo.",
        "PRIORITY": "6",
        "MESSAGE_ID": message_id("stored"),
        "SYSLOG_IDENTIFIER": "backupd",
        "BACKUPD_EVENT": "stored",
        "BACKUPD_SEVERITY": "info",
        "BACKUPD_SNAPSHOT": "s1",
        "BACKUPD_DELIVERY": "d1",
        "BACKUPD_NEW": "3",
        "BACKUPD_NEW_BYTES": "4711",
        "BACKUPD_HOST": "x",
    }


@pytest.mark.parametrize(
    ("severity", "priority"),
    [(Severity.INFO, "6"), (Severity.WARNING, "4"), (Severity.ERROR, "3")],
)
def test_priorities(sink: Sink, severity: Severity, priority: str) -> None:
    Journal(sink.path).send(sample(severity=severity))

    assert sink.receive()["PRIORITY"] == priority


@pytest.mark.parametrize("size", [100, 200_000, 3_000_000])
def test_long_entries_arrive_whole(sink: Sink, size: int) -> None:
    """Beyond about 200 KB no datagram is long enough: a sealed memory file is sent."""
    body = "é\n" * (size // 3)
    Journal(sink.path).send(sample(body=body))

    assert sink.receive()["MESSAGE"] == "A title\n" + body


def test_text_that_is_not_unicode_arrives_escaped(sink: Sink) -> None:
    Journal(sink.path).send(sample(title="\ud800"))

    assert sink.receive()["MESSAGE"].startswith("\\ud800\n")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_journal_it_is_one_json_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    Journal(tmp_path / "none", stream).send(sample(delivery="d1", fields={"new": 3}))

    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue()) == {
        "event": "stored",
        "severity": "info",
        "title": "A title",
        "body": "One.\nTwo.",
        "delivery": "d1",
        "fields": {"new": 3},
    }


def test_without_a_journal_on_a_terminal_it_is_one_plain_line(tmp_path: Path) -> None:
    stream = Terminal()
    Journal(tmp_path / "none", stream).send(sample())

    assert stream.getvalue() == "backupd: info: A title: One. Two.\n"


def test_a_closed_stderr_is_no_error(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    Journal(tmp_path / "none", stream).send(sample())


def test_message_ids_never_change() -> None:
    """Monitors match on them. A new event adds a line; no line may change."""
    ids = [f"{message_id(event.__name__)} {event.__name__}" for event in notice.EVENTS]
    if os.environ.get("BACKUPD_UPDATE_GOLDEN") == "1":
        MESSAGE_IDS.write_text("\n".join(ids) + "\n", "utf-8")

    assert MESSAGE_IDS.read_text("utf-8").splitlines() == ids
