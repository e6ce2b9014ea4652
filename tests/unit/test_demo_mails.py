"""The generated mails: whole, quirky as the real ones, and false where they should be."""

from __future__ import annotations

import email
import email.policy
import html
import re
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from backupd.demo import mails

DATE = datetime(2026, 1, 22, 3, 46, tzinfo=UTC)
NAME = "ab" * 32 + "-2026-01-22-03-45-25-" + "cd" * 16 + ".zip"
URLS = [mails.azure_url(NAME, DATE), mails.estuary_url(NAME, DATE)]


def _parse(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_links_have_the_shapes_of_their_eras() -> None:
    azure, estuary = URLS

    assert "?se=2026-01-23T03%3A46%3A00Z&sp=r&" in azure
    assert re.search(r"\?id=[0-9a-f-]+\.zip&ts=491404&p=de&cid=1&sig=[0-9a-f]{64}&v=0$", estuary)


@pytest.mark.parametrize("url", URLS)
def test_plain_text_holds_the_link_in_brackets_with_entities(url: str) -> None:
    message = _parse(mails.ready(mails.Envelope(DATE), url, "plain"))
    text = message.get_content().replace("\r\n", "\n")

    assert f"Download data export\n<{html.escape(url)}>" in text
    assert "&amp;" in text


@pytest.mark.parametrize("url", URLS)
def test_html_breaks_the_link_softly_and_still_holds_it(url: str) -> None:
    raw = mails.ready(mails.Envelope(DATE), url, "html")

    assert url.encode() not in raw
    assert b"=\r\n" in raw
    assert f'href="{html.escape(url)}"' in _parse(raw).get_content()


def test_multipart_holds_both() -> None:
    message = _parse(mails.ready(mails.Envelope(DATE), URLS[0]))

    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "text/html",
    ]
    assert message["Message-ID"]
    assert message["Authentication-Results"].startswith("mx.example.org;")
    assert "dmarc=pass" in message["Authentication-Results"]


def test_started_mail_has_no_link_to_a_zip() -> None:
    raw = mails.started(mails.Envelope(DATE, subject=mails.STARTED))

    assert b".zip" not in raw
    assert _parse(raw)["Subject"] == mails.STARTED


@pytest.mark.parametrize("kind", sorted(mails.PHISHING))
def test_phishing_mails_are_whole_mails(kind: str) -> None:
    message = _parse(mails.phishing(DATE, kind, "https://files.attacker.example/x.zip"))
    verdicts = message.get_all("Authentication-Results")

    assert verdicts
    if kind.startswith("forged"):
        assert "dmarc=fail" in verdicts[0]
    elif kind != "other-host":
        assert message["From"].addresses[0].addr_spec != mails.SENDER


def test_look_alikes_hold_no_export_link() -> None:
    for raw in mails.look_alikes(DATE):
        assert b".zip" not in raw
        assert _parse(raw)["From"]


def test_same_envelope_gives_same_bytes_and_another_date_another_message_id() -> None:
    first = mails.ready(mails.Envelope(DATE), URLS[0])
    later = mails.ready(mails.Envelope(DATE.replace(hour=4)), URLS[0])

    assert first == mails.ready(mails.Envelope(DATE), URLS[0])
    assert _parse(first)["Message-ID"] != _parse(later)["Message-ID"]
