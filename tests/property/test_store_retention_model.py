"""Add, forget, pin, prune, crash, reopen against a plain model (T15).

The model keeps every export as bytes, and computes by itself, from the conversations in them, what
has to be readable: each export that is listed, the newest state of every conversation with what it
shows, and every state of one that the newest export lacked when snapshots were forgotten.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backupd.errors import BackupdError
from backupd.export.slices import Slice, split_json
from backupd.store.retention import Policy
from tests.support.models import run_model
from tests.support.operations import KINDS, PLAIN, RepositoryKind, forget_struck, name_of
from tests.support.retention import NOW, export, noise, put, spoken
from tests.support.storing import KILLED, Fault, FaultyFs, in_child

FAULTS = st.sampled_from(["EIO", "ENOSPC", "EACCES"])
POLICIES = st.builds(Policy, last=st.integers(1, 3), monthly=st.integers(0, 2))


def invented(seed: int, week: int) -> tuple[bytes, dict[str, bytes]]:
    """Make an export; return it and the assets that its conversations show."""
    dice = random.Random(seed)
    talks, shown, members = [], {}, {f"file-Orphan{seed}-o.png": noise(seed, 900)}
    for number in dice.sample(range(9), dice.randrange(2, 7)):
        turns = [f"{number}/{turn}" for turn in range(dice.randrange(1, 5))]
        asset = f"file-Pic{number}" if number % 3 == 0 else None
        talks.append(spoken(f"c-{number}", *turns, shows=[asset] if asset else ()))
        if asset:
            shown[f"c-{number}"] = members[f"{asset}-p.png"] = noise(number, 700)
    return export(talks, members, week=week), shown


def slices(data: bytes) -> dict[str, bytes]:
    """Return the conversations of an export as they stand in it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pieces = split_json([archive.read("conversations.json")])
        return {json.loads(p.data)["id"]: p.data for p in pieces if isinstance(p, Slice)}


class RetentionMachine(RuleBasedStateMachine):
    """`history` is every export ever stored, by week; `listed` those that are snapshots."""

    kind = PLAIN

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.repository = self.kind.create(self.place / "r", None)
        self.history: dict[int, bytes] = {}
        self.shown: dict[int, dict[str, bytes]] = {}
        self.listed: set[int] = set()
        self.pinned: set[int] = set()
        self.protected: set[bytes] = set()

    def contents(self) -> set[int]:
        weeks = {data: week for week, data in self.history.items()}
        return {weeks[b"".join(self.repository.rebuild(s))] for s in self.repository.snapshots()}

    @rule(seed=st.integers(0, 40))
    def add(self, seed: int) -> None:
        week = max(self.history, default=0) + 1
        self.history[week], self.shown[week] = invented(seed, week)
        put(self.repository, self.place, self.history[week], week)
        self.listed.add(week)

    @precondition(lambda self: self.listed)
    @rule(data=st.data())
    def pin_or_unpin(self, data: st.DataObject) -> None:
        week = data.draw(st.sampled_from(sorted(self.listed)))
        snapshot = self.repository.snapshots()[sorted(self.listed).index(week)]
        if week in self.pinned:
            assert self.repository.keeping.unpin(snapshot)
        else:
            assert self.repository.keeping.pin(snapshot, NOW)
        self.pinned ^= {week}

    @rule(policy=POLICIES)
    def forget(self, policy: Policy) -> None:
        plan = self.repository.keeping.plan_forget(policy, NOW)
        self.repository.keeping.forget(plan)

        left = self.contents()
        assert len(self.listed) - len(left) == len(plan.forgotten)
        newest = sorted(self.listed)[-policy.last :]
        assert set(newest) | self.pinned <= left <= self.listed
        self.has_forgotten(left)

    @rule(policy=POLICIES, at=st.integers(0, 40), how=st.sampled_from(["before", "half", "after"]))
    def crash(self, policy: Policy, at: int, how: str) -> None:
        """Forget and prune in a process that is killed on the way."""
        code = in_child(forget_struck, self.kind.name, self.place / "r", policy, Fault(at, how))

        assert code in (0, KILLED)
        self.has_forgotten_by(policy)

    @rule()
    def rebuild(self) -> None:
        self.repository.rebuild_index()

    @rule()
    def prune(self) -> None:
        self.repository.keeping.prune()

    @rule(policy=POLICIES, at=st.integers(0, 30), how=FAULTS, for_ever=st.booleans())
    def fail(self, policy: Policy, at: int, how: str, for_ever: bool) -> None:
        """Forget and prune under a fault, as far as they come."""
        files = FaultyFs(Fault(at, how, for_ever))
        with self.kind.open(self.place / "r", False, files) as failing:
            try:
                failing.keeping.forget(failing.keeping.plan_forget(policy, NOW))
                failing.keeping.prune()
            except BackupdError:
                pass
        self.has_forgotten_by(policy)

    def has_forgotten_by(self, policy: Policy) -> None:
        """Note what is left where forgetting may have been broken off."""
        left = self.contents()
        assert set(sorted(self.listed)[-policy.last :]) | self.pinned <= left <= self.listed
        self.has_forgotten(left)

    @rule()
    def reopen_without_cache(self) -> None:
        self.repository.close()
        for path in (self.place / "r/cache").iterdir():
            path.unlink()
        self.repository = self.kind.open(self.place / "r", False, None)
        with self.repository.lock():
            assert not list(self.repository.incoming.iterdir())

    @rule()
    def check(self) -> None:
        assert self.repository.check(read_data=True, drill=True).problems == ()

    @invariant()
    def gives_back_what_is_listed(self) -> None:
        assert self.contents() == self.listed

    @invariant()
    def keeps_what_must_never_be_lost(self) -> None:
        """Of what was ever forgotten, too: pruning may come at any time."""
        wanted = self.must_stay()
        name = self.repository._snapshots.envelope.object_id
        found = dict(self.repository.read_many(name(data) for data in wanted))
        assert set(found.values()) == wanted

    def must_stay(self) -> set[bytes]:
        """Return the newest state of every conversation, what it shows, and what was protected."""
        states = {week: slices(data) for week, data in self.history.items()}
        wanted = set(self.protected)
        for name in {name for mine in states.values() for name in mine}:
            last = max(week for week, mine in states.items() if name in mine)
            wanted.add(states[last][name])
            if name in self.shown[last]:
                wanted.add(self.shown[last][name])
        return wanted

    def has_forgotten(self, left: set[int]) -> None:
        """Note what the snapshots that went had of conversations which were gone then.

        Those that stayed are judged when they go: a conversation may have come back by then.
        """
        if left != self.listed:
            newest = slices(self.history[max(self.listed)])
            for week in self.listed - left:
                states = slices(self.history[week]).items()
                self.protected |= {data for name, data in states if name not in newest}
        self.listed = left

    def teardown(self) -> None:
        self.repository.close()
        shutil.rmtree(self.place)


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_retention_behaves_like_the_model(kind: RepositoryKind) -> None:
    run_model("retention", RetentionMachine, kind)
