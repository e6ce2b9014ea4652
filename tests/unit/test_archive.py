"""What the archive scan accepts, and what it says about it."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from backupd.export import archive_members, archive_records
from backupd.export.archive import (
    Archive,
    ArchiveLimits,
    ArchiveRefused,
    Member,
    Rule,
    looks_complete,
    read_member,
    read_range,
    read_raw,
    scan,
    verify,
)
from tests.support import needs, zips
from tests.support.zips import STORED, TEXT, Part, build


def contents(data: bytes) -> dict[str, bytes]:
    """Return every member's content by name."""
    file = io.BytesIO(data)
    return {member.name: b"".join(read_member(file, member)) for member in scan(file).members}


def put_together(data: bytes, archive: Archive) -> bytes:
    """Rebuild a file from its skeleton and its members' data."""
    file = io.BytesIO(data)
    ranges = [*archive.skeleton(), *((m.data_offset, m.data_end) for m in archive.members)]
    return b"".join(b"".join(read_range(file, start, end)) for start, end in sorted(ranges))


@pytest.mark.parametrize("name", zips.LEGITIMATE)
def test_odd_but_legitimate_archives_are_read(name: str) -> None:
    data = zips.LEGITIMATE[name]()
    file = io.BytesIO(data)
    looks_complete(file)
    archive = scan(file)
    verify(file, archive)

    assert archive.size == len(data)
    assert [m.data_offset for m in archive.members] == sorted(
        m.data_offset for m in archive.members
    )
    assert put_together(data, archive) == data


def test_content_names_and_times_are_told() -> None:
    data = build(Part(), Part(b"chat.html", b"<html>", STORED))
    first, second = scan(io.BytesIO(data)).members

    assert contents(data) == {"conversations.json": TEXT, "chat.html": b"<html>"}
    assert first.modified == (2025, 9, 23, 12, 0, 0)
    assert (first.method, second.method) == (8, 0)
    assert (first.size, second.compressed_size) == (len(TEXT), 6)
    assert not first.is_directory


def test_names_come_from_the_most_telling_field() -> None:
    assert [*contents(zips.infozip_name())] == ["café.json"]
    assert [*contents(zips.LEGITIMATE["code-page-name"]())] == ["é.json"]
    assert "Export été 😀/conversations.json" in contents(zips.by_macos())


def test_raw_data_is_what_lies_in_the_file() -> None:
    data = build(Part())
    file = io.BytesIO(data)
    member = scan(file).members[0]

    assert b"".join(read_raw(file, member)) == zips.deflate(TEXT)


def test_readers_may_take_turns_on_one_file() -> None:
    noise = random.Random(5).randbytes(700_000)
    file = io.BytesIO(build(Part(b"a", noise), Part(b"b", noise[::-1], STORED)))
    first, second = scan(file).members

    pairs = list(zip(read_member(file, first), read_member(file, second), strict=False))

    assert b"".join(one for one, _ in pairs) in noise
    assert all(len(one) <= archive_members.CHUNK for pair in pairs for one in pair)
    assert b"".join(read_member(file, first)) == noise


def test_limits_are_the_callers() -> None:
    file = io.BytesIO(build(Part(b"a"), Part(b"b")))

    with pytest.raises(ArchiveRefused, match="too-many-members"):
        scan(file, ArchiveLimits(max_members=1))
    with pytest.raises(ArchiveRefused, match="directory-too-big"):
        scan(file, ArchiveLimits(max_directory=10))
    with pytest.raises(ArchiveRefused, match="too-big"):
        scan(file, ArchiveLimits(max_total=len(TEXT)))
    with pytest.raises(ArchiveRefused, match="ratio"):
        scan(file, ArchiveLimits(max_ratio=1, ratio_from=0))


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    data = build(Part(content=random.Random(1).randbytes(1000), method=STORED))
    member = scan(io.BytesIO(data)).members[0]

    with pytest.raises(ArchiveRefused) as caught:
        list(read_member(io.BytesIO(data[:500]), member))
    assert caught.value.rule is Rule.TRUNCATED


def test_rule_names_are_stable() -> None:
    """They stand in quarantine records and notices: adding one is fine, changing one is not."""
    assert {rule.value for rule in Rule} >= {
        "not-a-zip", "prepended-data", "truncated", "trailing-data", "end-ambiguous", "multi-disk",
        "count", "too-many-members", "empty", "directory", "directory-too-big", "zip64",
        "zip64-extra", "extra-field", "encrypted", "method", "flags", "local-header",
        "local-differs", "overlap", "gap", "descriptor", "size", "crc", "deflate", "ratio",
        "too-big", "name", "name-encoding", "name-path", "name-ambiguous", "duplicate-name",
        "name-conflict", "file-type",
    }  # fmt: skip


def test_refusals_carry_rule_detail_and_hint() -> None:
    with pytest.raises(ArchiveRefused) as caught:
        scan(io.BytesIO(b"no zip"))

    assert caught.value.rule == "not-a-zip"
    assert str(caught.value) == f"read archive: {caught.value.detail} (not-a-zip)"
    assert caught.value.hint


def test_four_gigabytes_need_four_byte_counts_more() -> None:
    """A descriptor of more than 4 GiB has 64-bit sizes only; 32-bit ones cannot hold it."""
    forms = archive_records.descriptors(1, 5 << 30, 6 << 30)

    assert sorted(map(len, forms)) == [20, 24]


def test_a_stored_member_beyond_four_gigabytes_is_found(tmp_path: Path) -> None:
    """The file is sparse: it takes no room."""
    size = (4 << 30) + 5
    wide = zips.zip64_extra(size, size)
    marked = zips.Record(compressed_size=zips.MARK32, size=zips.MARK32, crc32=0, extra=wide)
    part = Part(b"big.dat", b"", STORED, local=marked, central=marked)
    head, directory = zips._local(part), zips._central(part, 0)
    start = len(head) + size
    ends = zips._ends(
        start + len(directory), 1, start, len(directory),
        zips.End(zip64=True, offset=zips.MARK32),
    )  # fmt: skip
    path = tmp_path / "big.zip"
    with path.open("wb") as sparse:
        sparse.write(head)
        sparse.seek(start)
        sparse.write(directory + ends)

    with path.open("rb") as file:
        looks_complete(file)
        archive = scan(file)

    assert archive.members == (Member("big.dat", 0, 0, size, size, 0, len(head), 0x5B376000),)
    assert list(archive.skeleton()) == [(0, len(head)), (start, archive.size)]


@pytest.mark.parametrize(
    "options", [("-r",), ("-r", "-fd"), ("-r", "-0"), ("-r", "-9"), ("-rD",), ("-r", "-fz")]
)
def test_archives_of_the_zip_program_are_read(tmp_path: Path, options: tuple[str, ...]) -> None:
    needs("zip")
    tree = tmp_path / "Export"
    (tree / "dalle-generations").mkdir(parents=True)
    (tree / "conversations.json").write_bytes(TEXT)
    (tree / "dalle-generations" / "été 😀.webp").write_bytes(random.Random(2).randbytes(5000))
    (tree / "empty.json").write_bytes(b"")
    subprocess.run(
        [shutil.which("zip") or "zip", "-q", *options, "out.zip", "Export"],
        cwd=tmp_path,
        check=True,
    )

    read = contents((tmp_path / "out.zip").read_bytes())

    files = {name: data for name, data in read.items() if not name.endswith("/")}
    assert len(files) == 3
    assert files["Export/conversations.json"] == TEXT
    assert "Export/dalle-generations/été 😀.webp" in files
