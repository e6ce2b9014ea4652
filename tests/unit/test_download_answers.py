"""What an answer without the file means, by status, fields, content and the link's age."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backupd.download.answers import Answer, Standing, classify, coded, leads_to_sign_in
from backupd.download.headers import Headers
from backupd.download.outcome import Expired, SignInNeeded

NOW = datetime(2026, 9, 7, 12, 0, tzinfo=UTC)


def answer(status: int, head: bytes = b"", **fields: str) -> Answer:
    return Answer(status, Headers.of((k.replace("_", "-"), v) for k, v in fields.items()), head)


@pytest.mark.parametrize(
    ("anonymous", "late", "status", "kind"),
    [
        (False, False, 401, "sign-in-needed"),
        (False, True, 401, "expired"),
        (False, False, 403, "sign-in-or-dead"),
        (False, False, 404, "sign-in-or-dead"),
        (False, False, 410, "ended-early"),
        (False, True, 410, "expired"),
        (True, False, 403, "server-failed"),
        (True, True, 403, "expired"),
        (True, False, 404, "expired"),
        (False, True, 500, "server-failed"),
    ],
)
def test_wall_means_sign_in_before_the_deadline_and_perhaps_expired_after(
    anonymous: bool, late: bool, status: int, kind: str
) -> None:
    outcome = classify(answer(status), Standing(anonymous, late, NOW))

    assert outcome.kind == kind
    assert not (isinstance(outcome, Expired) and outcome.certain)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (403, b'{"detail":"Link expired"}', "ended-early"),
        (403, b'{"detail":"This download link has expired."}', "ended-early"),
        (404, b'{"error":{"code":"x","message":"The file was deleted"}}', "ended-early"),
        (422, b'{"detail":"expired signature"}', "ended-early"),
        (403, b'{"detail":"Your session has expired"}', "sign-in-or-dead"),
        (403, b'{"detail":"token_expired"}', "sign-in-or-dead"),
        (403, b'{"link":"x","detail":"session expired"}', "sign-in-or-dead"),
        (401, b'{"detail":"Link expired"}', "sign-in-needed"),
        (500, b'{"detail":"Link expired"}', "server-failed"),
    ],
)
def test_an_early_death_is_told_from_a_missing_sign_in_where_the_answer_says_so(
    status: int, said: bytes, kind: str
) -> None:
    early = classify(answer(status, said), Standing(anonymous=False, late=False, now=NOW))
    late = classify(answer(status, said), Standing(anonymous=False, late=True, now=NOW))

    assert early.kind == kind
    assert late.kind in ("expired", "server-failed")
    assert isinstance(early, SignInNeeded) or kind == "server-failed"  # whatever it says: tried on


@pytest.mark.parametrize("status", [200, 401, 403, 429, 503])
def test_challenge_is_neither_expiry_nor_sign_in(status: int) -> None:
    outcome = classify(answer(status, cf_mitigated="Challenge"), Standing(False, True, NOW))

    assert outcome.kind == "challenged"


@pytest.mark.parametrize(
    "head", [b"<html>", b"\xef\xbb\xbf\n<!DOCTYPE HTML>", b"  <HEAD>", b"<!-- x --><html>"]
)
def test_page_is_recognised_by_its_first_bytes(head: bytes) -> None:
    outcome = classify(
        answer(200, head, content_type="application/zip"), Standing(False, False, NOW)
    )

    assert isinstance(outcome, SignInNeeded)


def test_error_code_of_the_storage_is_read_from_field_or_body() -> None:
    standing = Standing(anonymous=True, late=False, now=NOW)

    by_field = classify(answer(404, x_ms_error_code="BlobNotFound"), standing)
    by_body = classify(answer(404, b"<Error><Code>BlobNotFound</Code></Error>"), standing)

    assert by_field == by_body == Expired(True, "the server no longer has the file")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://auth.openai.com/log-in", True),
        ("https://chatgpt.com/", True),
        ("https://chatgpt.com:443?x", True),
        ("https://a.b.openai.com", True),
        ("http://chatgpt.com/", False),
        ("https://chatgpt.com:8443/", False),
        ("https://notchatgpt.com/", False),
        ("https://chatgpt.com.evil.example/", False),
        ("https://chatgpt.com@evil.example/", False),
        ("https://evil.example/chatgpt.com/", False),
    ],
)
def test_only_the_own_site_counts_as_a_sign_in_page(url: str, expected: bool) -> None:
    assert leads_to_sign_in(url) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], False), (["identity"], False), (["Identity"], False), (["gzip"], True),
     (["identity", "gzip"], True), ([""], True)],
)  # fmt: skip
def test_any_coding_but_identity_counts(values: list[str], expected: bool) -> None:
    assert coded(Headers.of(("Content-Encoding", value) for value in values)) is expected
