"""Parsing and classifying one mail: the sender that is believed, the texts that are read."""

from __future__ import annotations

import base64
import quopri
import time
from datetime import UTC, datetime

import pytest

from backupd.mail.message import (
    MAX_BYTES,
    Kind,
    MessageRefused,
    classify,
    parse,
    safe,
    worth_fetching,
)

LINK = "https://chatgpt.com/backend-api/estuary/content?id=a.zip&p=de&sig=x"


def mail(body: str = "hello", **changes: str | None) -> bytes:
    """Return a mail; a header given as None is left out, its name in snake case."""
    headers: dict[str, str | None] = {
        "From": "OpenAI <noreply@tm.openai.com>",
        "To": "me@example.org",
        "Subject": "ChatGPT - Your data export is ready",
        "Date": "Sun, 22 Nov 2026 08:00:00 +0000",
        "Message-ID": "<1@geopod-ismtpd-1>",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize(
    "value",
    [
        "noreply@tm.openai.com",
        "<noreply@tm.openai.com>",
        "OpenAI <noreply@tm.openai.com>",
        "ChatGPT <noreply@TM.OpenAI.com>",
        '"OpenAI" <noreply@tm.openai.com>',
        '"Open, \\"AI\\" (x)" <noreply@tm.openai.com>',
        "=?utf-8?Q?OpenAI_=E2=9C=93?= <noreply@tm.openai.com>",
        "OpenAI\r\n <noreply@tm.openai.com>",
        "The OpenAI Team <noreply@tm.openai.com>",
    ],
)
def test_one_plain_mailbox_is_the_sender(value: str) -> None:
    message = parse(mail(From=value))

    assert message.sender == "noreply@tm.openai.com"
    assert message.sender_domain == "tm.openai.com"
    assert message.defects == ()


@pytest.mark.parametrize(
    "value",
    [
        "noreply@tm.openai.com <x@evil.com>",
        "<noreply@tm.openai.com>@evil.com",
        "noreply@tm.openai.com (x) <a@evil.com>",
        '"noreply@tm.openai.com" <x@evil.com>, noreply@tm.openai.com',
        "noreply@tm.openai.com, x@evil.com",
        "x@evil.com, noreply@tm.openai.com",
        "<@evil.com:noreply@tm.openai.com>",
        "OpenAI: noreply@tm.openai.com;",
        "undisclosed: ;",
        "noreply@tm.openai.com\x00@evil.com",
        "noreply@tm.openai.com\r@evil.com",
        "(noreply@tm.openai.com) x@evil.com",
        "noreply(comment)@tm.openai.com",
        "noreply @tm.openai.com",
        '"noreply"@tm.openai.com',
        "noreply@tm.openai.com.",
        "noreply@[192.0.2.1]",
        "noreply@tm.opеnai.com",
        "nöreply@tm.openai.com",
        "ОpenAI <noreply@tm.openai.com>",
        "noreply@tm.openai.com>",
        "<<noreply@tm.openai.com>>",
        "=?utf-8?Q?noreply=40tm.openai.com?=",
        "noreply@openai",
        "",
        "a" * 2000 + "@tm.openai.com",
    ],
)
def test_a_sender_with_any_doubt_is_none_and_a_defect(value: str) -> None:
    message = parse(mail(From=value))

    assert message.sender is None
    assert message.sender_domain is None
    assert message.defects


@pytest.mark.parametrize("first", ["x@evil.com", "noreply@tm.openai.com"])
@pytest.mark.parametrize("name", ["From", "FROM", "from ", "From\t"])
def test_two_from_fields_are_a_defect_however_they_are_spelt(first: str, name: str) -> None:
    raw = f"{name}: {first}\r\n".encode() + mail()
    message = parse(raw)

    assert message.sender is None
    assert "more than one From field" in message.defects


@pytest.mark.parametrize("name", ["Subject", "Date", "Message-ID"])
def test_fields_that_occur_once_must_occur_once(name: str) -> None:
    twice = parse(f"{name}: x\r\n".encode() + mail())
    never = parse(mail(**{name.replace("-", "_"): None}))

    assert f"more than one {name} field" in twice.defects
    assert f"no {name} field" in never.defects


@pytest.mark.parametrize(
    "line",
    [
        "Content-Type: text/html",
        "Subject : x",
        "no colon here",
        "X: a\rFrom: b",
        "X: a\0b",
        "Tö: x",
    ],
)
def test_a_header_that_two_programs_may_read_differently_has_a_defect(line: str) -> None:
    raw = f"Content-Type: text/plain\r\n{line}\r\n".encode() + mail()

    assert parse(raw).defects


def test_the_subject_is_decoded_and_escaped() -> None:
    hostile = base64.b64encode("foo\nbar\x1b[31mred\u202ex".encode()).decode()
    message = parse(mail(Subject=f"=?utf-8?B?{hostile}?="))

    assert message.subject == "foo\\x0abar\\x1b[31mred\\u202ex"


@pytest.mark.parametrize(
    "value", ["=?utf-8?B?!!!?=", "=?x-unknown?Q?a=FF?=", "=?punycode?B?YWJj?=", "\\u12", "=?", "ü"]
)
def test_a_broken_subject_never_fails(value: str) -> None:
    assert isinstance(parse(mail(Subject=value)).subject, str)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\\nb", "a\\\\nb"),
        ("\r\n\t", "\\x0d\\x0a\\x09"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("Ünïcode 日本 🎉", "Ünïcode 日本 🎉"),
    ],
)
def test_safe_escapes_what_could_deceive_a_reader(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_safe_is_bounded() -> None:
    assert len(safe("x" * 10_000)) == 200
    assert safe("x" * 11, 10) == "x" * 9 + "…"
    assert len(safe("\x00" * 50, 20)) <= 20


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Sun, 22 Nov 2026 08:00:00 +0000", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("22 Nov 2026 10:00:00 +0200 (CEST)", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("Sun, 22 Nov 2026 08:00 GMT", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("Sun, 22 Nov 2026 08:00:60 -0000", datetime(2026, 11, 22, 8, 0, 59, tzinfo=UTC)),
        ("31 Feb 2026 08:00:00 +0000", None),
        ("01 Jan 0000 00:00:00 +0000", None),
        ("01 Jan 0001 00:00:00 +2359", None),
        ("22 Nov 2026 08:00:00 +9999", None),
        ("22 Nov 2026 08:00:00 EST", None),
        ("yesterday", None),
        ("9" * 500, None),
    ],
)
def test_dates(value: str, moment: datetime | None) -> None:
    assert parse(mail(Date=value)).date == moment


@pytest.mark.parametrize(
    "value", ["<a b@c>", "a@b", "<>", "<" + "a" * 400 + ">", "<a><b>", "<ä@b>"]
)
def test_an_odd_message_id_is_replaced_by_a_digest(value: str) -> None:
    message = parse(mail(Message_ID=value))

    assert message.message_id is None
    assert message.message_key.startswith("sha256:")
    assert len(message.message_key) == 71


def test_a_sane_message_id_is_the_key() -> None:
    message = parse(mail())

    assert message.message_id == message.message_key == "<1@geopod-ismtpd-1>"


def test_authentication_results_keep_their_order_and_their_place() -> None:
    raw = (
        b"Authentication-Results: a;\r\n dmarc=pass\r\nReceived: x\r\n"
        b"authentication-results: b\r\nAuthentication-Results: c\r\n"
    ) + mail()
    message = parse(raw)

    assert message.authentication_results == ("a; dmarc=pass", "b", "c")
    assert message.hops == (0, 1, 1)


def multipart(*parts: str, boundary: str = "b1", end: str = "--b1--\r\n") -> str:
    return "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + end


def test_texts_of_a_multipart_are_found() -> None:
    body = "preamble\r\n" + multipart(
        "Content-Type: text/plain; charset=utf-8\r\n\r\nplain ü",
        "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable"
        "\r\n\r\n<p>=FC</p>=\r\n!",
        "Content-Type: text/html\r\nContent-Disposition: attachment; filename=x.html\r\n\r\n<b>no",
        "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nnot looked into",
    )
    message = parse(mail(body, Content_Type='multipart/mixed; boundary="b1"'))

    assert message.text == "plain ü"
    assert message.html == "<p>ü</p>!"
    assert message.body_defects == ()


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_a_single_html_part_with_soft_line_breaks_is_read(line_end: str) -> None:
    html = f'<a href="{LINK}">Download data export</a>'
    encoded = quopri.encodestring(html.encode()).decode().replace("\n", line_end)
    raw = mail(
        encoded,
        Content_Type="text/html; charset=us-ascii",
        Content_Transfer_Encoding="quoted-printable",
    ).replace(b"\r\n", line_end.encode())
    message = parse(raw)

    assert message.text is None
    assert (message.html or "").strip() == html


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [
        ("text/plain; charset=utf-8", "base64", "aGVsbG8="),
        ("text/plain; charset=utf-8", "base64", "aGVs\r\nbG8="),
        ("TEXT/Plain; CHARSET=UTF-8", "7BIT", "hello"),
        ("text/plain; charset=punycode", "8bit", "hello"),
        ("text/plain; charset=no-such", "", "hello"),
        ("nonsense", "x-unknown", "hello"),
    ],
)
def test_encodings(content_type: str, encoding: str, body: str) -> None:
    raw = mail(body, Content_Type=content_type, Content_Transfer_Encoding=encoding)

    assert parse(raw).text == "hello"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        ("--b1\r\n\r\nnot closed", "multipart/mixed; boundary=b1"),
        ("no boundary", "multipart/mixed"),
        ("a", "multipart/mixed; boundary*0=b"),
    ],
)
def test_a_broken_multipart_is_a_defect_of_the_body_only(body: str, header: str) -> None:
    message = parse(mail(body, Content_Type=header))

    assert message.body_defects
    assert message.defects == ()


def nested(depth: int) -> str:
    body = "Content-Type: text/plain\r\n\r\ninside"
    for level in range(depth):
        body = f"Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n{body}"
    return body.partition("\r\n\r\n")[2]


def test_nesting_is_read_eight_deep_and_refused_beyond() -> None:
    assert parse(mail(nested(8), Content_Type="multipart/mixed; boundary=b7")).text == "inside"
    with pytest.raises(MessageRefused, match="nested") as refused:
        parse(mail(nested(9), Content_Type="multipart/mixed; boundary=b8"))
    assert refused.value.message_key.startswith("sha256:")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"x" * (MAX_BYTES + 1), "larger"),
        (b"X: " + b"y" * 300_000 + b"\r\n\r\n", "header is larger"),
        (b"X: y\r\n" * 600 + b"\r\n", "header fields"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 60, "parts"),
    ],
)
def test_a_mail_beyond_the_bounds_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(MessageRefused, match=words):
        parse(raw)


_MANY = MAX_BYTES - 2000
SLOW = {
    "empty lines": b"\n" * _MANY,
    "carriage returns": b"\r" * _MANY,
    "one-letter lines": b"From: a@b\n\n" + b"a\n" * (_MANY // 2),
    "deep multiparts": b"Content-Type: multipart/mixed; boundary=b\n\n"
    + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * (_MANY // 60),
    "boundary prefixes": b"Content-Type: multipart/mixed; boundary=bb\n\n"
    + b"\n--b" * (_MANY // 4),
    "boundary spaces": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"\n--b " * (_MANY // 5),
    "blank runs": b"Content-Type: multipart/mixed; boundary=b\n\n\n--b" + b" " * (_MANY - 100),
    "quoted-printable": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * _MANY,
    "base64": b"Content-Transfer-Encoding: base64\n\n" + b"=A" * (_MANY // 2),
    "comment openings": b"From: " + b"(" * 250_000 + b"\n\nx",
    "encoded words": b"Subject: " + b"=?utf-8?Q?=41?=" * 15_000 + b"\n\nx",
    "encoded word openings": b"Subject: " + b"=?" * 120_000 + b"\n\nx",
    "continuations": b"Subject: x\n" + b" y\n" * 80_000 + b"\n",
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 50_000 + b"\n\nx",
    "parameter spaces": b"Content-Type: text/plain;" + b" " * 250_000 + b"\n\nx",
    "zips": b"From: a@openai.com\n\n" + b".zip" * (_MANY // 4),
    "rfc822": b"Content-Type: message/rfc822\n\n" * 8000,
}


@pytest.mark.parametrize("name", SLOW)
def test_hostile_mails_of_five_mebibytes_take_little_time(name: str) -> None:
    began = time.process_time()
    try:
        classify(parse(SLOW[name]))
    except MessageRefused:
        pass

    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("changes", "body", "kind"),
    [
        ({}, "no link", Kind.READY),
        ({"Subject": "Your data export is ready"}, "", Kind.READY),
        ({"Subject": "Your ChatGPT data export is ready"}, "", Kind.READY),
        ({"Subject": "ChatGPT — Your data export is ready"}, "", Kind.READY),
        ({"Subject": "Ваш экспорт данных готов"}, LINK, Kind.READY),
        ({"Subject": "您的数据导出已就绪"}, LINK, Kind.READY),
        ({"Subject": "x"}, "https://new.example/exports/a.zip?sig=1", Kind.READY),
        ({"Subject": "ChatGPT - Your data export has started"}, "", Kind.STARTED),
        ({"Subject": "ChatGPT – Your data export has started"}, "https://help.x", Kind.STARTED),
        ({"Subject": "ChatGPT - Your data export has started"}, LINK, Kind.READY),
        ({"Subject": "Your temporary ChatGPT verification code"}, "123456", Kind.OTHER),
        ({"Subject": "New sign-in to your OpenAI account"}, "https://chatgpt.com/c/1", Kind.OTHER),
        ({"From": "otp@tm1.openai.com", "Subject": "Your code"}, "1", Kind.OTHER),
        ({"From": "noreply@tm.openai.com.evil.com"}, LINK, Kind.READY),
        ({"From": '"noreply@tm.openai.com" <x@evil.com>'}, LINK, Kind.READY),
        ({"From": "Bob <bob@example.org>"}, LINK, Kind.OTHER),
    ],
)
def test_classes(changes: dict[str, str], body: str, kind: Kind) -> None:
    assert classify(parse(mail(body, **changes))) is kind


@pytest.mark.parametrize(
    ("changes", "worth"),
    [
        ({"Subject": "whatever language"}, True),
        ({"From": "openai.com news <a@example.org>", "Subject": "This week"}, False),
        ({"From": "openai.com <a@example.org>"}, True),
        ({"From": "two@openai.com, three@example.org", "Subject": "x"}, True),
    ],
)
def test_which_bodies_are_worth_fetching(changes: dict[str, str], *, worth: bool) -> None:
    assert worth_fetching(parse(mail("", **changes))) is worth


def test_a_message_does_not_show_its_text() -> None:
    assert "sig=" not in repr(parse(mail(LINK)))
