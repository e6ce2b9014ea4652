"""Sessions on any input: no error but the one that says so, nothing shown, nothing sent astray."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from backupd.download.cookies import LONGEST, SESSION, Jar, read
from backupd.download.headers import Headers
from backupd.download.session import bearer
from backupd.errors import CredentialError
from tests.support.sessions import COOKIE, cookie_file, cookie_row

CONTENT = "https://chatgpt.com/backend-api/estuary/content?id=x.zip&p=de&sig=ab"
STORAGE = "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/x.zip?sig=a"
ELSEWHERE = (STORAGE, CONTENT.replace("chatgpt.com", "chat.openai.com"))

fields = st.text(st.sampled_from('ab.=;\t\r\n\x00é%/ "-0179TRUEchatgpt.om#'), max_size=30)
rows = st.lists(st.lists(fields, min_size=1, max_size=8).map("\t".join), max_size=6).map("\n".join)
credentials = st.one_of(st.text(max_size=200), rows, st.lists(fields, max_size=6).map("\n".join))


T = TypeVar("T")


def ended(reader: Callable[[str], T], text: str) -> T | str:
    """Return what was read, or all that the error says."""
    try:
        return reader(text)
    except CredentialError as error:
        return f"{error.message} {error.hint}"


@given(credentials)
def test_any_credential_is_cookies_or_an_error_that_shows_nothing(text: str) -> None:
    crumbs = ended(read, text)
    if isinstance(crumbs, str):
        assert re.fullmatch("[ -~]+", crumbs)
        return
    jar = Jar(crumbs)
    for name, value in jar.headers_for(CONTENT):
        assert name == "Cookie" and re.fullmatch("[ -~]+", value) and len(value) <= LONGEST
    assert not any(jar.headers_for(url) for url in ELSEWHERE)


@given(st.one_of(st.text(max_size=100), st.from_regex(r"[\w.+/-]{0,40}=*", fullmatch=True)))
def test_any_credential_is_a_token_or_an_error_that_shows_nothing(text: str) -> None:
    token = ended(bearer, text)
    if isinstance(token, str):
        assert len(text) < 4 or text not in token
        return
    assert re.fullmatch("Bearer [!-~]+", dict(token.headers_for(CONTENT, 0))["Authorization"])
    assert not any(token.headers_for(url, 0) for url in ELSEWHERE)


attributes = st.sampled_from(
    [
        "Path=/",
        "Path=",
        "Path=/other",
        "Domain=chatgpt.com",
        "Domain=.com",
        "Domain=",
        "Domain=.windows.net",
        "Max-Age=0",
        "Max-Age=-1",
        "Max-Age=" + "9" * 40,
        "Expires=Wed, 09 Jun 2099 10:18:14 GMT",
        "Expires=never",
        "Expires=" + "1 " * 400,
        "Version=1",
        "Secure",
        "HttpOnly",
        "Partitioned",
    ]
)
set_cookies = st.builds(
    lambda name, value, rest: "; ".join([f"{name}={value}", *rest]),
    st.one_of(st.just(SESSION), fields),
    st.one_of(fields, st.text(max_size=30)),
    st.lists(attributes, max_size=4),
)


@given(st.lists(set_cookies, max_size=5), st.sampled_from([CONTENT, *ELSEWHERE]))
@example([f"{SESSION}=x; Max-Age={'9' * 40}"], CONTENT)
@example([f"{SESSION}=x; Expires={' ' * 60_000}x"], CONTENT)
def test_any_answer_leaves_a_jar_that_can_be_sent_and_told_of(answers: list[str], url: str) -> None:
    jar = Jar(read(cookie_file(cookie_row())))
    began = time.monotonic()

    jar.learn(url, Headers.of(("set-cookie", value) for value in answers))

    assert time.monotonic() - began < 5
    for target in (CONTENT, *ELSEWHERE):
        for _, value in jar.headers_for(target):
            assert re.fullmatch("[ -~]+", value)
    assert jar.session_until() is None or jar.session_until()
    if url != CONTENT:
        assert jar.headers_for(CONTENT) == (("Cookie", f"{SESSION}={COOKIE}"),)
