"""What mail servers answer to an access token: challenges, refusals, bad moments, hanging up."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.mail.mailbox import probe
from tests.support.scripted_imap import Connection, ScriptedImap

TOKEN = "canaryTOKEN.abc-123_~+/=="
CHALLENGE = base64.b64encode(
    json.dumps({"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}).encode()
).decode()


@pytest.fixture
def server() -> Iterator[ScriptedImap]:
    with ScriptedImap() as running:
        yield running


def takes(server: ScriptedImap, *answers: str | None) -> list[tuple[str, str]]:
    """Let the server ask for the token, then give each answer; returns what clients sent.

    An answer None hangs up; "+" challenges and reads another line first.
    """
    seen: list[tuple[str, str]] = []

    def authenticate(connection: Connection, tag: str, arguments: str) -> bool:
        connection.send("+ \r\n")
        seen.append((arguments, base64.b64decode(connection.line() or "").decode()))
        for answer in answers:
            if answer is None:
                connection.cut()
                return True
            if answer == "+":
                connection.send(f"+ {CHALLENGE}\r\n")
                connection.line()
            else:
                connection.send(f"{tag} {answer}\r\n")
        return True

    server.hooks["AUTHENTICATE"] = authenticate
    return seen


@pytest.mark.parametrize(
    ("capabilities", "sent"),
    [
        ("AUTH=XOAUTH2", ("XOAUTH2", f"user=user\1auth=Bearer {TOKEN}\1\1")),
        ("AUTH=OAUTHBEARER", ("OAUTHBEARER", f"n,a=user,\1auth=Bearer {TOKEN}\1\1")),
        (
            "AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER",
            ("OAUTHBEARER", f"n,a=user,\1auth=Bearer {TOKEN}\1\1"),
        ),
    ],
)
def test_the_token_is_sent_in_the_form_that_the_server_knows(
    server: ScriptedImap, tmp_path: Path, capabilities: str, sent: tuple[str, str]
) -> None:
    server.capabilities = f"IMAP4rev1 {capabilities}"
    seen = takes(server, "OK welcome")

    probe(server.settings(tmp_path, auth="oauth2"), TOKEN)

    assert seen == [sent]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (("+", "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"), MailboxRefused),
        (("+", "NO AUTHENTICATE failed."), MailboxRefused),
        (("NO [EXPIRED] token",), MailboxRefused),
        (("BAD what",), MailboxRefused),
        (("+", "NO [UNAVAILABLE] Temporary authentication failure"), MailboxUnreachable),
        (("NO [ALERT] Too many simultaneous connections. (Failure)",), MailboxUnreachable),
        (("+", None), MailboxUnreachable),
        ((None,), MailboxUnreachable),
    ],
)
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_refusal_of_a_token_is_told_from_a_bad_moment(
    server: ScriptedImap,
    tmp_path: Path,
    mechanism: str,
    answers: tuple[str | None, ...],
    error: type[Exception],
) -> None:
    server.capabilities = f"IMAP4rev1 AUTH={mechanism}"
    seen = takes(server, *answers)

    with pytest.raises(error) as raised:
        probe(server.settings(tmp_path, auth="oauth2"), TOKEN)

    assert len(seen) == 1
    text = "".join(traceback.format_exception(raised.value))
    assert "canary" not in text
    assert CHALLENGE not in text
