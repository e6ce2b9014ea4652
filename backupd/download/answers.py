"""What an answer that is not the file means: the server's words turned into an outcome. Pure.

Only status, a few header fields and the first bytes of the body are looked at; nothing of them is
copied into the outcome. The age of the link decides between "expired" and "sign in": a wall looks
the same before and after the deadline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from backupd.download import headers as fields
from backupd.download.headers import Headers
from backupd.download.outcome import (
    Challenged,
    EndedEarly,
    Expired,
    LinkRefused,
    NotAZip,
    Outcome,
    RateLimited,
    ServerFailed,
    SessionRefused,
    SignInNeeded,
    SignInOrDead,
    WrongAccount,
)

MAGIC = b"PK\x03\x04"
HEAD_SIZE = 4096
"""So much of a body is enough to tell what it is."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_WALLS = frozenset({401, 403, 404, 410, 422})
_SILENT = frozenset({403, 404, 422})
"""A missing sign-in and a dead link may both get these; 401 and a sign-in page say which."""
_ENDED = re.compile(
    rb"\b(?:link|url|file|download|signature|export)\b[^\"<>{}]{0,40}\b(?:expired|gone|deleted)\b"
    rb"|\b(?:expired|deleted)\b[^\"<>{}]{0,20}\b(?:link|url|file|download|signature|export)\b",
    re.IGNORECASE,
)
_AZURE_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
_AZURE_TIME = b"not valid in the specified time frame"
_AZURE_GONE = frozenset({"BlobNotFound", "ContainerNotFound", "ResourceNotFound"})
_SITE_PAGE = re.compile(
    r"https://(?:[a-z0-9-]{1,63}\.){0,4}(?:openai|chatgpt)\.com(?::443)?(?:[/?]|\Z)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, header fields and the first bytes (at most `HEAD_SIZE`) of an answer."""

    status: int
    headers: Headers
    head: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the link when the answer comes.

    `anonymous`: the link needs no session, its signature is enough. `late`: its deadline has
    passed; for an anonymous link that is the end its signature names. `now` is aware UTC. `signed`:
    the request carried a session.
    """

    anonymous: bool
    late: bool
    now: datetime
    signed: bool = False


def classify(answer: Answer, standing: Standing) -> Outcome:
    """Name the outcome for an answer that does not carry the file."""
    if (answer.headers.one("cf-mitigated") or "").lower() == "challenge":
        return Challenged()
    if answer.status == 429 or (answer.status == 503 and answer.headers.has("retry-after")):
        wish = answer.headers.one("retry-after")
        return RateLimited(fields.retry_after(wish, standing.now))
    told = _by_azure_code(answer, standing)
    if told is not None:
        return told
    if not (standing.late or standing.anonymous) and _says_ended(answer):
        return EndedEarly(f"status {answer.status}: the link has ended")
    if answer.status in _WALLS:
        if standing.signed and not standing.late and _is_denial(answer):
            return WrongAccount(f"status {answer.status} to a signed-in request")
        return _wall(answer.status, f"status {answer.status}", standing)
    if answer.status in (200, 206):
        return _by_content(answer, standing)
    return ServerFailed(answer.status)


def coded(headers: Headers) -> bool:
    """Tell whether the body is in a content coding, although identity was asked for."""
    return headers.has("content-encoding") and (
        (headers.one("content-encoding") or "?").lower() != "identity"
    )


def leads_to_sign_in(url: str) -> bool:
    """Tell whether a redirect to `url`, refused as a link, leads to a page of the site.

    Used to name the outcome only; such a redirect is never followed.
    """
    return _SITE_PAGE.match(url) is not None


def signed_out(standing: Standing) -> Outcome:
    """Name the outcome for a redirect to a page of the site instead of the file."""
    return _wall(302, "the link leads to a sign-in page", standing)


def _by_azure_code(answer: Answer, standing: Standing) -> Outcome | None:
    """Judge by the storage service's own error code; None where there is none that says enough."""
    found = _AZURE_CODE.search(answer.head)
    code = found[1].decode("ascii") if found else answer.headers.one("x-ms-error-code")
    if code in _AZURE_GONE:
        return Expired(certain=True, detail="the server no longer has the file")
    if code != "AuthenticationFailed":
        return None
    if _AZURE_TIME in answer.head or standing.late:
        return Expired(certain=True, detail="the link's signature has ended")
    return LinkRefused("the server rejects the link's signature before its end: link damaged")


def _is_denial(answer: Answer) -> bool:
    """Tell whether the service itself, not a wall before it, says no to whom it knows.

    Inferred: it answers in JSON, where a sign-in page or a filter answers in HTML, and a session
    that it does not know gets 401 or 422.
    """
    return answer.status in (403, 404) and answer.head.lstrip(b" \t\r\n").startswith(b"{")


def _says_ended(answer: Answer) -> bool:
    """Tell whether an answer says in so many words that the link or its file is no more.

    A session may expire as well: the word alone, or 401, says nothing about the link.
    """
    return answer.status == 410 or (
        answer.status in (400, 403, 404, 422) and _ENDED.search(answer.head) is not None
    )


def _wall(status: int, what: str, standing: Standing) -> Outcome:
    if standing.late:
        return Expired(certain=False, detail=f"{what}, after the deadline")
    if standing.signed:
        return SessionRefused(f"{what}, to a signed-in request")
    if not standing.anonymous:
        return SignInOrDead(what) if status in _SILENT else SignInNeeded(what)
    if status in (404, 410):
        return Expired(certain=False, detail=what)
    return ServerFailed(status)


def _by_content(answer: Answer, standing: Standing) -> Outcome:
    """Judge a successful answer by what its body begins with, never by its declared type."""
    html = (answer.headers.one("content-type") or "").lower().startswith("text/html")
    if coded(answer.headers):
        if html:
            return _wall(answer.status, "a web page instead of the file", standing)
        return ServerFailed(answer.status, "the body is compressed")
    text = answer.head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<!--")):
        if standing.anonymous:
            return NotAZip("a web page instead of a ZIP")
        return _wall(answer.status, "a web page instead of the file", standing)
    if text.startswith(b"<"):
        return NotAZip("an XML document instead of a ZIP")
    if text.startswith((b"{", b"[")):
        return NotAZip("a JSON document instead of a ZIP")
    return NotAZip("an empty file" if not answer.head else "no ZIP by its first bytes")
