"""One attempt against a real TLS server on loopback."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download import fetch as download
from backupd.download.fetch import Limits, Network, Outcome
from backupd.errors import DownloadFailed
from backupd.mail.link import Link, parse_link
from tests.support.https import Authority, Exchange, Server, authority, sample, serve

NAME = "0" * 64 + "-2026-09-07-10-00-00-" + "1" * 32 + ".zip"
SECRET = "c0ffee" * 10 + "beef"
URL = f"https://chatgpt.com/backend-api/estuary/content?id={NAME}&ts=496764&p=de&cid=1&sig={SECRET}&v=0"
AZURE = (
    "https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/"
    f"{'0' * 64}-2026-09-07-10-00-00.zip"
    "?se=2026-09-08T10%3A00%3A00Z&sp=r&sv=2022-11-02&sr=b&sig=ab%2Bcd%2Fef%3D"
)
SENT = datetime(2026, 9, 7, 10, 5, tzinfo=UTC)
NOW = SENT + timedelta(minutes=1)
LIMITS = Limits(connect_timeout=10, read_timeout=10, min_rate_window=20, reserve=1)
DATA = sample()


def estuary() -> Link:
    return parse_link(URL, SENT, SENT)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(trust: Authority) -> Iterator[Server]:
    with Server(trust.context()) as server:
        yield server


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "delivery.part"


@pytest.fixture
def get(server: Server, trust: Authority, part: Path) -> Callable[..., Outcome]:
    def get(
        link: Link | None = None,
        limits: Limits = LIMITS,
        network: Network | None = None,
        now: Callable[[], datetime] = lambda: NOW,
        cancel: threading.Event | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Outcome:
        return download.fetch(
            link or estuary(),
            part,
            limits,
            network or Network(trust.ca_file, server.connect_to),
            now,
            cancel or threading.Event(),
            progress,
        )

    return get


Get = Callable[..., Outcome]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_file_is_fetched_whole_hashed_and_private(server: Server, get: Get, part: Path) -> None:
    server.play(serve(DATA))

    assert get() == download.Fetched(len(DATA), digest(DATA))
    assert part.read_bytes() == DATA
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert stat.S_IMODE(part.with_suffix(".json").stat().st_mode) == 0o600


def test_file_sidecar_and_directory_are_durable_before_success(
    server: Server, get: Get, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []
    fsync = os.fsync

    def noting(fd: int) -> None:
        fsync(fd)
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size))

    monkeypatch.setattr(os, "fsync", noting)
    server.play(serve(DATA))
    get()

    paths = [path for path, _ in synced]
    assert paths[-3:] == [str(part), f"{part.with_suffix('.json')}.new", str(part.parent)]
    assert (str(part), len(DATA)) in synced


def test_connection_is_diverted_while_url_host_and_tls_name_stay(server: Server, get: Get) -> None:
    server.play(serve(DATA))
    get()

    request = server.requests[0]
    assert request.server_name == "chatgpt.com"
    assert request.fields["host"] == "chatgpt.com"
    assert f"https://chatgpt.com{request.target}" == URL


def test_signed_query_is_sent_byte_for_byte(server: Server, get: Get) -> None:
    server.play(serve(DATA))
    get(link=parse_link(AZURE, SENT, SENT))

    assert f"https://{server.requests[0].fields['host']}{server.requests[0].target}" == AZURE


def test_request_asks_for_bytes_as_they_are(server: Server, get: Get) -> None:
    server.play(serve(DATA, "Set-Cookie: track=1; Domain=chatgpt.com; Path=/"))
    get()

    fields = server.requests[0].fields
    assert fields["accept-encoding"] == "identity"
    assert fields["user-agent"].startswith("backupd/")
    assert not fields.keys() & {"cookie", "authorization", "range", "referer"}


def test_proxies_and_netrc_of_the_environment_are_not_used(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine chatgpt.com login a password b\n")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(netrc))
    server.play(serve(DATA))

    assert isinstance(get(), download.Fetched)
    assert "authorization" not in server.requests[0].fields


def test_session_keys_are_not_written_for_the_environment(
    server: Server, get: Get, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    server.play(serve(DATA))

    assert isinstance(get(), download.Fetched)
    assert not keys.exists()


@pytest.mark.parametrize("eighth", range(1, 8))
@pytest.mark.parametrize("etag", ['"strong"', 'W/"weak"', None])
def test_cut_download_continues_to_the_identical_file(
    server: Server, get: Get, part: Path, eighth: int, etag: str | None
) -> None:
    cut = len(DATA) * eighth // 8
    server.play(serve(DATA, etag=etag, until=cut))
    first = get()
    server.play(serve(DATA, etag=etag))

    assert isinstance(first, download.NetworkFailed)
    assert part.stat().st_size == cut
    assert get() == download.Fetched(len(DATA), digest(DATA))
    assert part.read_bytes() == DATA
    fields = server.requests[1].fields
    if cut > 65536:
        assert fields["range"] == f"bytes={cut - 65536}-"
        assert fields.get("if-range") == ('"strong"' if etag == '"strong"' else None)
    else:
        assert "range" not in fields


def test_download_cut_seven_times_still_ends_identical(
    server: Server, get: Get, part: Path
) -> None:
    kinds = []
    for eighth in range(2, 8):
        server.play(_until(len(DATA) * eighth // 8))
        kinds.append(get().kind)
    server.play(serve(DATA))

    assert kinds == ["network-failed"] * 6
    assert get() == download.Fetched(len(DATA), digest(DATA))
    assert part.read_bytes() == DATA
    assert sum("range" in request.fields for request in server.requests) == 6


def _until(cut: int) -> Callable[[Exchange], None]:
    """Serve correctly, but break off at byte `cut` of the file."""
    return serve(DATA, until=cut)


def test_finished_file_is_recognised_without_the_server(
    server: Server, get: Get, part: Path
) -> None:
    server.play(serve(DATA))
    get()
    asked = len(server.requests)

    again = get(now=lambda: SENT + timedelta(days=9))

    assert again == download.Fetched(len(DATA), digest(DATA))
    assert len(server.requests) == asked


def test_bytes_that_no_sidecar_vouches_for_are_not_continued(
    server: Server, get: Get, part: Path
) -> None:
    part.write_bytes(DATA[:300_000])
    server.play(serve(DATA))

    assert get() == download.Fetched(len(DATA), digest(DATA))
    assert "range" not in server.requests[0].fields


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', "\x00" * 9000])
def test_damaged_sidecar_means_a_fresh_start(
    server: Server, get: Get, part: Path, text: str
) -> None:
    part.write_bytes(DATA[:300_000])
    part.with_suffix(".json").write_text(text)
    server.play(serve(DATA))

    assert get() == download.Fetched(len(DATA), digest(DATA))
    assert "range" not in server.requests[0].fields


def test_sidecar_holds_sizes_and_validators_only(server: Server, get: Get, part: Path) -> None:
    server.play(serve(DATA, "Last-Modified: Sat, 26 Oct 2024 21:40:00 GMT"))
    get()

    assert json.loads(part.with_suffix(".json").read_text()) == {
        "format": 1,
        "size": len(DATA),
        "total": len(DATA),
        "etag": '"0x8DCF5F1A2B3C4D5"',
        "last_modified": "2024-10-26T21:40:00+00:00",
    }


def test_login_page_does_not_harm_what_was_fetched_before(
    server: Server, get: Get, part: Path
) -> None:
    server.play(serve(DATA, until=300_000))
    get()
    server.play(lambda exchange: exchange.answer(200, b"<!DOCTYPE html><html>log in</html>"))
    wall = get()

    assert isinstance(wall, download.SignInNeeded)
    assert part.read_bytes() == DATA[:300_000]


def test_stop_is_noticed_within_a_second_in_a_stalled_body(
    server: Server, get: Get, part: Path
) -> None:
    stalled = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {len(DATA)}")
        exchange.send(DATA[:200_000])
        exchange.stall()

    assert _seconds_to_stop(server, get, script, stalled) < 1
    assert part.read_bytes() == DATA[:200_000]


def test_stop_is_noticed_within_a_second_before_any_answer(server: Server, get: Get) -> None:
    stalled = threading.Event()

    def script(exchange: Exchange) -> None:
        stalled.set()
        exchange.stall()

    assert _seconds_to_stop(server, get, script, stalled) < 1


def test_stop_is_noticed_within_a_second_in_the_handshake(server: Server, get: Get) -> None:
    stalled = threading.Event()

    def greet(_: object, ended: threading.Event) -> bool:
        stalled.set()
        ended.wait(30)
        return False

    server.greet = greet

    assert _seconds_to_stop(server, get, serve(DATA), stalled) < 1


def _seconds_to_stop(
    server: Server, get: Get, script: Callable[[Exchange], None], stalled: threading.Event
) -> float:
    """Start a fetch, ask it to stop once the server stalls, return how long that took."""
    server.play(script)
    cancel = threading.Event()
    asked: list[float] = []

    def stop() -> None:
        stalled.wait(10)
        asked.append(time.monotonic())
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    outcome = get(
        cancel=cancel, progress=lambda done, _: stalled.set() if done >= 200_000 else None
    )
    ended = time.monotonic()
    thread.join()

    assert isinstance(outcome, download.Cancelled)
    return ended - asked[0]


def test_attempt_ends_when_the_time_for_the_link_is_over(server: Server, get: Get) -> None:
    link = estuary()
    late: list[bool] = []

    def script(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {len(DATA)}")
        exchange.send(DATA[:200_000])
        late.append(True)
        exchange.stall()

    server.play(script)
    outcome = get(link=link, now=lambda: link.give_up_at if late else NOW)

    assert isinstance(outcome, download.Expired)
    assert not outcome.certain


def test_nothing_is_asked_after_the_time_for_the_link(server: Server, get: Get, part: Path) -> None:
    link = estuary()

    assert isinstance(get(link=link, now=lambda: link.give_up_at), download.Expired)
    assert server.requests == []
    assert not part.exists()


def test_too_little_room_is_told_before_the_server_is_asked(server: Server, get: Get) -> None:
    outcome = get(limits=replace(LIMITS, reserve=1 << 60))

    assert isinstance(outcome, download.DiskFull)
    assert 0 < outcome.missing <= 1 << 60
    assert server.requests == []


def test_file_too_large_for_the_disk_is_told_before_its_bytes_are_read(
    server: Server, get: Get
) -> None:
    def script(exchange: Exchange) -> None:
        exchange.head(200, f"Content-Length: {1 << 55}")
        exchange.send(DATA)

    server.play(script)
    outcome = get(limits=replace(LIMITS, max_size=1 << 60))

    assert isinstance(outcome, download.DiskFull)
    assert 0 < outcome.missing <= 1 << 55


def test_file_system_that_refuses_more_bytes_ends_in_disk_full(
    server: Server, get: Get, part: Path
) -> None:
    """RLIMIT_FSIZE gives EFBIG where a full disk gives ENOSPC; no privileges are needed."""
    resource = pytest.importorskip("resource")
    server.play(serve(DATA))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        outcome = get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert isinstance(outcome, download.DiskFull)
    assert outcome.missing > 0
    assert DATA.startswith(part.read_bytes())
    assert get() == download.Fetched(len(DATA), digest(DATA))


@pytest.mark.parametrize("announced", [True, False])
def test_file_over_the_limit_is_refused_and_not_kept(
    server: Server, get: Get, part: Path, announced: bool
) -> None:
    def script(exchange: Exchange) -> None:
        exchange.head(200, *([f"Content-Length: {len(DATA)}"] if announced else []))
        exchange.send(DATA)

    server.play(script)

    assert get(limits=replace(LIMITS, max_size=300_000)) == download.TooBig(300_000)
    assert not part.exists()
    assert not part.with_suffix(".json").exists()


def test_link_in_the_place_of_the_part_is_refused(
    server: Server, get: Get, part: Path, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    part.symlink_to(target)
    server.play(serve(DATA))

    with pytest.raises(DownloadFailed):
        get()
    assert target.read_text() == "precious"
    assert server.requests == []


def test_fifo_in_the_place_of_the_part_is_refused_at_once(get: Get, part: Path) -> None:
    os.mkfifo(part)

    with pytest.raises(DownloadFailed):
        get()


def test_second_download_into_the_same_part_is_refused(
    server: Server, get: Get, part: Path
) -> None:
    refused: list[str] = []

    def script(exchange: Exchange) -> None:
        try:
            get()
        except DownloadFailed as exc:
            refused.append(exc.message)
        serve(DATA)(exchange)

    server.play(script)

    assert isinstance(get(), download.Fetched)
    assert refused == ['open download "delivery.part": another download is writing it']


def test_progress_reaches_the_whole_size(server: Server, get: Get) -> None:
    seen: list[tuple[int, int | None]] = []
    server.play(serve(DATA))
    get(progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_reading_a_finished_file_once_more_shows_life(server: Server, get: Get) -> None:
    server.play(serve(DATA))
    get()
    seen: list[tuple[int, int | None]] = []

    get(progress=lambda size, total: seen.append((size, total)))

    assert len(server.requests) == 1
    assert set(seen) == {(len(DATA), len(DATA))}


def test_missing_ca_file_is_named(get: Get, server: Server, tmp_path: Path) -> None:
    outcome = get(network=Network(tmp_path / "none.pem", server.connect_to))

    assert isinstance(outcome, download.NetworkFailed)
    assert outcome.detail.endswith('none.pem": no such file or directory')


def test_private_authority_is_not_trusted_by_default(get: Get, server: Server) -> None:
    outcome = get(network=Network(None, server.connect_to))

    assert isinstance(outcome, download.NetworkFailed)
    assert outcome.detail.startswith("TLS with chatgpt.com: ")


def test_unknown_host_name_is_told(get: Get, trust: Authority) -> None:
    outcome = get(
        network=Network(trust.ca_file, {"chatgpt.com:443": "host.invalid:443"}),
    )

    assert isinstance(outcome, download.NetworkFailed)


def test_attempt_logs_host_and_outcome_but_not_the_link(
    server: Server, get: Get, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.play(serve(DATA))
    get()

    assert caplog.messages == [f"download from chatgpt.com: fetched: {len(DATA)} bytes"]


def test_discard_removes_the_part_and_its_sidecar(server: Server, get: Get, part: Path) -> None:
    server.play(serve(DATA))
    get()
    download.discard(part)

    assert list(part.parent.iterdir()) == []
