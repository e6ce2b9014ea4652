"""The process that drives Chromium, seen from its socket: whom it lets in, what noise does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from backupd.download import browser_talk as talk
from backupd.download.browser_worker import admit
from tests.support import needs, unavailable
from tests.support.browser_site import crumb

CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
URL = "https://chatgpt.com/backend-api/estuary/content?sig=canary"


def test_another_user_is_let_in_only_by_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    needs("setpriv")
    if os.geteuid() != 0:
        unavailable("run as root: to connect as another user")
    directory = tmp_path_factory.mktemp("open")
    for parent in (directory, directory.parent, directory.parent.parent):
        parent.chmod(0o711)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "socket"))
        (directory / "socket").chmod(0o666)
        listening.listen()
        listening.settimeout(10)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = [*drop, "/usr/bin/python3", "-c", CONNECT, str(directory / "socket")]
        with subprocess.Popen(command) as client:
            sock, _ = listening.accept()
            with sock:
                assert not admit(sock, None)
                assert not admit(sock, "no-such-user")
                assert admit(sock, "nobody")
            assert client.wait(10) == 0


def test_own_user_is_let_in() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert admit(ours, None)


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff{}",
        b"\0\0\0\x02{}",
        b"\0\0\0\x02\xff\xfe",
        b'\0\0\0\x10{"type":"Nobody"',
        b'\0\0\0\x30{"type":"Look","profile":"../../etc/passwd","x":1}',
    ],
)
def test_noise_ends_the_connection_and_nothing_else(noise: bytes, tmp_path: Path) -> None:
    """In a process of its own: the worker serves one connection and ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(noise)
        ours.shutdown(socket.SHUT_WR)
        command = [sys.executable, "-m", "backupd.download.browser_worker", "--state"]
        done = subprocess.run(
            [*command, str(tmp_path), "--fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            capture_output=True,
            timeout=30,
        )

        assert done.returncode == 0
        assert list(tmp_path.iterdir()) == []


def test_messages_show_nothing_of_what_they_carry() -> None:
    get = talk.Get("download", URL, 0.0, 1.0, 1, 1, talk.Trust())
    keep = talk.Keep("download", 0.0, 1.0, (crumb(),))

    assert "canary" not in f"{get!r} {get} {keep!r} {keep}"


def test_message_and_file_arrive_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("rb") as file:
        talk.send(theirs, talk.Downloaded(100_000, (), signed=True), file.fileno())
        heard = talk.receive_reply(ours)

    assert heard.reply == talk.Downloaded(100_000, (), signed=True)
    assert heard.fd is not None
    with open(heard.fd, "rb") as received:
        assert received.read() == b"x" * 100_000
