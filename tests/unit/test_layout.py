"""Telling what an export is from its names, sizes and sidecars."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backupd.demo.exports import Options, series
from backupd.export import layout, slices
from backupd.export.archive import ArchiveRefused, Member, read_member, scan, verify
from backupd.export.layout import Facts, MemberKind, facts, kind_of, shard_number
from tests.support.zips import DEFLATED, STORED, Part, Record, build

PREFIX = "0123456789abcdef" * 4
NAME = f"{PREFIX}-2026-01-22-03-45-25-{'a' * 32}.zip"


def facts_of(data: bytes, name: str | None = NAME) -> Facts:
    """Return the facts of an archive in memory."""
    file = io.BytesIO(data)
    return facts(name, scan(file), lambda member: read_member(file, member))


def export(**files: object) -> bytes:
    """Return an archive; keyword `a__b` stands for the name `a.b`."""
    return build(
        *(
            Part(
                name.replace("__", ".").replace("_slash_", "/").encode(),
                content if isinstance(content, bytes) else json.dumps(content).encode(),
                DEFLATED if content else STORED,
            )
            for name, content in files.items()
        )
    )


def of_2026(shards: int = 2, **changes: Any) -> bytes:
    """Return an export of 2026 with its manifest; `changes` are put into the manifest."""
    names = [f"conversations-{number:03}.json" for number in range(shards)]
    files = dict.fromkeys(names, b"[]") | {"chat.html": b"<html>", "user.json": b"{}"}
    manifest = {
        "export_files": [{"path": name, "size_bytes": len(data)} for name, data in files.items()],
        "logical_files": {
            "conversations.json": {"files": names, "sharded": True, "shard_count": shards}
        },
        "manifest_file": "export_manifest.json",
        "version": 1,
    }
    files["export_manifest.json"] = json.dumps(manifest | changes).encode()
    return build(*(Part(name.encode(), data) for name, data in files.items()))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("conversations.json", MemberKind.CONVERSATIONS),
        ("top/conversations-012.json", MemberKind.CONVERSATIONS),
        ("shared_conversations.json", MemberKind.SIDECAR),
        ("conversations-a.json", MemberKind.SIDECAR),
        ("conversation_asset_file_names.json", MemberKind.SIDECAR),
        ("chat.html", MemberKind.CHAT_HTML),
        ("a/b/chat.html", MemberKind.CHAT_HTML),
        ("export_manifest.json", MemberKind.SIDECAR),
        ("never_seen.json", MemberKind.SIDECAR),
        ("file_0123456789abcdef.dat", MemberKind.ASSET),
        ("file-AbCdEf-holiday.png", MemberKind.ASSET),
        ("file-AbCdEf-sources.zip", MemberKind.ASSET),
        ("dalle-generations/file-1.webp", MemberKind.ASSET),
        ("66f0c0de-0000-4000-8000-000000000000/audio/file_1.wav", MemberKind.ASSET),
        ("user-AbC/file_1-2.png", MemberKind.ASSET),
        ("User Online Activity/Conversations_x-chatgpt-0001.zip", MemberKind.ARCHIVE),
        ("report.html", MemberKind.OTHER),
        ("conversations.json/", MemberKind.OTHER),
        ("__MACOSX/._conversations.json", MemberKind.OTHER),
        ("__MACOSX/conversations.json", MemberKind.OTHER),
        ("._chat.html", MemberKind.OTHER),
        ("README", MemberKind.OTHER),
        ("", MemberKind.OTHER),
    ],
)
def test_kinds_are_told_by_name_at_any_depth(name: str, kind: MemberKind) -> None:
    assert kind_of(name) is kind


def test_shard_numbers() -> None:
    assert shard_number("x/conversations-007.json") == 7
    assert shard_number("conversations.json") is None
    assert shard_number("user.json") is None


@pytest.mark.parametrize(
    ("data", "era"),
    [
        (export(conversations__json=[], chat__html=b"x", user__json={}), "2023"),
        (export(conversations__json=[], shopping__json=[]), "2025"),
        (build(Part(), Part(b"dalle-generations/file-1.webp")), "2025"),
        (of_2026(), "2026"),
        (export(conversations__json=[], export_manifest__json={}), "2026"),
        (build(Part(b"Act/Conversations_1-chatgpt-0001.zip"), Part(b"report.html")), "portal"),
        (export(readme__txt=b"hello"), "unknown"),
    ],
)
def test_eras_are_told_apart(data: bytes, era: str) -> None:
    assert facts_of(data).era == era
    assert era in layout.ERAS


@pytest.mark.parametrize(
    ("name", "prefix", "time"),
    [
        (NAME, PREFIX, datetime(2026, 1, 22, 3, 45, 25, tzinfo=UTC)),
        (f"/drop/{NAME}", PREFIX, datetime(2026, 1, 22, 3, 45, 25, tzinfo=UTC)),
        (
            f"{PREFIX}-2024-10-26-21-46-08.zip",
            PREFIX,
            datetime(2024, 10, 26, 21, 46, 8, tzinfo=UTC),
        ),
        (
            f"{PREFIX}-2024-10-26-21-46-08 (1).zip",
            PREFIX,
            datetime(2024, 10, 26, 21, 46, 8, tzinfo=UTC),
        ),
        (f"{PREFIX}-2024-13-45-21-46-08.zip", PREFIX, datetime(2025, 9, 23, 12, 0, tzinfo=UTC)),
        ("export.zip", None, datetime(2025, 9, 23, 12, 0, tzinfo=UTC)),
        (f"x{PREFIX}-2024-10-26-21-46-08.zip", None, datetime(2025, 9, 23, 12, 0, tzinfo=UTC)),
        (None, None, datetime(2025, 9, 23, 12, 0, tzinfo=UTC)),
    ],
)
def test_account_prefix_and_time(name: str | None, prefix: str | None, time: datetime) -> None:
    """Without a stamp in the name, the newest member's time stands in."""
    found = facts_of(export(conversations__json=[]), name)

    assert (found.account_prefix, found.exported_at) == (prefix, time)


def test_no_time_is_invented() -> None:
    member = Member("conversations.json", 0, 0, 0, 0, 0, 30, 0x00210000)
    archive = scan(io.BytesIO(build(Part())))
    blank = type(archive)(archive.size, (member,))

    assert facts(None, blank, lambda _: iter(())).exported_at is None


@pytest.mark.parametrize(
    ("user", "digest"),
    [
        ({"id": "user-1", "email": "me@example.org"}, hashlib.sha256(b"user-1").hexdigest()),
        ({"id": 5}, None),
        ({"id": ""}, None),
        ({}, None),
        ([], None),
        (b"{", None),
        (b"[" * 100_000, None),
        (b'{"id": "\xff"}', None),
        (b'{"id": "\\ud800"}', None),
    ],
)
def test_the_user_is_known_by_a_digest_only(user: object, digest: str | None) -> None:
    found = facts_of(export(conversations__json=[], user__json=user))

    assert found.user_digest == digest
    assert "user-1" not in repr(found)


def test_a_damaged_or_huge_sidecar_is_as_good_as_none() -> None:
    data = build(Part(), Part(b"user.json", local=Record(crc32=1), central=Record(crc32=1)))
    assert facts_of(data).user_digest is None

    archive = scan(io.BytesIO(build(Part(), Part(b"user.json"))))
    huge = Member("user.json", 0, 0, 1 << 40, 1 << 40, 0, 30, 0)
    larger = type(archive)(archive.size, (*archive.members[:1], huge))

    def refuse(_: Member) -> Any:
        raise AssertionError("read although it is too large")

    assert facts(None, larger, refuse).user_digest is None


def test_a_complete_export_says_so() -> None:
    assert facts_of(of_2026()).complete is True
    assert facts_of(of_2026()).incomplete_reasons == ()
    assert facts_of(of_2026()).conversations == ("conversations-000.json", "conversations-001.json")
    assert facts_of(export(conversations__json=[])).complete is True


def test_shards_without_a_manifest_tell_nothing() -> None:
    shards = build(Part(b"conversations-000.json"), Part(b"conversations-001.json"))

    assert facts_of(shards).complete is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            build(Part(b"conversations-000.json"), Part(b"conversations-003.json")),
            "2 of 4 shards are missing, the first is number 1",
        ),
        (
            build(Part(b"conversations-001.json")),
            "1 of 2 shards are missing, the first is number 0",
        ),
        (export(user__json={}), "there is no conversations file"),
        (
            of_2026(export_files=[{"path": "conversations-002.json", "size_bytes": 2}]),
            "missing: conversations-002.json",
        ),
        (
            of_2026(export_files=[{"path": "chat.html", "size_bytes": 7}]),
            "not of the size in the manifest: chat.html",
        ),
        (
            of_2026(export_files=[{"path": "file-1-my illness.pdf", "size_bytes": 7}]),
            "missing: 1 other files",
        ),
        (
            of_2026(logical_files={"conversations.json": {"files": ["a"], "shard_count": 3}}),
            "conversations.json has 1 of 3 shards",
        ),
    ],
)
def test_an_incomplete_export_says_why(data: bytes, reason: str) -> None:
    found = facts_of(data)

    assert found.complete is False
    assert reason in found.incomplete_reasons


@pytest.mark.parametrize(
    "manifest", [b"{", b"[]", b'{"export_files": 3}', b"[" * 50_000, b'{"export_files": [{}]}']
)
def test_a_manifest_that_cannot_be_read_leaves_it_open(manifest: bytes) -> None:
    found = facts_of(export(conversations__json=[], export_manifest__json=manifest))

    assert found.complete is None
    assert found.incomplete_reasons == ("the manifest cannot be read",)


def test_absurd_shard_numbers_cost_nothing() -> None:
    found = facts_of(build(Part(b"conversations-999999.json")))

    assert found.incomplete_reasons == (
        "999999 of 1000000 shards are missing, the first is number 0",
    )


def test_an_export_zipped_again_with_a_folder_is_the_same() -> None:
    plain, parts = of_2026(), []
    file = io.BytesIO(plain)
    for member in scan(file).members:
        content = b"".join(read_member(file, member))
        parts.append(Part(f"My export/{member.name}".encode(), content))
    litter = [Part(b"__MACOSX/._My export"), Part(b"My export/.DS_Store")]

    again = facts_of(build(Part(b"My export/", b"", STORED), *parts, *litter))

    assert again.complete is True
    assert again.era == "2026"
    assert again.unknown_parts == ()
    assert again.conversations[0] == "My export/conversations-000.json"


def test_unknown_parts_are_named_shortly() -> None:
    data = build(
        Part(), Part(b"dreams.json"), Part(b"agents/a.json"), Part(b"agents/b.json"),
        Part(b"user.json"), Part(b"sites/export_manifest.json"), Part(b"file-1-me.png"),
        Part(b"x" * 200 + b".bin"),
    )  # fmt: skip

    assert facts_of(data).unknown_parts == ("agents/", "dreams.json", "x" * 59 + "…")


def test_at_most_twenty_unknown_parts_are_named() -> None:
    data = build(Part(), *(Part(b"new%03d.json" % number) for number in range(99)))

    assert len(facts_of(data).unknown_parts) == 20


@pytest.mark.parametrize(
    "options", [Options(), Options(zip64=True), Options(data_descriptors=True)]
)
def test_generated_exports_of_every_era_are_understood(options: Options) -> None:
    eras = ["2023", "2025", "2026"]
    for made in series(seed=3, era=eras, exports=3, conversations=12, options=options):
        file = io.BytesIO()
        made.write_to(file)
        archive = scan(file)
        verify(file, archive)
        found = facts(made.file_name, archive, lambda member, file=file: read_member(file, member))

        assert found.era == eras.pop(0)
        assert found.complete is True
        assert found.unknown_parts == ()
        assert found.exported_at == made.exported_at.replace(microsecond=0)
        assert made.file_name.startswith(found.account_prefix or "none")
        assert _conversation_count(file, found) == made.truth.total


def _conversation_count(file: io.BytesIO, found: Facts) -> int:
    members = {member.name: member for member in scan(file).members}
    return sum(
        isinstance(piece, slices.Slice) and piece.conversation_id is not None
        for name in found.conversations
        for piece in slices.split_json(read_member(file, members[name]))
    )


def test_the_portal_archive_holds_an_ordinary_export() -> None:
    made = next(iter(series(seed=3, era="privacy", exports=1, conversations=5)))
    file = io.BytesIO()
    made.write_to(file)
    outer = scan(file)
    assert facts(None, outer, lambda member: read_member(file, member)).era == "portal"

    eras = set()
    for member in outer.members:
        if kind_of(member.name) is MemberKind.ARCHIVE:
            inner = io.BytesIO(b"".join(read_member(file, member)))
            eras.add(facts(None, scan(inner), lambda m, inner=inner: read_member(inner, m)).era)

    assert eras & {"2023", "2025", "2026"}


def test_a_refused_archive_has_no_facts() -> None:
    with pytest.raises(ArchiveRefused):
        facts_of(b"<html>")
