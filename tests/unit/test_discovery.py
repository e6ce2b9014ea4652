"""Who writes verdicts on top of mails is counted and shown, with the doubts."""

from __future__ import annotations

import pytest

from backupd.mail.discovery import writers


def header(*fields: str) -> bytes:
    rest = "From: OpenAI <noreply@tm.openai.com>\r\nSubject: x\r\n\r\n"
    return ("\r\n".join(fields) + "\r\n" + rest).encode()


GMAIL = (
    "Authentication-Results: mx.google.com; dkim=pass header.i=@tm.openai.com;"
    " dmarc=pass header.from=tm.openai.com"
)
ICLOUD = (
    "Authentication-Results: bimi.icloud.com; bimi=skipped",
    "Authentication-Results: dmarc.icloud.com; dmarc=pass header.from=tm.openai.com",
    "Authentication-Results: spf.icloud.com; spf=pass smtp.mailfrom=x@y.example",
)
MICROSOFT = (
    "Received: from A.outlook.com (::1) by B.outlook.com with HTTPS; Sun, 22 Nov 2026 08:00:00",
    "Authentication-Results: spf=pass (sender IP is 159.183.12.231)\r\n"
    " smtp.mailfrom=em7877.tm.openai.com;"
    " dkim=pass (signature was verified)\r\n header.d=tm.openai.com;dmarc=pass action=none\r\n"
    " header.from=tm.openai.com;compauth=pass reason=100",
    "Received: from o13.ptr1681.openai.com (159.183.12.231) by\r\n"
    " AM4PEPF00.mail.protection.outlook.com (10.167.16.1) with Microsoft SMTP Server; x",
)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ((GMAIL,), "mx.google.com"),
        (ICLOUD, "dmarc.icloud.com"),
        (MICROSOFT, "protection.outlook.com"),
    ],
)
def test_the_name_on_most_mails_is_suggested(fields: tuple[str, ...], name: str) -> None:
    found = writers([header(*fields)] * 9 + [header()])

    best = found.suggestion()

    assert best is not None
    assert (best.name, best.mails) == (name, 9)
    assert best.example == "dmarc=pass header.from=tm.openai.com"
    assert f"of 10 mails, {name} on 9 gave a DMARC verdict" in found.told()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [header()] * 9,
        [header(GMAIL)] * 2,
        [header(GMAIL)] * 5 + [header(*ICLOUD)] * 5,
        [header("Received: from x by y.example", "Received: by z", MICROSOFT[1])] * 9,
        [header("Authentication-Results: mx.example.org; none")] * 9,
        [b"\xff\x00" * 500, b"", b":" * 900],
    ],
)
def test_without_a_clear_majority_nothing_is_suggested(headers: list[bytes]) -> None:
    assert writers(headers).suggestion() is None


def test_a_forged_field_below_the_own_servers_is_not_counted() -> None:
    forged = "Authentication-Results: mx.evil.example; dmarc=pass header.from=tm.openai.com"
    found = writers([header(GMAIL, "Received: from evil by mx.google.com", forged)] * 9)

    assert [one.name for one in found.found] == ["mx.google.com"]


def test_hostile_text_is_shown_escaped() -> None:
    found = writers(
        [header("Authentication-Results: a; dmarc=pass header.from=\u202e\x1b[31m")] * 9
    )

    assert found.told().isprintable()
