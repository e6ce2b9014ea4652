"""The journal of a real systemd: what we send is what `journalctl` finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from backupd.notify.journal import message_id
from tests.support.systemd_boot import PYTHON, Machine, booted

SEND = """
from backupd.notice import Notice, Severity
from backupd.notify.journal import Journal
from io import StringIO
stream = StringIO()
journal = Journal(fallback=stream)
for event, length in (("stored", 1), ("unknown_parts", 150_000)):
    journal.send(
        Notice(
            event=event, severity=Severity.WARNING, title="Ünicode title", body="line\\n" * length,
            delivery="d1", snapshot="s1", fields={"new": 3, "new_bytes": 4711},
        )
    )
assert stream.getvalue() == "", "the journal did not take it"
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory.mktemp("journal")) as running:
        yield running


def entries(machine: Machine, *match: str) -> list[dict[str, Any]]:
    machine.run("journalctl", "--sync")
    lines = machine.run("journalctl", "--no-pager", "--all", "--output=json", *match).splitlines()
    return [json.loads(line) for line in lines]


def test_entries_are_found_by_their_fields(machine: Machine) -> None:
    """The second is 750 KB long and goes as a memory file."""
    machine.run(PYTHON, "-", given=SEND)
    (short,) = entries(machine, "BACKUPD_EVENT=stored", "BACKUPD_DELIVERY=d1", "PRIORITY=4")
    (long,) = entries(machine, f"MESSAGE_ID={message_id('unknown_parts')}")

    assert short["MESSAGE"] == "Ünicode title\nline\n"
    assert (short["BACKUPD_SNAPSHOT"], short["BACKUPD_NEW"]) == ("s1", "3")
    assert short["BACKUPD_NEW_BYTES"] == "4711"
    assert short["SYSLOG_IDENTIFIER"] == "backupd"
    assert long["MESSAGE"] == "Ünicode title\n" + "line\n" * 150_000
