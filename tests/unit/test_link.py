"""Links: genuine variants of both eras are found, everything else is refused with the reason."""

from __future__ import annotations

import html
import quopri
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from backupd.mail.gate import HostRule
from backupd.mail.link import HOSTS, Era, LinkRefused, SecretUrl, check_url, find, parse_link
from backupd.mail.message import parse

RECEIVED = datetime(2026, 11, 22, 8, 0, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
ACCOUNT = "5f3a" * 16
NAME = f"{ACCOUNT}-2026-11-22-07-45-25-{'0123456789abcdef' * 2}.zip"
SIGNATURE = "8d" * 32
ESTUARY = (
    f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&ts=498703&p=de&cid=1"
    f"&sig={SIGNATURE}&v=0"
)
OLD_NAME = f"{ACCOUNT}-2024-10-26-21-46-01.zip"
AZURE = (
    f"https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/{OLD_NAME}"
    f"?se=2024-10-27T21%3A46%3A08Z&sp=r&sv=2022-11-02&sr=b&sig={'A' * 41}%2Fb%3D"
)
URLS = {"estuary": ESTUARY, "azure": AZURE}


def mail(body: str, kind: str = "text/plain; charset=utf-8", encoding: str = "8bit") -> bytes:
    return (
        "From: OpenAI <noreply@tm.openai.com>\r\nSubject: ChatGPT - Your data export is ready\r\n"
        "Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@x>\r\n"
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}"
    ).encode()


def anchor(url: str) -> str:
    return f'<p><a style="x" href="{html.escape(url)}">Download data export</a></p>'


def soft(text: str) -> str:
    return quopri.encodestring(text.encode()).decode().replace("\n", "\r\n")


def both(text: str, page: str) -> str:
    return (
        f"--b\r\nContent-Type: text/plain\r\n\r\n{text}\r\n"
        f"--b\r\nContent-Type: text/html\r\n\r\n{page}\r\n--b--\r\n"
    )


HELP = "https://help.openai.com/en/articles/7260999-how-do-i-export"
MULTIPART = "multipart/alternative; boundary=b"
QP = "quoted-printable"
HTML = "text/html; charset=us-ascii"
VARIANTS = {
    "bracketed": lambda url: mail(f"Download data export\r\n<{url}>\r\n\r\nHelp\r\n<{HELP}>\r\n"),
    "entities in plain text": lambda url: mail(f"Download data export\r\n<{html.escape(url)}>\r\n"),
    "numeric entities": lambda url: mail(f"<{url.replace('&', '&#38;')}>"),
    "hexadecimal entities": lambda url: mail(f"<{url.replace('&', '&#x26;')}>"),
    "newline before": lambda url: mail(f"Download data export\r\n<\r\n{url}>\r\n"),
    "newline inside brackets": lambda url: mail(f"<{url[:90]}\r\n{url[90:]}>\r\n"),
    "two newlines and indents": lambda url: mail(
        f"< {url[:70]}\r\n  {url[70:140]}\n\t{url[140:]} >"
    ),
    "bare": lambda url: mail(f"Download data export\r\n{url}\r\n\r\nThanks\r\n"),
    "bare with full stop": lambda url: mail(f"Use {url}. It expires in 24 hours."),
    "bare in brackets": lambda url: mail(f"Use ({url})"),
    "bare and broken before &": lambda url: mail(
        f"{url.replace('&', chr(10) + '&', 1)}\r\n\r\nBye"
    ),
    "bare and broken after &": lambda url: mail(f"{url.replace('&', '&' + chr(10), 1)}\r\n\r\nBye"),
    "bare and broken in the signature": lambda url: mail(f"{url[:-20]}\r\n{url[-20:]}\r\n\r\nBye"),
    "bare and broken in the name": lambda url: mail(f"{url[:110]}\r\n{url[110:]}\r\n\r\nBye"),
    "bare, followed by a word": lambda url: mail(f"{url}\r\nThanks!\r\n"),
    "html": lambda url: mail(anchor(url), HTML, "7bit"),
    "html, quoted-printable": lambda url: mail(soft(anchor(url)), HTML, QP),
    "html, raw ampersands": lambda url: mail(f"<a href='{url}'>x</a>", HTML),
    "html, no quotes": lambda url: mail(f"<a href={html.escape(url)} class=b>x</a>", HTML),
    "html, broken line": lambda url: mail(f'<a href="{url[:80]}\r\n {url[80:]}">x</a>', HTML),
    "html, upper case": lambda url: mail(f'<A HREF = "{html.escape(url)}">x</A>', HTML),
    "both parts": lambda url: mail(both(f"<{html.escape(url)}>", anchor(url)), MULTIPART),
    "cut in text, whole in html": lambda url: mail(
        both(f"{url[:-9]}\r\n\r\n", anchor(url)), MULTIPART
    ),
    "tracker in html, raw in text": lambda url: mail(
        both(url, anchor("https://mandrillapp.com/track/click/31165340/x?p=eyJz")), MULTIPART
    ),
    "with pixels and help": lambda url: mail(
        f'<img src="https://u20216706.ct.sendgrid.net/wf/open?upn=1">{anchor(HELP)}{anchor(url)}',
        HTML,
    ),
    "twice": lambda url: mail(anchor(url) + anchor(url), HTML),
    "subject in another language": lambda url: mail(f"Ваш экспорт готов\r\n<{url}>"),
    "host in capitals": lambda url: mail(f"<{with_host(url, str.upper)}>"),
    "host with a trailing dot": lambda url: mail(f"<{with_host(url, '{}.'.format)}>"),
    "port 443": lambda url: mail(f"<{with_host(url, '{}:443'.format)}>"),
}


def with_host(url: str, change: Callable[[str], str]) -> str:
    scheme, _, rest = url.partition("://")
    host, _, tail = rest.partition("/")
    return f"{scheme}://{change(host)}/{tail}"


@pytest.mark.parametrize("era", URLS)
@pytest.mark.parametrize("name", VARIANTS)
def test_genuine_variants_are_found(name: str, era: str) -> None:
    link = find(parse(VARIANTS[name](URLS[era])), RECEIVED)

    assert link.url.reveal() == URLS[era]
    assert link.era is Era(era)


def test_there_are_enough_genuine_variants() -> None:
    assert len(VARIANTS) * len(URLS) >= 40


def test_an_estuary_link_says_what_is_known() -> None:
    link = find(parse(mail(f"<{ESTUARY}>")), RECEIVED)

    assert (link.host, link.file_name, link.account_prefix) == ("chatgpt.com", NAME, ACCOUNT)
    assert link.exported_at == datetime(2026, 11, 22, 7, 45, 25, tzinfo=UTC)
    assert link.signed_in
    assert link.deadline == datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
    assert link.give_up_at == datetime(2026, 11, 23, 14, 0, 5, tzinfo=UTC)


def test_an_azure_link_carries_its_own_deadline() -> None:
    link = find(parse(mail(f"<{AZURE}>")), RECEIVED)

    assert (link.file_name, link.signed_in) == (OLD_NAME, False)
    assert link.deadline == datetime(2024, 10, 27, 21, 46, 8, tzinfo=UTC)
    assert link.give_up_at == link.deadline + 6 * HOUR


@pytest.mark.parametrize(
    ("expiry", "deadline"),
    [
        ("2026-11-23T09%3A00%3A00Z", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23T09:00:00.1234567Z", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23T09%3A00Z", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-13-45T09%3A00%3A00Z", RECEIVED + 24 * HOUR),
        ("9999-12-31T23%3A59%3A59Z", RECEIVED + 24 * HOUR),
        ("soon", RECEIVED + 24 * HOUR),
        ("", RECEIVED + 24 * HOUR),
    ],
)
def test_expiries(expiry: str, deadline: datetime) -> None:
    link = parse_link(AZURE.replace("2024-10-27T21%3A46%3A08Z", expiry), None, RECEIVED)

    assert link.deadline == deadline


@pytest.mark.parametrize(
    ("mail_at", "deadline", "give_up"),
    [
        (None, 24, 30),
        (RECEIVED - 2 * HOUR, 22, 30),
        (RECEIVED + 2 * HOUR, 24, 32),
        (RECEIVED + 9000 * HOUR, 24, 54),
        (RECEIVED - 9000 * HOUR, -8976, 30),
    ],
)
def test_the_deadline_survives_wrong_clocks(
    mail_at: datetime | None, deadline: int, give_up: int
) -> None:
    link = parse_link(ESTUARY, mail_at, RECEIVED)

    assert link.deadline == RECEIVED + deadline * HOUR
    assert link.give_up_at == RECEIVED + give_up * HOUR


def test_a_link_is_rebuilt_from_what_a_ledger_keeps() -> None:
    for url in URLS.values():
        link = find(parse(mail(f"<{url}>")), RECEIVED)
        assert parse_link(link.url.reveal(), link.mail_at, RECEIVED) == link


HOSTILE = {
    "user name": "https://chatgpt.com@evil.com/backend-api/estuary/content?{q}",
    "user name and password": "https://chatgpt.com:443@evil.com/backend-api/estuary/content?{q}",
    "host as a user name": "https://evil.com@chatgpt.com/backend-api/estuary/content?{q}",
    "backslash": "https://evil.com\\@chatgpt.com/backend-api/estuary/content?{q}",
    "backslash for a slash": "https://chatgpt.com\\.evil.com/backend-api/estuary/content?{q}",
    "escape in the host": "https://chatgpt.com%2eevil.com/backend-api/estuary/content?{q}",
    "NUL in the host": "https://chatgpt.com%00.evil.com/backend-api/estuary/content?{q}",
    "homograph": "https://chаtgpt.com/backend-api/estuary/content?{q}",
    "punycode": "https://xn--chtgpt-2nf.com/backend-api/estuary/content?{q}",
    "full width": "https://chatgpt｡com/backend-api/estuary/content?{q}",
    "suffix": "https://chatgpt.com.evil.com/backend-api/estuary/content?{q}",
    "prefix": "https://evilchatgpt.com/backend-api/estuary/content?{q}",
    "sub-domain": "https://x.chatgpt.com/backend-api/estuary/content?{q}",
    "two trailing dots": "https://chatgpt.com../backend-api/estuary/content?{q}",
    "port": "https://chatgpt.com:8443/backend-api/estuary/content?{q}",
    "empty port": "https://chatgpt.com:/backend-api/estuary/content?{q}",
    "address": "https://127.0.0.1/backend-api/estuary/content?{q}",
    "short address": "https://127.1/backend-api/estuary/content?{q}",
    "decimal address": "https://2130706433/backend-api/estuary/content?{q}",
    "hexadecimal address": "https://0x7f.1/backend-api/estuary/content?{q}",
    "IPv6": "https://[::1]/backend-api/estuary/content?{q}",
    "no host": "https:///backend-api/estuary/content?{q}",
    "one slash": "https:/chatgpt.com/backend-api/estuary/content?{q}",
    "http": "http://chatgpt.com/backend-api/estuary/content?{q}",
    "upper-case scheme": "HTTPS://chatgpt.com/backend-api/estuary/content?{q}",
    "other scheme": "ftp://chatgpt.com/backend-api/estuary/content?{q}",
    "scheme-relative": "//chatgpt.com/backend-api/estuary/content?{q}",
    "tab": "https://chat\tgpt.com/backend-api/estuary/content?{q}",
    "newline": "https://chatgpt.com/\nbackend-api/estuary/content?{q}",
    "space": "https://chatgpt.com/backend-api/estuary/content ?{q}",
    "DEL": "https://chatgpt.com/backend-api/estuary/content?{q}\x7f",
    "quote": 'https://chatgpt.com/backend-api/estuary/content?{q}"',
    "fragment": "https://chatgpt.com/backend-api/estuary/content?{q}#x",
    "other path": "https://chatgpt.com/share/abc?{q}",
    "path prefix": "https://chatgpt.com/backend-api/estuary/content/x?{q}",
    "dot segments": "https://chatgpt.com/backend-api/x/../estuary/content?{q}",
    "double slash": "https://chatgpt.com//backend-api/estuary/content?{q}",
    "other endpoint": "https://chatgpt.com/backend-api/content?{q}",
    "no query": "https://chatgpt.com/backend-api/estuary/content",
    "no parameters": "https://chatgpt.com/backend-api/estuary/content?",
    "file service": "https://chatgpt.com/backend-api/estuary/content?{q:fs}",
    "p twice": "https://chatgpt.com/backend-api/estuary/content?{q}&p=fs",
    "id twice": "https://chatgpt.com/backend-api/estuary/content?id=x.zip&{q}",
    "no signature": "https://chatgpt.com/backend-api/estuary/content?id=a.zip&p=de",
    "empty signature": "https://chatgpt.com/backend-api/estuary/content?id=a.zip&p=de&sig=",
    "an image": "https://chatgpt.com/backend-api/estuary/content?id=file_0123.zip&p=de&sig=1",
    "no ZIP": "https://chatgpt.com/backend-api/estuary/content?id=a.png&p=de&sig=1",
    "a path for a name": "https://chatgpt.com/backend-api/estuary/content?id=..%2Fa.zip&p=de&sig=1",
    "a dot for a name": "https://chatgpt.com/backend-api/estuary/content?id=..zip&p=de&sig=1",
    "NUL in the name": "https://chatgpt.com/backend-api/estuary/content?id=a%00.zip&p=de&sig=1",
    "semicolons": "https://chatgpt.com/backend-api/estuary/content?id=a.zip;p=de;sig=1",
    "blob of another account": "https://evil.blob.core.windows.net/exportcontainer/a.zip?sig=1",
    "other container": "https://proddatamgmtqueue.blob.core.windows.net/other/a.zip?sig=1",
    "deeper in the container": (
        "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/x/a.zip?sig=1"
    ),
    "escape in the path": (
        "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/..%2fa.zip?sig=1"
    ),
    "no SAS": "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/a.zip",
    "Mandrill": "https://mandrillapp.com/track/click/31165340/chatgpt.com?p=abc.zip",
    "SendGrid": "https://u20216706.ct.sendgrid.net/ls/click?upn=u001.zip",
    "open redirect": "https://www.google.com/url?q=https://chatgpt.com/a.zip",
    "long": "https://chatgpt.com/backend-api/estuary/content?{q}&x=" + "a" * 9000,
    "many parameters": "https://chatgpt.com/backend-api/estuary/content?{q}" + "&a%d=1" * 60,
    "empty": "",
    "script": "javascript:alert(1)",
}


# A line break joins, a blank or a quote ends the link: what remains is judged by itself.
HARMLESS_IN_A_MAIL = ("newline", "tab", "space", "quote", "DEL")


def spelled(name: str) -> str:
    template = HOSTILE[name]
    query = f"id={NAME}&ts=1&p=de&cid=1&sig={SIGNATURE}&v=0"
    if name == "many parameters":
        template = template % tuple(range(60))
    return template.replace("{q}", query).replace("{q:fs}", query.replace("p=de", "p=fs"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_urls_do_not_pass_the_gate(name: str) -> None:
    with pytest.raises(LinkRefused) as refused:
        check_url(spelled(name))

    assert SIGNATURE not in refused.value.message
    assert refused.value.reason.isprintable()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in HARMLESS_IN_A_MAIL])
@pytest.mark.parametrize("layout", ["text", "bracketed", "html"])
def test_a_mail_with_a_hostile_url_has_no_link(name: str, layout: str) -> None:
    url = spelled(name)
    body = {"text": url, "bracketed": f"<{url}>", "html": f'<a href="{url}">x</a>'}[layout]
    kind = HTML if layout == "html" else "text/plain; charset=utf-8"
    with pytest.raises(LinkRefused):
        find(parse(mail(body, kind)), RECEIVED)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://exports.new.example/a.zip?sig=1", "exports.new.example"),
        (
            "https://chatgpt.com.evil.com/backend-api/estuary/content?id=a.zip",
            "chatgpt.com.evil.com",
        ),
        ("https://evil.blob.core.windows.net/exportcontainer/a.zip", "evil.blob.core.windows.net"),
    ],
)
def test_an_unlisted_host_is_named(url: str, host: str) -> None:
    with pytest.raises(LinkRefused, match="not on the list") as refused:
        find(parse(mail(f"See {HELP} or {url}")), RECEIVED)

    assert refused.value.host == host


def test_a_mail_of_trackers_alone_names_where_they_go() -> None:
    page = anchor("https://u1.ct.sendgrid.net/ls/click?upn=u001") + anchor(HELP)
    with pytest.raises(LinkRefused, match=r"u1\.ct\.sendgrid\.net") as refused:
        find(parse(mail(page, HTML)), RECEIVED)

    assert refused.value.host == "u1.ct.sendgrid.net"


def test_two_different_exports_in_one_mail_are_refused() -> None:
    other = ESTUARY.replace("07-45-25", "07-45-26")
    with pytest.raises(LinkRefused, match="2 different exports"):
        find(parse(mail(f"<{ESTUARY}>\r\n<{other}>")), RECEIVED)


def test_no_link_at_all_is_refused() -> None:
    for raw in (mail("hello"), mail("", HTML), mail(both("a", "b"), MULTIPART)):
        with pytest.raises(LinkRefused, match="no download link"):
            find(parse(raw), RECEIVED)


def test_entities_without_a_semicolon_are_parameters() -> None:
    url = ESTUARY + "&sect=1&copy=2&not=3"

    assert find(parse(mail(f"<{url}>")), RECEIVED).url.reveal() == url


def test_entities_are_undone_once_only() -> None:
    with pytest.raises(LinkRefused):
        find(parse(mail(f"<{ESTUARY.replace('&', '&amp;amp;')}>")), RECEIVED)


def test_one_trailing_dot_and_port_443_are_dropped() -> None:
    url = ESTUARY.replace("chatgpt.com", "ChatGPT.com.:443")

    assert check_url(url).url.reveal() == ESTUARY


def test_a_secret_url_shows_its_host_and_a_digest_only() -> None:
    url = SecretUrl(ESTUARY)

    for shown in (str(url), repr(url), f"{url}", f"{check_url(ESTUARY)!r}"):
        assert "chatgpt.com" in shown
        assert SIGNATURE[:8] not in shown
        assert ACCOUNT[:8] not in shown
    assert SIGNATURE not in repr(find(parse(mail(f"<{ESTUARY}>")), RECEIVED))
    assert url == SecretUrl(ESTUARY)
    assert hash(url) == hash(SecretUrl(ESTUARY))
    assert url != SecretUrl(AZURE)
    assert url != ESTUARY


def test_the_table_is_data() -> None:
    rule = HostRule(
        host="exports.example.org",
        era=Era.AZURE,
        path=r"/(?P<file>[^/]+)",
        required=(("sig", None),),
    )
    url = "https://exports.example.org/a.zip?sig=1"

    assert check_url(url, (*HOSTS, rule)).file_name == "a.zip"
    with pytest.raises(LinkRefused):
        check_url(url)
