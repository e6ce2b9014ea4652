"""Any answer of an IMAP server, at any point, ends in a mailbox error or in a finished pass."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.mail.watcher import Watcher
from tests.support.mail_sink import MemorySink, export_mail, now
from tests.support.scripted_imap import Connection, ScriptedImap

EXAMPLES = settings(
    max_examples=2000 if os.environ.get("BACKUPD_FULL") == "1" else 60, deadline=None
)
PLACES = ("GREETING", "CAPABILITY", "LOGGED-IN", "LIST", "EXAMINE", "SEARCH", "FETCH", "LOGOUT")

_WORDS = [
    *("* ", "+ ", "TAG ", "OK ", "NO ", "BAD ", "BYE ", "\r\n", "\n", "(", ")", '"', "{3}\r\n"),
    *(
        "{-1}\r\n",
        "{999999999999}\r\n",
        "abc",
        "NIL",
        "1 ",
        "99999999999999999999 ",
        "FETCH ",
        "UID ",
    ),
    *("BODY[]", "BODY[HEADER.FIELDS (FROM)]", "RFC822.SIZE ", "INTERNALDATE ", "SEARCH ", "LIST "),
    *(
        "EXISTS",
        "[UIDVALIDITY ",
        "[UIDNEXT ",
        "]",
        "\\",
        "&-",
        "&AOk",
        '"99-Zzz-0000 99:99:99 +9999"',
    ),
    *("CAPABILITY IMAP4rev1", "MODSEQ (1)", "\x00", "ü", " "),
]
answers = st.lists(st.sampled_from(_WORDS) | st.text(max_size=5), max_size=25).map("".join)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedImap]:
    with ScriptedImap() as running:
        running.deliver(export_mail())
        yield running


@EXAMPLES
@given(place=st.sampled_from(PLACES), answer=answers, goes_on=st.booleans())
def test_any_answer_is_survived(
    server: ScriptedImap, place: str, answer: str, *, goes_on: bool
) -> None:
    def odd(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send(answer.replace("TAG", tag).encode("utf-8", "surrogatepass"))
        if not goes_on:
            connection.cut()
        return not goes_on

    server.hooks = {place: odd}
    sink = MemorySink(time.monotonic)
    with tempfile.TemporaryDirectory() as directory:
        limits = {"connect_timeout": 0.2, "read_timeout": 0.2}
        login = server.settings(Path(directory), folders=("INBOX",), **limits)
        watcher = Watcher("test", login, lambda: server.password, sink, now)
        began = time.monotonic()
        with contextlib.suppress(MailboxUnreachable, MailboxRefused):
            watcher.poll_once()

    assert time.monotonic() - began < 5
