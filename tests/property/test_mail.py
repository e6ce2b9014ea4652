"""Any bytes, any text: the mail room's parsers raise their own errors or nothing, and are right."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.mail.cursor import Cursor, advance, plan
from backupd.mail.gate import HOSTS, SecretUrl
from backupd.mail.link import LinkRefused, check_url, find, parse_link
from backupd.mail.message import Message, MessageRefused, classify, parse, safe, worth_fetching
from backupd.mail.proof import ProofMissing, prove

EXAMPLES = settings(
    max_examples=20_000 if os.environ.get("BACKUPD_FULL") == "1" else 250, deadline=None
)
RECEIVED = datetime(2026, 11, 22, 8, tzinfo=UTC)
NAME = "5f3a" * 16 + "-2026-11-22-07-45-25.zip"
GENUINE_URL = (
    f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&ts=1&p=de&cid=1&sig={'8d' * 32}&v=0"
)
GENUINE = (
    "Authentication-Results: mx.example.org; spf=pass; dmarc=pass (p=reject) "
    "header.from=tm.openai.com\r\nReceived: from a by mx.example.org\r\n"
    "From: OpenAI <noreply@tm.openai.com>\r\nTo: me@example.org\r\n"
    "Subject: =?utf-8?Q?ChatGPT_-_Your_data_export_is_ready?=\r\n"
    "Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@x>\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    f"--b\r\nContent-Type: text/plain\r\n\r\n<{GENUINE_URL}>\r\n"
    "--b\r\nContent-Type: text/html; charset=us-ascii\r\nContent-Transfer-Encoding: "
    f'quoted-printable\r\n\r\n<a href=3D"{GENUINE_URL.replace("=", "=3D")}">x</a>\r\n--b--\r\n'
).encode()

_FRAGMENTS = [
    *(b"From: ", b"noreply@tm.openai.com", b"<", b">", b"@", b"evil.com", b"\r\n", b"\n", b"\r"),
    *(b"\r\n\r\n", b" ", b"\t", b"\0", b"Subject: ", b"=?utf-8?B?", b"?=", b"Date: ", b"\xff\xfe"),
    *(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"--b\r\n", b"--b--", b"=3D", b"=\r\n"),
    *(b"Authentication-Results: mx.example.org; ", b"dmarc=pass", b" header.from=", b";", b'"'),
    *(b"(", b")", b"\\", b"https://", b"chatgpt.com", b"/backend-api/estuary/content?", b"p=de&"),
    *(b"id=a.zip&", b"sig=1", b"&amp;", b'<a href="', b"Content-Transfer-Encoding: base64\r\n"),
    *(b"Message-ID: <a@b>\r\n", b"charset=utf-16", b"%2e", b":443", b"Received: x\r\n"),
]
soup = st.lists(st.sampled_from(_FRAGMENTS) | st.binary(max_size=8), max_size=60).map(b"".join)
anything = st.binary(max_size=2000) | soup


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a genuine mail with a few places cut, doubled, or replaced."""
    raw = GENUINE
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 60)))
        raw = raw[:at] + draw(soup | st.just(raw[at:end] * 2) | st.just(b"")) + raw[end:]
    return raw


def judged(raw: bytes) -> Message | None:
    """Take a mail through every parser; only their own errors may come out."""
    try:
        message = parse(raw)
    except MessageRefused:
        return None
    classify(message)
    worth_fetching(message)
    shown = [message.subject, message.sender_shown, message.message_key]
    try:
        prove(message, ("mx.example.org",))
    except ProofMissing as missing:
        shown.append(missing.reason)
    try:
        shown.append(find(message, RECEIVED).host)
    except LinkRefused as refused:
        shown.append(refused.reason)
    assert all(word.isprintable() for word in shown)
    assert message.sender is None or message.sender.isascii()
    return message


def test_the_undamaged_mail_is_proven_and_has_its_link() -> None:
    message = parse(GENUINE)

    assert prove(message, ("mx.example.org",)).domain == "tm.openai.com"
    assert find(message, RECEIVED).url.reveal() == GENUINE_URL


@EXAMPLES
@given(anything)
def test_any_bytes_are_judged_or_refused(raw: bytes) -> None:
    judged(raw)


@EXAMPLES
@given(damaged())
def test_a_damaged_mail_is_judged_or_refused(raw: bytes) -> None:
    judged(raw)


@EXAMPLES
@given(damaged() | soup)
def test_nothing_below_a_failed_verdict_makes_a_proof(raw: bytes) -> None:
    """The own server writes on top; whatever a sender brings along comes below."""
    verdict = b"Authentication-Results: mx.example.org; dmarc=fail header.from=tm.openai.com\r\n"
    try:
        message = parse(verdict + raw)
    except MessageRefused:
        return
    with pytest.raises(ProofMissing):
        prove(message, ("mx.example.org",))


@EXAMPLES
@given(st.text(max_size=300))
def test_safe_text_is_printable_ascii_or_letters_and_bounded(text: str) -> None:
    shown = safe(text, 100)

    assert shown.isprintable()
    assert len(shown) <= 100


_URLISH = st.lists(
    st.sampled_from(
        [
            *("https://", "chatgpt.com", "proddatamgmtqueue.blob.core.windows.net", "/", "?", "&"),
            *("@", ":", ":443", "\\", ".", "%2f", "%00", "#", "evil.com", "backend-api/estuary/"),
            *("content", "id=", "a.zip", "p=de", "p=fs", "sig=1", "exportcontainer/", "[::1]", " "),
        ]
    )
    | st.text(max_size=4),
    max_size=25,
).map("".join)


@EXAMPLES
@given(_URLISH | st.text(max_size=200))
def test_what_passes_the_gate_is_https_on_a_listed_host(raw: str) -> None:
    try:
        checked = check_url(raw)
    except LinkRefused:
        return
    url = checked.url.reveal()
    assert url.startswith(f"https://{checked.host}/")
    assert checked.host in {rule.host for rule in HOSTS}
    assert checked.file_name.endswith(".zip")
    assert not set("/\\\0") & set(checked.file_name)
    assert check_url(url) == checked


@EXAMPLES
@given(st.text(max_size=100))
def test_a_secret_url_can_be_shown_whatever_it_is(url: str) -> None:
    shown = str(SecretUrl(url))

    assert shown.isprintable()
    assert len(shown) < 200


_MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@EXAMPLES
@given(st.none() | _MOMENTS, _MOMENTS)
def test_deadlines_are_ordered_and_bounded(mail_at: datetime | None, received: datetime) -> None:
    link = parse_link(GENUINE_URL, mail_at, received)

    assert link.deadline <= received + timedelta(hours=24)
    assert received + timedelta(hours=30) <= link.give_up_at <= received + timedelta(hours=54)


@EXAMPLES
@given(st.data())
def test_a_folder_is_searched_without_gaps_whatever_happens_to_it(data: st.DataObject) -> None:
    """Mails come, UIDVALIDITY rolls, some bodies do not come: all are handed over in the end."""
    uidvalidity, uidnext, cursor = 1, 1, None
    folder: set[int] = set()
    handed: set[tuple[int, int]] = set()
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.integers(0, 5)) == 0:
            uidvalidity, folder, uidnext = uidvalidity + 1, set(range(1, len(folder) + 1)), 1
            uidnext = len(folder) + 1
        for _ in range(data.draw(st.integers(0, 3))):
            uidnext += data.draw(st.integers(0, 5))
            folder.add(uidnext)
            uidnext += 1
        told = data.draw(st.sampled_from([uidnext, None]))
        searched = plan(cursor, uidvalidity, told, date(2026, 11, 23))
        answer = folder if searched.since else {uid for uid in folder if uid >= searched.first_uid}
        uids = searched.wanted(answer | ({max(folder)} if folder else set()))
        missing = {uid for uid in uids if data.draw(st.booleans())}
        handed |= {(uidvalidity, uid) for uid in uids if uid not in missing}
        cursor = advance(searched, uidvalidity, told, uids, missing)
        assert all((uidvalidity, uid) in handed or uid > cursor.last_uid for uid in folder)
    assert isinstance(cursor, Cursor)
