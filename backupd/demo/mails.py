"""Mails as OpenAI sends them around an export, as bytes, and mails that only look like it.

Every mail is built by hand instead of by `email`: the quirks of the real ones (angle brackets and
`&amp;` in plain text, soft line breaks inside a link, a verdict on top) are the point. Recipients
live under example domains. Source: mails of 2024-10 (body) and 2025-10 (headers) of that sender.
"""

from __future__ import annotations

import hashlib
import html
import quopri
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.header import Header
from email.utils import format_datetime
from typing import Literal
from urllib.parse import quote

Layout = Literal["plain", "html", "multipart"]
Verdict = Literal["pass", "fail", "none", "absent"]

SENDER = "noreply@tm.openai.com"
READY = "ChatGPT - Your data export is ready"
STARTED = "ChatGPT - Your data export has started"
_HELP = "https://help.openai.com/en/articles/7260999"
_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who writes to whom and when, and what the receiving server found out about it.

    `verdict` is the DMARC result of the server named `authserv_id`; "absent" leaves its header
    away. `header_from` is the domain the verdict is about, by default the sender's own.
    """

    date: datetime
    to: str = "me@example.org"
    sender: str = SENDER
    display: str = "OpenAI"
    subject: str = READY
    message_id: str | None = None
    authserv_id: str = "mx.example.org"
    verdict: Verdict = "pass"
    header_from: str | None = None
    extra_headers: tuple[str, ...] = ()


def azure_url(file_name: str, date: datetime) -> str:
    """Return a link of 2023 and 2024: open to anybody until the `se` in it, 24 h after `date`."""
    expiry = (date + _LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = quote(_digest(file_name)[:40] + "+/a=", safe="")
    return (
        f"https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/{file_name}"
        f"?se={quote(expiry, safe='')}&sp=r&sv=2021-08-06&sr=b&sig={signature}"
    )


def estuary_url(file_name: str, date: datetime) -> str:
    """Return a link since 2025: bound to the account's session, without an expiry in it."""
    hours = -(-int(date.timestamp()) // 3600)  # signed into the hour that begins next
    return (
        f"https://chatgpt.com/backend-api/estuary/content?id={file_name}"
        f"&ts={hours}&p=de&cid=1&sig={_digest(file_name)}&v=0"
    )


def ready(envelope: Envelope, url: str, layout: Layout = "multipart") -> bytes:
    """Return the mail that brings a link."""
    text = (
        "Hello,\n\nYour data export is ready. The link expires in 24 hours.\n\n"
        # As seen: entities and angle brackets in plain text, the link on a line of its own.
        f"Download data export\n<{html.escape(url)}>\n\nQuestions? Visit our help center\n"
        f"<{_HELP}>\n\nBest,\nThe ChatGPT team\n"
    )
    return _mail(envelope, text, _page("Your data export is ready.", url), layout)


def started(envelope: Envelope, layout: Layout = "multipart") -> bytes:
    """Return the mail that says a request was received; it has no link to a ZIP."""
    line = "We have received your request. The export may take up to 7 days."
    return _mail(envelope, f"Hello,\n\n{line}\n\n<{_HELP}>\n", _page(line, _HELP), layout)


def phishing(date: datetime, kind: str, url: str) -> bytes:
    """Return a mail that pretends to bring an export; `kind` is one of `PHISHING`.

    forged-from: the real address, DMARC failed · forged-verdict: a `pass` of a stranger's server
    below the own server's `fail` · look-alike: another domain, DMARC passed for it · display-name:
    the address only in the display name · other-host: everything proven, the link leads elsewhere.
    """
    return ready(PHISHING[kind](date), url)


def _forged_from(date: datetime) -> Envelope:
    return Envelope(date, verdict="fail")


def _forged_verdict(date: datetime) -> Envelope:
    forged = "Authentication-Results: mx.example.org; dmarc=pass header.from=tm.openai.com"
    return Envelope(date, verdict="fail", extra_headers=(forged,))


def _look_alike(date: datetime) -> Envelope:
    return Envelope(date, sender="noreply@tm-openai.example")


def _display_name(date: datetime) -> Envelope:
    return Envelope(date, sender="export@attacker.example", display="noreply@tm.openai.com")


PHISHING = {
    "forged-from": _forged_from,
    "forged-verdict": _forged_verdict,
    "look-alike": _look_alike,
    "display-name": _display_name,
    "other-host": Envelope,
}

# Mails of the same house that must not be taken for an export: sender, subject, link.
_LOOK_ALIKES = (
    (SENDER, "Your temporary ChatGPT verification code", "https://chatgpt.com/auth/login"),
    ("otp@tm1.openai.com", "Your OpenAI code is 123456", "https://auth.openai.com/"),
    (SENDER, "New sign-in to your OpenAI account", "https://chatgpt.com/#settings/Security"),
    (SENDER, "OpenAI API - API Key Disabled", "https://platform.openai.com/api-keys"),
    (SENDER, "ChatGPT — новый тарифный план", "https://chatgpt.com/pricing"),
    (SENDER, "Your task is finished", "https://chatgpt.com/c/68f0a1b2-0000-8000-a000-00000000"),
    ("trustandsafety@tm.openai.com", "Your account", "https://help.openai.com/"),
    ("noreply@email.openai.com", "Your data, your choice: export anything", "https://openai.com/"),
    ("dsar@openai.com", "Privacy request received", "https://privacy.openai.com/policies"),
)


def look_alikes(date: datetime) -> tuple[bytes, ...]:
    """Return genuine mails of other kinds: codes, sign-ins, plans, tasks, marketing."""
    return tuple(
        _mail(
            Envelope(date, sender=sender, subject=subject),
            f"{subject}\n\n<{url}>\n",
            _page(subject, url),
            "multipart",
        )
        for sender, subject, url in _LOOK_ALIKES
    )


def _mail(envelope: Envelope, text: str, page: str, layout: Layout) -> bytes:
    mark = _digest(f"{envelope.message_id}{envelope.date}{envelope.subject}{text}")
    lines = [*_trace(envelope), *_identity(envelope, mark), "MIME-Version: 1.0"]
    body = {"plain": _plain, "html": _html}.get(layout, _multipart)(text, page, mark)
    return "\r\n".join([*lines, *body]).encode("utf-8")


def _trace(envelope: Envelope) -> list[str]:
    """Return what the receiving server put on top."""
    domain = envelope.header_from or envelope.sender.rpartition("@")[2]
    lines = []
    if envelope.verdict != "absent":
        good = envelope.verdict == "pass"
        dkim = "pass" if good else envelope.verdict
        lines += [
            f"Authentication-Results: {envelope.authserv_id};",
            f"\tdkim={dkim} header.d={domain} header.s=s1;",
            f"\tspf={dkim} smtp.mailfrom=bounces@em7877.{domain};",
            f"\tdmarc={envelope.verdict} (p=REJECT) header.from={domain}",
        ]
    stamp = format_datetime(envelope.date)
    return [
        *lines,
        f"Received: from o13.ptr1681.{domain} by {envelope.authserv_id} with ESMTPS; {stamp}",
        *envelope.extra_headers,
    ]


def _identity(envelope: Envelope, mark: str) -> list[str]:
    message_id = envelope.message_id or f"<{mark[:22]}@geopod-ismtpd-{mark[22:24]}>"
    return [
        f"Date: {format_datetime(envelope.date)}",
        f'From: "{envelope.display}" <{envelope.sender}>',
        f"To: {envelope.to}",
        f"Subject: {_subject(envelope.subject)}",
        f"Message-ID: {message_id}",
    ]


def _plain(text: str, page: str, mark: str) -> list[str]:
    del page, mark
    return [
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        *text.split("\n"),
    ]


def _html(text: str, page: str, mark: str) -> list[str]:
    del text, mark
    return [
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        # Soft line breaks fall into the link, and every "=" of it becomes "=3D".
        *quopri.encodestring(page.encode()).decode().split("\n"),
    ]


def _multipart(text: str, page: str, mark: str) -> list[str]:
    boundary = f"part_{mark[:24]}"
    return [
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
        "",
        f"--{boundary}",
        *_plain(text, page, mark),
        f"--{boundary}",
        *_html(text, page, mark),
        f"--{boundary}--",
        "",
    ]


def _page(line: str, url: str) -> str:
    return (
        "<html><head><title>ChatGPT</title></head><body>\n"
        f"<p>{html.escape(line)}</p>\n"
        f'<p><a href="{html.escape(url)}" style="padding: 12px">Download data export</a></p>\n'
        f'<p>Questions? Visit our <a href="{_HELP}">help center</a>.</p>\n</body></html>\n'
    )


def _subject(subject: str) -> str:
    return subject if subject.isascii() else Header(subject, "utf-8").encode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
