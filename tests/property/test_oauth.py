"""Answers of an OAuth server may be anything: tokens, a refusal, or nothing, and never quoted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backupd.errors import MailboxRefused, MailboxUnreachable
from backupd.oauth.messages import (
    Answer,
    Client,
    DeviceCode,
    Tokens,
    error_code,
    read_device_code,
    read_tokens,
    refusal,
)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MARK = "canaryTOKEN"
CLIENT = Client("id", "imap", "", "", "", "login.example.org", "imap-x")
KEYS = (
    *("access_token", "refresh_token", "expires_in", "refresh_token_expires_in", "error"),
    *("error_description", "device_code", "user_code", "verification_uri", "interval"),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["invalid_grant", "slow_down", "3600", MARK, f"https://x/?{MARK}", "AADSTS700"]
    ),
    st.lists(st.integers(), max_size=2),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(
        lambda values: json.dumps(values).encode()
    ),
)
STATUSES = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 408, 429, 500, 503])


def failure(read: Callable[[Answer, datetime, Client], Tokens | DeviceCode], answer: Answer) -> str:
    """Return what a failure shows of itself; empty if there was none."""
    try:
        got = read(answer, NOW, CLIENT)
    except (MailboxRefused, MailboxUnreachable) as problem:
        return f"{problem.message} {problem.hint} {problem!r}"
    assert answer.status == 200
    assert NOW < got.expires_at <= NOW + timedelta(days=3660)
    assert isinstance(got, DeviceCode) or MARK not in repr(got)
    return ""


@given(STATUSES, BODIES)
def test_an_answer_is_tokens_or_a_failure_that_quotes_nothing(status: int, body: bytes) -> None:
    answer = Answer(status, body)
    for read in (read_tokens, read_device_code):
        shown = failure(read, answer)

        assert MARK not in shown
        assert shown.isprintable()


@given(STATUSES, BODIES)
def test_only_a_clear_word_is_a_refusal_for_good(status: int, body: bytes) -> None:
    answer = Answer(status, body)

    if isinstance(refusal(answer, CLIENT), MailboxRefused):
        assert 400 <= status < 500
        assert error_code(answer) is not None


def test_microsofts_number_is_told_and_its_description_is_not() -> None:
    description = f"AADSTS700082: The refresh token has expired. Trace: {MARK}"
    body = json.dumps({"error": "invalid_grant", "error_description": description}).encode()

    problem = refusal(Answer(400, body), CLIENT)

    assert problem.message.endswith("refused: invalid_grant AADSTS700082")


def test_numbers_may_be_text_and_zero_means_nothing() -> None:
    values = {"access_token": "a", "expires_in": "300", "refresh_expires_in": 0}

    tokens = read_tokens(Answer(200, json.dumps(values).encode()), NOW, CLIENT)

    assert tokens.expires_at == NOW + timedelta(minutes=5)
    assert tokens.refresh_expires_at is None
