"""The generated series: the same each time, true about themselves, shaped like real exports."""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import zipfile
from typing import Any

import pytest

from backupd.demo.exports import Churn, Era, GeneratedExport, Options, series, write_big

MIXED: list[Era] = ["2023", "2023", "2025", "2025", "2026", "2026"]
LIVELY = Options(
    churn=Churn(new=3, continued=3, edited=2, rewritten=2, deleted=2, retitled=2, flipped=2),
    asset_share=0.05,
    asset_size=2_000,
    hostile=0.3,
)


@pytest.fixture(scope="module")
def mixed() -> list[GeneratedExport]:
    """Six exports of one account, two of each era."""
    return list(series(11, MIXED, len(MIXED), 30, LIVELY))


def _zip(export: GeneratedExport) -> bytes:
    buffer = io.BytesIO()
    export.write_to(buffer)
    return buffer.getvalue()


def _files(export: GeneratedExport) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(_zip(export))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def _conversations(files: dict[str, bytes]) -> list[dict[str, Any]]:
    names = sorted(name for name in files if name.startswith("conversations"))
    return [item for name in names for item in json.loads(files[name])]


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value


def test_same_seed_gives_same_bytes_and_another_seed_others() -> None:
    first, again, other = (
        [hashlib.sha256(_zip(export)).hexdigest() for export in series(seed, MIXED, 6, 12, LIVELY)]
        for seed in (5, 5, 6)
    )

    assert first == again
    assert not set(first) & set(other)


def test_export_can_be_written_after_the_series_went_on(mixed: list[GeneratedExport]) -> None:
    assert _zip(mixed[0]) == _zip(next(series(11, MIXED, len(MIXED), 30, LIVELY)))


def test_names_carry_the_account_and_the_moment(mixed: list[GeneratedExport]) -> None:
    shape = r"[0-9a-f]{64}-(\d{4}(?:-\d\d){5})(-[0-9a-f]{32})?\.zip"
    for export in mixed:
        found = re.fullmatch(shape, export.file_name)

        assert found
        assert export.file_name.startswith(export.account.prefix)
        assert found[1] == export.exported_at.strftime("%Y-%m-%d-%H-%M-%S")


def test_truth_agrees_with_the_ids_in_the_zips(mixed: list[GeneratedExport]) -> None:
    before: set[str] = set()
    for export in mixed:
        ids = {item["id"] for item in _conversations(_files(export))}
        truth = export.truth

        assert len(ids) == truth.total
        assert truth.new == ids - before
        assert truth.gone == before - ids
        assert truth.changed | truth.metadata_changed | truth.unchanged == ids & before
        before = ids
    assert mixed[-1].truth.changed
    assert mixed[-1].truth.metadata_changed


def test_only_changed_conversations_gain_or_lose_visible_turns(
    mixed: list[GeneratedExport],
) -> None:
    def turns(export: GeneratedExport) -> dict[str, set[str]]:
        return {
            item["id"]: {
                node["id"] + json.dumps(node["message"]["content"])
                for node in item["mapping"].values()
                if node["message"] and node["message"]["author"]["role"] in ("user", "assistant")
            }
            for item in _conversations(_files(export))
        }

    for before, after in ((mixed[0], mixed[1]), (mixed[2], mixed[3]), (mixed[4], mixed[5])):
        old, new = turns(before), turns(after)
        differing = {name for name in old.keys() & new.keys() if old[name] != new[name]}

        assert differing == after.truth.changed


def test_added_and_removed_words_are_where_the_truth_says(mixed: list[GeneratedExport]) -> None:
    texts = [b"".join(data for name, data in _files(item).items() if "conv" in name[:5])
             for item in mixed]  # fmt: skip
    for number in range(1, len(mixed)):
        for change in mixed[number].truth.added:
            assert change.word.encode() in texts[number]
            assert not change.word or change.word.encode() not in texts[number - 1]
        for change in mixed[number].truth.removed:
            assert not change.word or change.word.encode() not in texts[number]
    assert any(export.truth.removed for export in mixed)


@pytest.mark.parametrize("number", [0, 2])
def test_older_eras_write_one_line_in_order_of_creation(
    mixed: list[GeneratedExport], number: int
) -> None:
    raw = _files(mixed[number])["conversations.json"]
    value = json.loads(raw)

    assert raw == json.dumps(value).encode()
    assert [item["create_time"] for item in value] == sorted(
        (item["create_time"] for item in value), reverse=True
    )
    assert list(value[0])[:4] == ["title", "create_time", "update_time", "mapping"]
    assert all("children" in node for node in value[0]["mapping"].values())


def test_2026_writes_sorted_indented_shards_of_a_hundred() -> None:
    (export,) = series(3, "2026", 1, 205, Options(asset_share=0.0))
    files = _files(export)
    shards = [files[f"conversations-{number:03d}.json"] for number in range(3)]
    values = [json.loads(shard) for shard in shards]

    assert [len(value) for value in values] == [100, 100, 5]
    for shard, value in zip(shards, values, strict=True):
        assert shard == json.dumps(value, indent=2, sort_keys=True).encode()
    ids = [item["conversation_id"] for value in values for item in value]
    assert ids == sorted(ids)


def test_2026_prunes_hidden_turns_and_relinks_their_followers(
    mixed: list[GeneratedExport],
) -> None:
    for item in _conversations(_files(mixed[4])):
        mapping = item["mapping"]
        assert item["current_node"] in mapping
        for node in mapping.values():
            assert set(node) == {"id", "message", "parent"}
            assert node["parent"] is None or node["parent"] in mapping
            if node["message"]:
                assert node["message"]["author"]["role"] in ("user", "assistant")


def test_chat_page_is_the_escaped_twin_of_the_conversations(mixed: list[GeneratedExport]) -> None:
    for export, separators in ((mixed[0], None), (mixed[2], None), (mixed[4], (",", ":"))):
        files = _files(export)
        page = files["chat.html"].decode("ascii")
        line = next(row for row in page.split("\n") if row.startswith("var jsonData = "))
        written = json.dumps(_escaped(_conversations(files)), separators=separators)

        assert line == f"var jsonData = {written};"


def test_manifest_names_every_other_file_with_its_size(mixed: list[GeneratedExport]) -> None:
    files = _files(mixed[5])
    manifest = json.loads(files.pop("export_manifest.json"))
    listed = {entry["path"]: entry["size_bytes"] for entry in manifest["export_files"]}
    conversations = manifest["logical_files"]["conversations.json"]

    assert listed == {name: len(data) for name, data in files.items()}
    assert conversations["files"] == ["conversations-000.json"]
    assert conversations["shard_count"] == 1


def test_assets_are_named_by_era_and_keep_their_bytes(mixed: list[GeneratedExport]) -> None:
    old, new = _files(mixed[3]), _files(mixed[4])
    names = json.loads(new["conversation_asset_file_names.json"])
    ids = {name.removesuffix(".dat") for name in names}
    shared = {name for name in old if any(key in name for key in ids)}

    assert names
    assert {name for name in new if name.endswith(".dat")} == set(names)
    assert {old[name] for name in shared} <= set(new.values())


def test_unchanged_conversations_are_noisy_in_some_exports() -> None:
    many = Options(churn=Churn(noisy=0.5))
    before, after = series(2, "2025", 2, 30, many)
    old = {item["id"]: json.dumps(item) for item in _conversations(_files(before))}
    new = {item["id"]: json.dumps(item) for item in _conversations(_files(after))}
    noisy = {name for name in after.truth.unchanged if old[name] != new[name]}

    assert noisy
    assert noisy != after.truth.unchanged


def test_schema_week_adds_two_keys_to_every_conversation() -> None:
    exports = list(series(2, "2025", 3, 10, Options(schema_week=1)))
    keys = [set(_conversations(_files(export))[0]) for export in exports]

    assert len(keys[1] - keys[0]) == 2
    assert keys[1] == keys[2]


def test_privacy_archive_holds_an_ordinary_export() -> None:
    (export,) = series(2, "privacy", 1, 10)
    files = _files(export)
    name = next(name for name in files if name.endswith("-chatgpt-0001.zip"))

    with zipfile.ZipFile(io.BytesIO(files[name])) as inner:
        assert inner.testzip() is None
        assert len(json.loads(inner.read("conversations-000.json"))) == 10


def test_plain_container_equals_what_python_writes() -> None:
    (export,) = series(2, "2025", 1, 6, LIVELY)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _files(export).items():
            info = zipfile.ZipInfo(name, export.exported_at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)

    assert _zip(export) == buffer.getvalue()


@pytest.mark.parametrize("descriptors", [False, True])
@pytest.mark.parametrize("zip64", [False, True])
def test_other_containers_open_and_hold_the_same(zip64: bool, descriptors: bool) -> None:
    options = Options(
        zip64=zip64, data_descriptors=descriptors, stored_assets=True, asset_share=0.5
    )
    (export,) = series(2, "2025", 1, 6, options)
    (plain,) = series(2, "2025", 1, 6, Options(asset_share=0.5))

    assert _files(export) == _files(plain)
    assert (b"PK\6\6" in _zip(export)) == zip64
    with zipfile.ZipFile(io.BytesIO(_zip(export))) as archive:
        assert any(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_hostile_content_occurs() -> None:
    (export,) = series(2, "2025", 1, 200, Options(hostile=0.2))
    items = _conversations(_files(export))
    text = json.dumps(items)

    assert any(item["title"] is None for item in items)
    assert "</script>" in text
    for sample in ("\ud83d", "\u202e", "\U0001f469\u200d", "\u4eca", "\u0645", "\0"):
        assert json.dumps(sample)[1:-1] in text


def test_big_export_is_one_array_of_the_asked_size(tmp_path: Any) -> None:
    path = tmp_path / "big.zip"
    name = write_big(path, 3, chat=True)

    with zipfile.ZipFile(path) as archive:
        raw = archive.read("conversations.json")
        value = json.loads(raw)
    assert raw == json.dumps(value).encode()
    assert 3_000_000 <= len(raw) < 6_000_000
    assert name.endswith(".zip")
