"""Recipes, transforms and packs on arbitrary values and arbitrary bytes."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backupd.export.encoders import Encoder, Flush, Flushes, Library
from backupd.store import derive, frames
from backupd.store.envelope import PLAIN
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.naming import Kind, object_id
from backupd.store.packs import (
    ObjectEntry,
    PackDamaged,
    PackWriter,
    read_directory,
)
from backupd.store.recipe import (
    Begin,
    Coding,
    Derived,
    End,
    Event,
    Raw,
    Recipe,
    RecipeDamaged,
    Ref,
    encode,
)
from backupd.store.sealed import SealBroken, unseal
from backupd.store.snapshot import Manifest, ManifestDamaged, Proof, read_manifest

MANY = 2000 if os.environ.get("BACKUPD_FULL") == "1" else 100
IDS = st.integers(0, 30).map(lambda n: object_id(bytes([n])))
LEAVES = st.one_of(
    st.binary(min_size=1, max_size=40).map(Raw),
    st.builds(Ref, IDS, st.booleans()),
    st.builds(Derived, IDS, st.integers(0, 300)),
)
PLAIN_ENCODERS = st.builds(Encoder, st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
POINTS = st.lists(st.integers(0, 2**40), unique=True, max_size=5).map(lambda p: tuple(sorted(p)))
ENCODERS = PLAIN_ENCODERS | st.builds(
    Encoder,
    st.integers(0, 12),
    st.integers(0, 9),
    window=st.integers(9, 15),
    feed=st.integers(0, 2**20),
    flushes=st.none()
    | st.builds(Flushes, st.sampled_from(Flush), st.integers(1, 2**40), st.booleans())
    | st.builds(Flushes, st.sampled_from(Flush), points=POINTS),
    library=st.none() | st.builds(Library, st.text(min_size=1), st.text(), st.binary(max_size=4)),
)
BEGINS = st.one_of(
    st.builds(Begin, st.text(max_size=20), st.sampled_from([Coding.STORED, Coding.STREAM])),
    st.builds(Begin, st.text(max_size=20), st.just(Coding.DEFLATED), ENCODERS),
)


def members(inside: st.SearchStrategy[list[Event]]) -> st.SearchStrategy[list[Event]]:
    member = st.tuples(BEGINS, inside).map(lambda pair: [pair[0], *pair[1], End()])
    part = st.one_of(LEAVES.map(lambda leaf: [leaf]), member)
    return st.lists(part, max_size=8).map(lambda parts: [event for part in parts for event in part])


EVENTS = members(members(st.lists(LEAVES, max_size=6)))


@settings(max_examples=MANY, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(EVENTS)
def test_recipe_says_what_was_written(events: list[Event]) -> None:
    recipe = Recipe(encode(events))

    assert list(recipe.events()) == events
    used = [event.id for event in events if isinstance(event, Ref | Derived)]
    assert list(recipe.ids()) == list(dict.fromkeys(used))
    assert list(recipe.conversations()) == [
        event.id for event in events if isinstance(event, Ref) and event.conversation
    ]


@settings(max_examples=MANY * 2, deadline=None)
@given(st.binary(max_size=200).map(lambda data: b"\x01" + data), st.data())
def test_recipe_of_any_bytes_is_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    events = encode([Begin("a", Coding.STORED), Ref(object_id(b"x"), True), Raw(b"abc"), End()])
    position = draw.draw(st.integers(0, len(events) - 1))
    broken = events[:position] + draw.draw(st.binary(max_size=4)) + events[position + 1 :]

    for candidate in (data, broken):
        try:
            list(Recipe(candidate).events())
        except RecipeDamaged:
            continue


@settings(max_examples=MANY, deadline=None)
@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_frame_comes_back_and_wrong_bytes_are_refused(data: bytes, prefix: bytes) -> None:
    codec, payload = frames.encode(data, prefix)

    assert frames.decode(codec, payload, frames.Prefix(prefix), len(data)) == data
    with pytest.raises(frames.FrameDamaged):
        frames.decode(codec, payload, frames.Prefix(prefix), len(data) + 1)
    with pytest.raises(frames.FrameDamaged):
        frames.decode(9, payload, frames.Prefix(prefix), len(data))


@settings(max_examples=MANY * 2, deadline=None)
@given(st.binary(max_size=200))
def test_frame_of_any_bytes_is_read_or_refused(payload: bytes) -> None:
    nothing = frames.Prefix(b"")
    for length in (0, 10, 1000):
        try:
            assert len(frames.decode(frames.Codec.ZSTD, payload, nothing, length)) == length
        except frames.FrameDamaged:
            continue


TEXTS = st.text(
    alphabet=st.sampled_from("ab<>&'\"\\/: ,\n\t{}[]\u00e9\u2028\U0001f600"), max_size=20
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["id", "x"]), inner)
    ),
    max_leaves=12,
)


def escaped(value: object) -> object:
    """Return the value with every string HTML-escaped, as the exporter does."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    return value


@settings(max_examples=MANY * 3, deadline=None)
@given(VALUES)
def test_page_text_is_derived_from_json(value: object) -> None:
    """The transforms equal a real dump of the escaped value, whatever the strings hold."""
    line, pretty = json.dumps(value).encode(), json.dumps(value, indent=2).encode()
    page = json.dumps(escaped(value)).encode()

    assert derive.apply(1, line) == page
    assert derive.apply(2, pretty) == page
    assert derive.apply(3, pretty) == line
    if line != page:
        assert derive.find(line, page, 0) == 1
        assert derive.find(pretty, page, 5) in (1, 2)
    assert derive.find(line, page + b" ", 1) is None


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pack")
    file = NewFile(FileSystem(), temporary(directory))
    writer = PackWriter(file, 3, PLAIN)
    for number in range(3):
        data = bytes([number]) * 50
        entry = ObjectEntry(object_id(data), 50, b"k" * 8)
        writer.add(Kind.MEMBER, frames.encode(data, b""), (), (entry,))
    return writer.seal().path


@settings(max_examples=MANY * 2, deadline=None)
@given(st.data())
def test_damaged_pack_structure_is_refused(
    pack: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A changed byte outside the payloads never passes; inside them, only the structure is read."""
    directory, size = read_directory(pack, PLAIN)
    payloads = range(directory.frames[0].offset, sum(f.length for f in directory.frames) + 16)
    position = data.draw(st.integers(0, size - 1))
    changed = bytearray(pack.read_bytes())
    changed[position] ^= data.draw(st.integers(1, 255))
    place = tmp_path_factory.mktemp("changed") / "x.pack"
    place.write_bytes(changed)

    if position in payloads:
        assert read_directory(place, PLAIN) == (directory, size)
    else:
        with pytest.raises(PackDamaged):
            read_directory(place, PLAIN)


@settings(max_examples=MANY, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_no_manifest_and_no_proof(data: bytes) -> None:
    with pytest.raises(ManifestDamaged):
        read_manifest("0" * 64, data, PLAIN)
    with pytest.raises(ManifestDamaged):
        read_manifest(object_id(data).hex(), data, PLAIN)
    with pytest.raises(SealBroken):
        unseal(data, Proof)
    with pytest.raises(SealBroken):
        unseal(data, Manifest)
