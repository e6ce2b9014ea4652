"""Pins, remainders and pruned packs of an encrypted repository are sealed and still work."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.retention import NOW, export, forget, noise, prune, put, spoken
from tests.support.sealing import made, opened


def test_forgetting_keeps_what_must_stay_and_tells_a_stranger_nothing(tmp_path: Path) -> None:
    gone, picture, stays = spoken("a-talk", "x", shows=["file-Zz"]), noise(6), spoken("d", "y")
    first = export([gone, stays], {"file-Zz-a.png": picture})
    last = export([stays], week=1)
    place = tmp_path / "r"
    with made(place) as repository:
        put(repository, tmp_path, first, 0)
        put(repository, tmp_path, last, 1)
        forget(repository)
        assert repository.keeping.pin(repository.find("latest"), NOW)
        prune(repository)
    with opened(place) as repository:
        assert b"".join(repository.rebuild(repository.find("latest"))) == last
        assert repository.keeping.pinned() == {hashlib.sha256(last).hexdigest()}
        assert repository.keeping.restore_remainders(tmp_path / "out") == 2
        assert repository.check(read_data=True, drill=True).ok
    written = {path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert written == {gone, picture}

    known = [b"a-talk", b"file-Zz", b"pinned_at", hashlib.sha256(b"user-abc").hexdigest().encode()]
    for data in (first, last, gone, picture):
        digest = hashlib.sha256(data)
        known += [digest.digest()[:16], digest.hexdigest()[:32].encode()]
    for path in (path for path in place.rglob("*") if path.is_file()):
        data = str(path.relative_to(place)).encode() + path.read_bytes()
        assert not [value for value in known if value in data], path
