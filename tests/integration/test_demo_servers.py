"""The demo's servers, tried with the clients that the daemon uses."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import imapclient
import pytest

from backupd.demo.answers import Plan, Wall
from backupd.demo.certificates import Authority
from backupd.demo.downloads import AZURE_HOST, ESTUARY_HOST, DownloadServer
from backupd.demo.imap import DemoImap
from backupd.demo.mails import Envelope, azure_url, estuary_url, ready

NOW = datetime(2026, 1, 22, 3, 45, 25, tzinfo=UTC)
NAME = "ab" * 32 + "-2026-01-22-03-45-25.zip"
BODY = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def trust(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.write_ca(tmp_path / "ca.pem")))


@pytest.fixture
def downloads(authority: Authority, tmp_path: Path) -> Iterator[DownloadServer]:
    (tmp_path / "export.zip").write_bytes(BODY)
    with DownloadServer(authority) as server:
        yield server


@pytest.fixture
def imap(authority: Authority) -> Iterator[DemoImap]:
    with DemoImap(authority.server_context("localhost"), "me@example.org", "secret") as server:
        yield server


class Browser:
    """A client that reaches the real hosts on the demo's port."""

    def __init__(self, server: DownloadServer, trust: ssl.SSLContext) -> None:
        self._server = server
        self._trust = trust

    def get(self, url: str, **headers: str) -> httpx.Response:
        with httpx.Client(verify=self._trust, trust_env=False, timeout=5) as client:
            real = httpx.URL(url)
            return client.get(
                real.copy_with(host="127.0.0.1", port=self._server.port),
                headers={"Host": real.host, **{k.replace("_", "-"): v for k, v in headers.items()}},
                extensions={"sni_hostname": real.host},
            )


@pytest.fixture
def browser(downloads: DownloadServer, trust: ssl.SSLContext) -> Browser:
    return Browser(downloads, trust)


@contextmanager
def _login(server: DemoImap, trust: ssl.SSLContext) -> Iterator[imapclient.IMAPClient]:
    client = imapclient.IMAPClient("localhost", port=server.port, ssl_context=trust, timeout=5)
    try:
        client.login(server.username, server.password)
        yield client
    finally:
        client._imap.sock.close()
        client._imap.file.close()


@pytest.mark.parametrize("make_url", [azure_url, estuary_url])
def test_file_is_served_under_both_link_shapes(
    downloads: DownloadServer, browser: Browser, tmp_path: Path, make_url: type
) -> None:
    downloads.offer(NAME, tmp_path / "export.zip")
    answer = browser.get(make_url(NAME, NOW))

    assert (answer.status_code, answer.content) == (200, BODY)
    assert downloads.requests[0].complete
    assert "sig" not in repr(downloads.requests)


def test_dropped_download_resumes_by_range(
    downloads: DownloadServer, browser: Browser, tmp_path: Path
) -> None:
    downloads.offer(NAME, tmp_path / "export.zip", Plan(drops=(0.5,)))
    url = estuary_url(NAME, NOW)
    with pytest.raises(httpx.RemoteProtocolError):
        browser.get(url)
    head = browser.get(url, Range="bytes=0-9")
    rest = browser.get(url, Range="bytes=128000-", If_Range=head.headers["etag"])

    assert downloads.requests[0].sent == len(BODY) // 2
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 128000-255999/{len(BODY)}"
    assert rest.content == BODY[128_000:]
    assert browser.get(url, Range="bytes=128000-", If_Range='"other"').status_code == 200
    assert browser.get(url, Range="bytes=999999-").status_code == 416


@pytest.mark.parametrize(
    ("wall", "status"),
    [
        ("login-redirect", 302),
        ("login-page", 200),
        ("unauthorized", 401),
        ("forbidden", 403),
        ("challenge", 403),
        ("expired", 403),
        ("gone", 404),
        ("rate-limited", 429),
        ("broken", 503),
    ],
)
def test_walls_answer_until_the_session_is_there(
    downloads: DownloadServer, browser: Browser, tmp_path: Path, wall: Wall, status: int
) -> None:
    downloads.offer(NAME, tmp_path / "export.zip", Plan(wall=wall, bearer="token"))
    url = estuary_url(NAME, NOW)

    assert browser.get(url).status_code == status
    assert browser.get(url, Authorization="Bearer token").content == BODY


def test_older_host_words_an_expired_link_its_own_way(
    downloads: DownloadServer, browser: Browser, tmp_path: Path
) -> None:
    downloads.offer(NAME, tmp_path / "export.zip", Plan(wall="expired"))
    answer = browser.get(azure_url(NAME, NOW))

    assert answer.headers["x-ms-error-code"] == "AuthenticationFailed"
    assert b"not valid in the specified time frame" in answer.content


def test_lengths_may_lie(downloads: DownloadServer, browser: Browser, tmp_path: Path) -> None:
    downloads.offer(NAME, tmp_path / "export.zip", Plan(length="none"))

    assert browser.get(estuary_url(NAME, NOW)).content == BODY
    downloads.offer(NAME, tmp_path / "export.zip", Plan(length="short"))
    with pytest.raises(httpx.RemoteProtocolError):
        browser.get(estuary_url(NAME, NOW))


def test_stalled_download_ends_with_the_server(
    authority: Authority, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    (tmp_path / "export.zip").write_bytes(BODY)
    outcome: list[Exception] = []

    def fetch(browser: Browser) -> None:
        try:
            browser.get(estuary_url(NAME, NOW))
        except httpx.HTTPError as error:
            outcome.append(error)

    with DownloadServer(authority) as server:
        server.offer(NAME, tmp_path / "export.zip", Plan(stall_after=1000))
        client = threading.Thread(target=fetch, args=(Browser(server, trust),))
        client.start()
        client.join(0.3)
        assert client.is_alive()
    client.join(5)

    assert outcome


def test_unknown_files_and_paths_are_not_found(browser: Browser) -> None:
    assert browser.get(f"https://{ESTUARY_HOST}/other").status_code == 404
    assert browser.get(f"https://{AZURE_HOST}/exportcontainer/x.zip").status_code == 404


def test_connect_to_names_both_hosts(downloads: DownloadServer) -> None:
    assert downloads.connect_to == {
        f"{host}:443": f"127.0.0.1:{downloads.port}" for host in (ESTUARY_HOST, AZURE_HOST)
    }


def test_a_delivered_mail_is_found_with_its_time_and_bytes(
    imap: DemoImap, trust: ssl.SSLContext
) -> None:
    raw = ready(Envelope(NOW), estuary_url(NAME, NOW))
    received = datetime.now(UTC) - timedelta(hours=3)
    since = (datetime.now(UTC) - timedelta(days=2)).date()
    with _login(imap, trust) as client:
        client.normalise_times = False
        uid = imap.deliver(raw, received)
        client.select_folder("INBOX", readonly=True)

        assert client.search(["SINCE", since, "FROM", "openai.com"]) == [uid]
        fetched = client.fetch([uid], ["BODY.PEEK[]", "INTERNALDATE"])[uid]
        assert fetched[b"BODY[]"] == raw
        assert abs(fetched[b"INTERNALDATE"] - received) < timedelta(seconds=2)


def test_dropped_connections_are_noticed_and_mail_stays(
    imap: DemoImap, trust: ssl.SSLContext
) -> None:
    with _login(imap, trust) as client:
        imap.deliver(ready(Envelope(NOW), estuary_url(NAME, NOW)), NOW)

        assert imap.drop_connections() == 1
        with pytest.raises((imapclient.IMAPClient.AbortError, OSError)):
            client.noop()
    with _login(imap, trust) as client:
        assert client.select_folder("INBOX")[b"EXISTS"] == 1


def test_other_folders_and_wrong_passwords(imap: DemoImap, trust: ssl.SSLContext) -> None:
    imap.create_folder("Archive")
    imap.deliver(b"Subject: x\r\n\r\nhi\r\n", NOW, "Archive")
    with _login(imap, trust) as client:
        assert client.select_folder("Archive")[b"EXISTS"] == 1
    imap.password = "wrong"
    with pytest.raises(imapclient.IMAPClient.Error), _login(imap, trust):
        pass


def test_server_stops_with_clients_connected(authority: Authority, trust: ssl.SSLContext) -> None:
    server = DemoImap(authority.server_context("localhost"), "me@example.org", "secret").start()
    with _login(server, trust) as client:
        client.select_folder("INBOX")
        client.idle()
        assert server.connections == 1
        server.stop()

    assert server.connections == 0
