"""docs/format.md is enough to get everything back: a reader that follows it does.

The reader (`tests.support.by_hand`) shares no line with the program. What it meets here is meant to
be all that a repository can hold; a field or a file that the page does not name fails.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export import encoders
from backupd.export.archive_rules import ArchiveRefused
from backupd.export.deflate import encode
from backupd.store import derive
from tests.support import FULL, by_hand, retention, sealing
from tests.support.golden import goldens, unpacked
from tests.support.operations import KINDS, RepositoryKind
from tests.support.storing import conversation, origin, put, week
from tests.support.zips import STORED, Part, build, deflate_flushing, deflate_unknown

PAGE = (Path(__file__).resolve().parents[2] / "docs/format.md").read_text(encoding="utf-8")
DAY = 10


def html_escaped(text: str) -> str:
    """Return JSON as exports put it into their page: as `html.escape` does it, in strings."""
    for plain, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&#x27;")):
        text = text.replace(plain, escape)
    return re.sub(r"\\(.)", lambda m: "&quot;" if m[1] == '"' else m[0], text)


def page(text: str) -> bytes:
    return f"<html><script>var jsonData = {text};</script></html>".encode()


def members(start: int, indent: int | None, spaces: bool, escape: bool) -> dict[bytes, bytes]:
    """Make an export's members whose page shows the conversations in another form of JSON."""
    talks = [
        {**conversation(n), "title": 'a "b" \\ c: "d": , \\"'} for n in range(start, start + 12)
    ]
    shown = json.dumps(talks, separators=(", ", ": ") if spaces else (",", ":"))
    return {
        b"user.json": b'{"id": "user-abc"}',
        b"conversations.json": json.dumps(talks, indent=indent).encode(),
        b"chat.html": page(html_escaped(shown) if escape else shown),
    }


def parts(found: dict[bytes, bytes]) -> Iterator[Part]:
    return (Part(name, data) for name, data in found.items())


def exports_of_every_form() -> Iterator[bytes]:
    """Make one export for each way in which a recipe can say how a member is made."""
    yield build(*parts(members(100, None, True, True)))  # transform 1
    yield build(*parts(members(200, 2, True, True)))  # 2
    yield build(*parts(members(300, 2, True, False)))  # 3
    yield build(*parts(members(400, 2, False, True)))  # 4
    yield build(*parts(members(500, 2, False, False)))  # 5
    inner = build(Part(b"inner.txt", b"a ZIP in the ZIP " * 5000))
    noise = random.Random(1).randbytes(70_000)
    unknown = json.dumps([random.Random(7).random() for _ in range(9000)]).encode()
    yield build(
        *parts(members(600, None, True, False)),
        Part(b"inner.zip", inner, method=STORED),
        Part(b"noise.bin", noise, method=STORED),
        Part(b"unknown.json", unknown, stream=deflate_unknown(unknown, 40_000)),
        Part("nämé.json".encode(), b"{}", flags=0x800),
    )
    for way in (
        (encoders.ZLIB_NG, 6, 8192),
        (encoders.ISAL, 2, 65536),
        (encoders.LIBDEFLATE, 6, 0),
    ):
        name, level, feed = way
        encoder = encoders.candidate(name, level, 8, feed)
        text = members(700 + feed % 999, None, True, True)
        yield build(
            *(Part(n, data, stream=b"".join(encode([data], encoder))) for n, data in text.items())
        )
    text = members(900, None, True, True)
    regular = ((n, deflate_flushing(d, range(16384, len(d), 16384))) for n, d in text.items())
    yield build(*(Part(n, text[n], stream=stream) for n, stream in regular))
    text = members(950, None, True, True)
    odd = ((n, deflate_flushing(d, (len(d) // 9, len(d) // 2))) for n, d in text.items())
    yield build(*(Part(n, text[n], stream=stream) for n, stream in odd))


@dataclass(frozen=True)
class Made:
    """A closed repository, and the SHA-256 of the exports that are in it."""

    root: Path
    kind: RepositoryKind
    digests: frozenset[str]

    def read(self) -> by_hand.Reader:
        """Open it by hand."""
        if self.kind.keys is None:
            return by_hand.Reader(self.root)
        master = by_hand.master_key(self.root, passphrase=sealing.PASSPHRASE)
        return by_hand.Reader(self.root, by_hand.Encrypted(master))


def digests(exports: Iterable[bytes]) -> frozenset[str]:
    return frozenset(hashlib.sha256(data).hexdigest() for data in exports)


REFUSED = week(1) + b"trailing bytes" + bytes(3 << 20)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make a repository that holds everything which a repository can hold."""
    kind: RepositoryKind = request.param
    place = tmp_path_factory.mktemp(kind.name)
    exports = [*exports_of_every_form(), *(week(number) for number in range(1, 5))]
    with kind.create(place / "repository", None) as repository:
        for number, data in enumerate(exports):
            snapshot = put(repository, place, data, DAY + number % 15).snapshot
        assert repository.keeping.pin(snapshot, retention.NOW)
        with pytest.raises(ArchiveRefused):
            put(repository, place, REFUSED)
        repository.quarantine(place / "source-1.zip", "a rule", "a detail", origin())
    return Made(place / "repository", kind, digests(exports))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_golden_repositories_are_read_by_hand(kind: RepositoryKind, tmp_path: Path) -> None:
    for golden in goldens(kind):
        root, wanted = unpacked(golden, tmp_path / golden.stem)
        reader = Made(root, kind, frozenset(wanted)).read()

        found = [reader.recipe(each).export() for each in reader.manifests().values()]

        assert digests(found) == set(wanted)


def test_every_form_of_export_is_rebuilt_by_hand(everything: Made) -> None:
    reader = everything.read()
    codings, transforms = set(), set()

    for manifest in reader.manifests().values():
        recipe = reader.recipe(manifest)
        data = recipe.export()
        assert hashlib.sha256(data).hexdigest() == manifest["sha256"]
        assert len(data) == manifest["size"]
        assert len(recipe.conversations) == manifest["conversations"]
        codings |= recipe.codings
        transforms |= recipe.transforms

    assert {each["sha256"] for each in reader.manifests().values()} == everything.digests
    assert codings == {0, 1, 2, 3}, "the exports show no longer all that a recipe can say"
    assert transforms == {0, 1, 2, 3, 4, 5}, "the exports show no longer every transform"


def test_every_object_and_prefix_is_read_by_hand(everything: Made) -> None:
    packs = everything.read().packs

    for name in packs.homes:
        packs.object(name)

    lengths = {len(name) for frame in packs.frames.values() for name in frame.prefix}
    assert lengths == {12, 16}, "the exports make no longer both kinds of prefix"
    assert {frame.codec for frame in packs.frames.values()} == {0, 1}


def test_small_files_say_what_the_page_says(everything: Made) -> None:
    reader = everything.read()
    manifests, proofs, pins = (
        reader.manifests(),
        reader.beside("proofs", 4),
        reader.beside("pins", 8),
    )

    assert reader.header["format"] == 1
    assert proofs.keys() == manifests.keys()
    for name, proof in (*proofs.items(), *pins.items()):
        assert proof["snapshot"] == name
        assert proof["sha256"] == manifests[name]["sha256"]
    assert len(pins) == 1
    ((file, note),) = reader.quarantined().values()
    assert file == REFUSED
    assert (note["rule"], note["detail"]) == ("a rule", "a detail")


def test_every_field_and_file_is_on_the_page(everything: Made) -> None:
    reader = everything.read()
    values = [reader.header, *reader.manifests().values()]
    values += [*reader.beside("proofs", 4).values(), *reader.beside("pins", 8).values()]
    values += [note for _, note in reader.quarantined().values()]
    for path in everything.root.glob("keys/*"):
        values.append(by_hand.unsealed(path.read_bytes()))

    fields = {name for value in values for name in value}
    assert {name for name in fields if f"`{name}`" not in PAGE} == set()
    places = {path.relative_to(everything.root).parts[0] for path in everything.root.rglob("*")}
    assert {
        name for name in places if not re.search(rf"^    {name}\b", PAGE, re.MULTILINE)
    } == set()


def test_what_stays_of_forgotten_snapshots_is_read_by_hand(tmp_path: Path) -> None:
    """After forget and prune: objects of remainders, and the exports that are left."""
    for kind in KINDS:
        place = tmp_path / kind.name
        place.mkdir()
        root = retention.weeks(place, 5, kind)
        with kind.open(root, True, None) as repository:
            retention.forget(repository)
            retention.prune(repository)
        reader = Made(root, kind, digests([retention.week(4)])).read()

        left = digests(reader.recipe(each).export() for each in reader.manifests().values())
        (remainder,) = reader.remainders().values()
        pictures = {
            asset["name"]: b"".join(map(reader.packs.object, map(bytes.fromhex, asset["objects"])))
            for asset in remainder["assets"]
        }
        states = {
            reader.packs.object(bytes.fromhex(state["object"]))
            for each in remainder["conversations"]
            for state in each["slices"]
        }

        assert left == digests([retention.week(4)])
        assert retention.slices_of_week(0)["brief-0"] in states
        assert pictures["file-Brief0-photo.png"] == retention.noise(0, 3000)
        assert all(f"`{name}`" in PAGE for name in fields_below(remainder))


JSON_TEXT = st.text(alphabet=st.sampled_from('ab\\""\\&<>\',: \n{}[]'), max_size=60)


@settings(max_examples=20_000 if FULL else 300, deadline=None)
@given(JSON_TEXT, st.sampled_from(sorted(derive.TRANSFORMS)))
def test_transforms_do_what_the_page_says_to_any_bytes(text: str, number: int) -> None:
    """Also to what is no JSON: a piece is only ever proven to come out, not to be well-formed."""
    assert derive.apply(number, text.encode()) == by_hand.transformed(text.encode(), number)


def fields_below(value: object) -> Iterator[str]:
    """Yield the name of every field of a JSON value and of those in it."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from fields_below(each)


def test_recovery_key_and_passphrase_give_the_same_master_key(tmp_path: Path) -> None:
    root = tmp_path / "r"
    sealing.made(root).close()

    by_phrase = by_hand.master_key(root, passphrase=sealing.PASSPHRASE)

    assert by_hand.master_key(root, recovery_key=sealing.RECOVERY) == by_phrase
    header = by_hand.unsealed((root / "backupd-repository.json").read_bytes())
    assert header["key"] == by_hand.Encrypted(by_phrase).fingerprint()
