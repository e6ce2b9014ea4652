"""A conversations file that cannot be read to its end: kept, told of, and nothing is gone."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from backupd.catalog import Catalog
from backupd.store.repository import Repository
from tests.support.storing import conversation, put, week

TALKS = [conversation(number) for number in range(1, 21)]
WHOLE = json.dumps(TALKS)


def export(conversations: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("user.json", b'{"id": "user-abc"}')
        archive.writestr("conversations.json", conversations)
    return target.getvalue()


@pytest.mark.parametrize("sound", [WHOLE, WHOLE + "\n", "[]", "[ ]", json.dumps(TALKS, indent=2)])
def test_a_list_of_conversations_is_complete(sound: str, tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as repository:
        snapshot = put(repository, tmp_path, export(sound)).snapshot

    assert snapshot.complete is not False
    assert snapshot.incomplete_reasons == ()


@pytest.mark.parametrize(
    "broken",
    [
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
        "",
        '{"conversations": ' + WHOLE + "}",
        "[" + json.dumps(TALKS[0]) + ', {"title": "nameless"}]',
    ],
    ids=["cut off", "not closed", "empty", "no list", "nameless"],
)
def test_what_cannot_be_read_makes_an_export_incomplete(broken: str, tmp_path: Path) -> None:
    with Repository.create(tmp_path / "r") as repository, closing(Catalog.open(None)) as catalog:
        put(repository, tmp_path, week(1), day=1)
        snapshot = put(repository, tmp_path, export(broken), day=2).snapshot
        catalog.sync(repository)
        counts = catalog.counts(snapshot.id)

    assert snapshot.complete is False
    assert snapshot.incomplete_reasons == (
        "conversations.json: a part is no readable conversation",
    )
    assert counts is not None
    assert counts.gone == 0
