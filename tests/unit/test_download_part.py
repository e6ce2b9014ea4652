"""The partial file under faults of its disk, and the terms around it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.download.outcome import Cancelled, DiskFull, Ended, Expired, NetworkFailed
from backupd.download.pace import LONGEST_HEAD, Pace
from backupd.download.part import CHECKPOINT, PartFile, discard, sidecar
from backupd.download.resume import Stored, Validators
from backupd.download.terms import Limits, Network
from backupd.errors import DownloadFailed

KNOWN = Validators(1_000_000, '"a"', "2024-10-26T21:40:00+00:00")
NOW = datetime(2026, 9, 7, 12, 0, tzinfo=UTC)

Write = Callable[[int, bytes, int], int]


def failing(code: int, after: int) -> Write:
    """Return a write that takes `after` bytes in all, then fails."""
    room = [after]

    def write(fd: int, data: bytes, offset: int) -> int:
        taken = data[: room[0]]
        if data and not taken:
            raise OSError(code, os.strerror(code))
        room[0] -= len(taken)
        return os.pwrite(fd, taken, offset)

    return write


def filled(path: Path, data: bytes) -> None:
    with PartFile(path, 1) as file:
        file.restart(KNOWN)
        file.append(data)


def test_bytes_and_validators_survive_closing(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    filled(part, b"x" * 1000)

    with PartFile(part, 1) as file:
        assert file.stored == Stored(1000, KNOWN)
        assert file.tail(10) == b"x" * 10
        file.append(b"y")
        assert file.digest(lambda: None) == hashlib.sha256(b"x" * 1000 + b"y").hexdigest()


def test_bytes_after_the_last_checkpoint_are_cut_off(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    filled(part, b"x" * 1000)
    with part.open("ab") as file:
        file.write(b"not vouched for")

    with PartFile(part, 1) as reopened:
        assert reopened.stored.size == 1000
    assert part.stat().st_size == 1000


def test_file_shorter_than_its_sidecar_says_is_begun_anew(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    filled(part, b"x" * 1000)
    os.truncate(part, 999)

    with PartFile(part, 1) as reopened:
        assert reopened.stored == Stored(0, Validators())


def test_long_download_is_made_durable_on_the_way(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    with PartFile(part, 1) as file:
        file.restart(KNOWN)
        file.append(b"x" * (CHECKPOINT - 1))
        assert not sidecar(part).exists()
        file.append(b"x")

        assert sidecar(part).exists()


def test_short_writes_lose_nothing(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    data = bytes(range(256)) * 10
    with PartFile(part, 1, lambda fd, data, at: os.pwrite(fd, data[:7], at)) as file:
        file.restart(KNOWN)
        file.append(data)

    assert part.read_bytes() == data


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_keeps_what_was_written_before(tmp_path: Path, code: int) -> None:
    part = tmp_path / "a.part"
    with PartFile(part, 1, failing(code, 1500)) as file:
        file.restart(KNOWN)
        file.append(b"x" * 1000)
        with pytest.raises(Ended) as ended:
            file.append(b"y" * 1000)

    assert isinstance(ended.value.outcome, DiskFull)
    assert ended.value.outcome.missing > 0
    with PartFile(part, 1) as reopened:
        assert reopened.stored == Stored(1000, KNOWN)


def test_broken_disk_is_an_error_with_its_cause(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    with PartFile(part, 1, failing(errno.EIO, 10)) as file:
        file.restart(KNOWN)
        with pytest.raises(DownloadFailed) as failed:
            file.append(b"x" * 1000)

    assert failed.value.message == 'write download "a.part": input/output error'
    assert failed.value.transient


def test_reserve_is_kept_free(tmp_path: Path) -> None:
    with PartFile(tmp_path / "a.part", 1 << 60) as file, pytest.raises(Ended) as ended:
        file.need_room(0)

    assert isinstance(ended.value.outcome, DiskFull)


def test_forgotten_bytes_stay_but_are_never_continued(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    with PartFile(part, 1) as file:
        file.restart(KNOWN)
        file.append(b"x" * 1000)
        file.forget()

    assert part.stat().st_size == 1000
    with PartFile(part, 1) as reopened:
        assert reopened.stored.size == 0


def test_empty_part_leaves_nothing_behind(tmp_path: Path) -> None:
    with PartFile(tmp_path / "a.part", 1):
        pass

    assert list(tmp_path.iterdir()) == []


def test_discard_of_nothing_is_no_error(tmp_path: Path) -> None:
    discard(tmp_path / "a.part")


def test_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="no such file or directory"):
        PartFile(tmp_path / "none" / "a.part", 1)


def pace(cancel: threading.Event | None = None, end: timedelta = timedelta(hours=1)) -> Pace:
    limits = Limits(min_rate=1000, min_rate_window=10)
    return Pace(limits, cancel or threading.Event(), lambda: NOW, NOW + end)


def test_rate_is_measured_over_the_time_waited_only() -> None:
    bounds = pace()
    for _ in range(160):
        bounds.waited(0.125, 125)
    for _ in range(79):
        bounds.waited(0.125, 0)

    with pytest.raises(Ended) as ended:
        bounds.waited(0.125, 9900)
    assert ended.value.outcome == NetworkFailed("too slow: 990 bytes per second")


def test_stop_and_end_of_time_are_noticed_in_any_wait() -> None:
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(Ended) as stopped:
        pace(cancel).waited(0.1, 10)
    with pytest.raises(Ended) as over:
        pace(end=timedelta(0)).waited(0.1, 10)
    assert stopped.value.outcome == Cancelled()
    assert isinstance(over.value.outcome, Expired)


def test_head_of_an_answer_is_bounded_and_its_body_is_not() -> None:
    bounds = pace()
    bounds.begin_head()
    bounds.waited(0, LONGEST_HEAD)
    bounds.end_head()
    bounds.waited(0, LONGEST_HEAD)

    bounds.begin_head()
    with pytest.raises(Ended):
        bounds.waited(0, LONGEST_HEAD + 1)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("chatgpt.com", 443, ("127.0.0.1", 9443)),
        ("ChatGPT.com", 443, ("127.0.0.1", 9443)),
        ("chatgpt.com", 444, ("chatgpt.com", 444)),
        ("example.org", 443, ("::1", 9444)),
        ("example.com", 443, ("example.com", 443)),
    ],
)
def test_only_the_listed_host_and_port_are_diverted(
    host: str, port: int, expected: tuple[str, int]
) -> None:
    network = Network(
        connect_to={"chatgpt.com:443": "127.0.0.1:9443", "example.org:443": "[::1]:9444"}
    )

    assert network.route(host, port) == expected
