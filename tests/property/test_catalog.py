"""The catalog says what the pure rules say, whatever the exports and the order they arrive in."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.catalog import Catalog
from backupd.export.conversations import parse
from backupd.export.versions import Folded, Known, Presence, fingerprint, fold
from tests.support import FULL
from tests.support.conversations import root, talk, turn
from tests.support.snapshots import MemorySource

EXAMPLES = 1_000 if FULL else 60
SIZE = 8


@dataclass(frozen=True)
class Export:
    """Which turns, with or without hidden ones, each conversation has; None: it is not there."""

    states: tuple[tuple[frozenset[str], bool, str] | None, ...]
    complete: bool | None

    def slices(self) -> list[bytes]:
        """Write the conversations."""
        found = []
        for index, state in enumerate(self.states):
            if state is not None:
                names, rich, title = state
                hidden = [turn("s", "root", role="system")] if rich else []
                nodes = [turn(name, "s" if rich else "root") for name in sorted(names)]
                found.append(talk(root(), *hidden, *nodes, name=f"c-{index}", title=title))
        return found


STATES = st.tuples(
    st.frozensets(st.sampled_from("abc")), st.booleans(), st.sampled_from(["One", "Two"])
)
EXPORTS = st.builds(
    Export,
    st.tuples(*[st.none() | STATES] * SIZE),
    st.sampled_from([True, True, True, None, False]),
)


def by_the_rules(exports: list[Export]) -> list[Folded]:
    """Fold in memory."""
    known: dict[str, Known] = {}
    found = []
    for export in exports:
        conversations = [parse(data) for data in export.slices()]
        states = {item.id: fingerprint(item) for item in conversations}
        found.append(fold(known, states, export.complete))
        known = found[-1].series
    return found


@given(st.lists(EXPORTS, min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=EXAMPLES, deadline=None)
def test_catalog_equals_the_fold(exports: list[Export], random: object) -> None:
    """In order, one by one, all at once, and in any order of arrival."""
    rules = by_the_rules(exports)
    weeks = list(range(len(exports)))
    shuffled = weeks.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (weeks, shuffled):
        source, catalog = MemorySource(), Catalog.open(None)
        names = {}
        for week in order:
            export = exports[week]
            names[week] = source.add(export.slices(), week=week, complete=export.complete)
            catalog.sync(source)

        for week, folded in enumerate(rules):
            summary = catalog.summary(names[week])
            assert summary is not None
            assert summary.counts == folded.counts
            assert (summary.mass_drop, summary.missing) == (folded.mass_drop, folded.missing)
        rows = {row.id: row for row in catalog.conversations()}
        assert {name: row.presence for name, row in rows.items()} == {
            name: known.presence for name, known in rules[-1].series.items()
        }
        assert {name: row.turns for name, row in rows.items()} == {
            name: known.head.kept for name, known in rules[-1].series.items()
        }
        check_spans(catalog, exports, names)
        catalog.close()


def check_spans(catalog: Catalog, exports: list[Export], names: dict[int, str]) -> None:
    """Each conversation's versions span exactly from its first to its last export."""
    week_of = {name: week for week, name in names.items()}
    for row in catalog.conversations():
        index = int(row.id.removeprefix("c-"))
        there = [week for week, export in enumerate(exports) if export.states[index] is not None]
        versions = catalog.versions("someone", row.id)
        spans = [(week_of[item.first_snapshot], week_of[item.last_snapshot]) for item in versions]
        assert (week_of[row.first_snapshot], week_of[row.last_snapshot]) == (there[0], there[-1])
        assert (min(spans)[0], max(last for _, last in spans)) == (there[0], there[-1])
        assert all(first <= last for first, last in spans)
        assert len(versions) == row.versions
        assert sum(item.head for item in versions) == 1
        assert row.presence is Presence.PRESENT or there[-1] < len(exports) - 1
