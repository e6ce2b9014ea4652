"""Which cookies are read, where they go, and what a server may change about them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backupd.download.cookies import MOST, SESSION, Jar, dump, read, reload
from backupd.download.headers import Headers
from backupd.errors import CredentialError
from tests.support.sessions import COOKIE, FAR, cookie_file, cookie_row

CONTENT = "https://chatgpt.com/backend-api/estuary/content?id=x.zip&p=de&sig=ab"
STORAGE = "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/x.zip?sig=a"
SOON = int(FAR.timestamp())


def sent(text: str, url: str = CONTENT) -> str:
    fields = dict(Jar(read(text)).headers_for(url))
    return fields.get("Cookie", "")


def answer(*set_cookie: str) -> Headers:
    return Headers.of(("Set-Cookie", value) for value in set_cookie)


@pytest.mark.parametrize(
    "text",
    [
        cookie_file(cookie_row()),
        cookie_row(),  # the first line is missing
        cookie_file(cookie_row()).replace("\n", "\r\n"),
        cookie_file("#HttpOnly_" + cookie_row()),
        cookie_file(cookie_row(domain="chatgpt.com")),
        cookie_file(cookie_row(expires=0)),
        cookie_file(cookie_row(expires="")),
        cookie_file(cookie_row(expires=f"{SOON}.25")),
        cookie_file(cookie_row(expires=SOON * 1000)),  # some programs write milliseconds
        f"{SESSION}={COOKIE}",
        f"# mine\n{SESSION}={COOKIE}\n",
        f"Cookie: {SESSION}={COOKIE};",
    ],
    ids=range(12),
)
def test_both_forms_are_read_as_other_programs_write_them(text: str) -> None:
    assert sent(text) == f"{SESSION}={COOKIE}"


def test_several_cookies_go_together_whatever_their_form() -> None:
    assert (
        sent("a=1\nb=2")
        == sent("a=1; b=2")
        == sent(cookie_file(cookie_row("a", "1"), cookie_row("b", "2")))
    )


@pytest.mark.parametrize(
    ("line", "url"),
    [
        (cookie_row(path="/auth"), CONTENT),
        (cookie_row(domain="auth.chatgpt.com"), CONTENT),
        (cookie_row(domain="chatgpt.com"), CONTENT.replace("chatgpt.com", "sub.chatgpt.com")),
        (cookie_row(expires=1_700_000_000), CONTENT),
        (cookie_row(), STORAGE),
        (cookie_row(), CONTENT.replace("chatgpt.com", "chat.openai.com")),
        (cookie_row(), CONTENT.replace("chatgpt.com", "chatgpt.com.evil.example")),
        (cookie_row(), CONTENT.replace("chatgpt.com", "notchatgpt.com")),
        (cookie_row(), CONTENT.replace("https", "http")),
    ],
)
def test_domain_path_end_and_secure_decide_where_a_cookie_goes(line: str, url: str) -> None:
    assert sent(cookie_file(line, cookie_row("other", "kept")), url).count(SESSION) == 0


@pytest.mark.parametrize("domain", [".com", "com", ".example.org", "evilchatgpt.com", ""])
def test_cookies_of_other_sites_are_left_out(domain: str) -> None:
    with pytest.raises(CredentialError, match="other sites only"):
        read(cookie_file(cookie_row(domain=domain)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no pair",
        "=canary",
        "a b=canary",
        "name=canäry",
        "name=can\x01ary",
        cookie_file(cookie_row(value="can\x7fary")),
        cookie_file(cookie_row(expires="never")),
        cookie_file(cookie_row() + "\tmore"),
        "\n".join(f"a{n}=canary" for n in range(MOST + 1)),
    ],
    ids=range(10),
)
def test_what_is_no_set_of_cookies_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(CredentialError) as caught:
        read(text)

    assert "can" not in f"{caught.value!r}".replace("cannot", "")


def test_server_renews_a_cookie_for_its_own_host_only() -> None:
    jar = Jar(read(cookie_file(cookie_row())))

    jar.learn(CONTENT, answer(f"{SESSION}=fresh; Domain=.chatgpt.com; Path=/; Secure; HttpOnly"))
    jar.learn(STORAGE, answer(f"{SESSION}=planted; Domain=.chatgpt.com; Path=/"))
    jar.learn(STORAGE, answer(f"{SESSION}=; Domain=.chatgpt.com; Path=/; Max-Age=0"))
    jar.learn(CONTENT, answer("a=1; Domain=.com", "b=2; Domain=.openai.com", "c=b\u00e4d"))

    assert jar.changed
    assert jar.headers_for(CONTENT) == (("Cookie", f"{SESSION}=fresh"),)


def test_flood_of_cookies_is_not_taken() -> None:
    jar = Jar(read(cookie_file(cookie_row())))

    jar.learn(CONTENT, answer(*(f"a{number}=x; Path=/" for number in range(MOST + 1))))

    assert not jar.changed


def test_end_of_the_session_is_that_of_its_own_cookie() -> None:
    soon = int((FAR - timedelta(days=1)).timestamp())
    jar = Jar(
        read(
            cookie_file(
                cookie_row(f"{SESSION}.0"),
                cookie_row(f"{SESSION}.1", expires=soon),
                cookie_row("x", "1", expires=9),
            )
        )
    )

    assert jar.session_until() == FAR - timedelta(days=1)
    assert Jar(read("x=1")).session_until() is None
    assert not Jar(read("x=1")).has_session()
    assert Jar(read(cookie_file(cookie_row(expires=10**14)))).session_until() is not None


def test_nothing_shows_a_value() -> None:
    crumbs = read(cookie_file(cookie_row()))

    assert "canary" not in f"{crumbs!r} {Jar(crumbs)!r}"


def test_cookies_come_back_as_they_were_written_down() -> None:
    crumbs = read(cookie_file(cookie_row(), cookie_row("a", "1", expires=0, domain="chatgpt.com")))

    assert reload(dump(crumbs)) == crumbs
    assert [reload(text) for text in (None, "", "[1]", dump(crumbs)[:-1])] == [None] * 4
