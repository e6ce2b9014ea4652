"""What a bearer token is, how long it is good, and where it may go."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from backupd.download.session import Anonymous, Secret, bearer
from backupd.errors import CredentialError
from tests.support.sessions import jwt

CONTENT = "https://chatgpt.com/backend-api/estuary/content?id=x.zip&p=de&sig=ab"
END = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("token", "until"),
    [
        (jwt(END), END),
        (jwt(None, exp=int(END.timestamp()), aud=["https://api.openai.com/v1"]), END),
        (jwt(None, sub="user"), None),
        (jwt(None, exp=None), None),
        (jwt(None, exp="soon"), None),
        (jwt(None, exp=10**30), None),
        (jwt(None, exp=-(10**30)), None),
        ("a." + base64.urlsafe_b64encode(b"[1, 2]").decode().rstrip("=") + ".c", None),
        ("sess-0123456789", None),
        ("a.b", None),
        ("a.b.c", None),
        ("a.////.c", None),
        ("a." + base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=") + ".c", None),
    ],
    ids=range(13),
)
def test_end_is_read_from_a_jwt_and_unknown_for_any_other_token(
    token: str, until: datetime | None
) -> None:
    assert bearer(token).until == until


@pytest.mark.parametrize(
    "text",
    ["tok.en", " tok.en\r\n", "Bearer tok.en", "authorization: bearer tok.en", "bearer  tok.en"],
)
def test_token_is_taken_as_it_is_copied(text: str) -> None:
    assert bearer(text).headers_for(CONTENT, 0) == (("Authorization", "Bearer tok.en"),)


@pytest.mark.parametrize(
    "text",
    ["", "two words", "tok\r\nX-Evil: 1", "tokén", '{"accessToken": "x"}', "x" * 16385, "a\x00b"],
)
def test_what_is_no_token_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(CredentialError) as caught:
        bearer(text)

    assert not text or text not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("url", "hop"),
    [
        (CONTENT, 1),
        (CONTENT.replace("chatgpt.com", "chat.openai.com"), 0),
        (CONTENT.replace("chatgpt.com", "x.chatgpt.com"), 0),
        (CONTENT.replace("chatgpt.com", "chatgpt.com.evil.example"), 0),
        (CONTENT.replace("chatgpt.com", "chatgpt.com:8443"), 0),
        (CONTENT.replace("chatgpt.com", "me@chatgpt.com"), 0),
        (CONTENT.replace("https", "http"), 0),
        ("https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/x.zip?sig=a", 0),
    ],
)
def test_token_goes_to_the_one_host_and_never_across_a_redirect(url: str, hop: int) -> None:
    assert bearer("tok.en").headers_for(url, hop) == ()


def test_nothing_shows_a_secret() -> None:
    token = bearer("canary-token")

    assert "canary" not in f"{token!r} {token} {Secret('canary-token')!r}"
    assert Anonymous().headers_for(CONTENT, 0) == ()
