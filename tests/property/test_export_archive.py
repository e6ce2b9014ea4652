"""Mutated archives are read in full or refused; nothing else happens."""

from __future__ import annotations

import io
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.export.archive import (
    ArchiveLimits,
    ArchiveRefused,
    looks_complete,
    read_member,
    scan,
)
from tests.support import FULL
from tests.support.zips import LEGITIMATE

EXAMPLES = 20_000 if FULL else 800
GOOD = {name: make() for name, make in LEGITIMATE.items()}
LIMITS = ArchiveLimits(max_total=50 << 20, max_members=1000)

positions = st.floats(0, 1, exclude_max=True)
numbers = st.sampled_from([0, 1, 0x7F, 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 22, 46, 30])
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), positions, st.integers(0, 7)),
        st.tuples(st.just("number"), positions, numbers),
        st.tuples(st.just("cut"), positions, st.integers(1, 60)),
        st.tuples(st.just("copy"), positions, positions),
        st.tuples(st.just("insert"), positions, st.binary(max_size=30)),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[str, float, object]]) -> bytes:
    """Apply each change at its place; three of four places are in the last third, the records."""
    out = bytearray(data)
    for kind, where, what in changes:
        at = min(int(where * len(out)), max(0, len(out) - 1))
        if kind == "flip" and out:
            out[at] ^= 1 << int(what)  # type: ignore[call-overload]
        elif kind == "number":
            value = int(what)  # type: ignore[call-overload]
            width = max(1, (value.bit_length() + 7) // 8)
            out[at : at + width] = value.to_bytes(width, "little")
        elif kind == "cut":
            del out[at : at + int(what)]  # type: ignore[call-overload]
        elif kind == "copy":
            source = int(float(what) * len(out))  # type: ignore[arg-type]
            out[at : at + 46] = out[source : source + 46]
        elif kind == "insert":
            out[at:at] = bytes(what)  # type: ignore[call-overload]
    return bytes(out)


def outcome(data: bytes) -> dict[str, bytes] | None:
    """Return what an accepted archive holds, None for a refused one; check the accepted one."""
    file = io.BytesIO(data)
    try:
        archive = scan(file, LIMITS)
        contents = {m.name: b"".join(read_member(file, m, LIMITS)) for m in archive.members}
    except ArchiveRefused:
        return None
    covered = sum(end - start for start, end in archive.skeleton())
    assert covered + sum(m.compressed_size for m in archive.members) == len(data)
    looks_complete(file)
    return contents


@settings(max_examples=EXAMPLES, deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), changes=mutations)
def test_a_mutated_archive_is_read_in_full_or_refused(
    name: str, changes: list[tuple[str, float, object]]
) -> None:
    contents = outcome(mutated(GOOD[name], changes))

    assert contents is None or all(isinstance(content, bytes) for content in contents.values())


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(data=st.binary(max_size=300), name=st.sampled_from(sorted(GOOD)), at=positions)
def test_any_bytes_are_refused_or_read(data: bytes, name: str, at: float) -> None:
    good = GOOD[name]
    outcome(b"PK\x03\x04" + data)
    outcome(good[: int(at * len(good))] + data)
    outcome(data + good)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), changes=mutations)
def test_what_is_accepted_means_the_same_to_another_reader(
    name: str, changes: list[tuple[str, float, object]]
) -> None:
    """The standard library either sees the same contents or refuses more than we do."""
    data = mutated(GOOD[name], changes)
    contents = outcome(data)
    if contents is None:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as other:
            seen = [other.read(entry) for entry in other.infolist()]
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        return

    assert sorted(seen) == sorted(contents.values())
