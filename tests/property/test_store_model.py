"""A repository against a plain model: add, repeat, crash, reopen, rebuild, check, restore (T15)."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backupd.errors import BackupdError
from backupd.store.repository import Repository
from tests.support.storing import Fault, FaultyFs, conversation, export_bytes, origin

FULL = os.environ.get("BACKUPD_FULL") == "1"


class StoreMachine(RuleBasedStateMachine):
    """The model is the set of exports whose addition returned."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.repository = Repository.create(self.place / "r")
        self.stored: set[bytes] = set()

    def source(self, seed: int) -> tuple[Path, bytes]:
        dice = random.Random(seed)
        talks = [conversation(n, turns=dice.randrange(1, 6)) for n in dice.sample(range(12), 4)]
        assets = {
            f"file-{n}.png": random.Random(n).randbytes(500) for n in dice.sample(range(9), 2)
        }
        data = export_bytes(talks, assets, day=1 + seed)
        path = self.place / "source.zip"
        path.write_bytes(data)
        return path, data

    @rule(seed=st.integers(0, 12))
    def add(self, seed: int) -> None:
        path, data = self.source(seed)

        added = self.repository.add(path, origin())

        assert added.already_stored == (data in self.stored)
        self.stored.add(data)

    @rule(
        seed=st.integers(0, 12),
        at=st.integers(0, 45),
        how=st.sampled_from(["EIO", "ENOSPC", "EACCES"]),
        for_ever=st.booleans(),
    )
    def fail_to_add(self, seed: int, at: int, how: str, for_ever: bool) -> None:
        """An addition under a fault; whole or absent, as the listing says."""
        path, data = self.source(seed)
        files = FaultyFs(Fault(at, how, for_ever))
        with Repository.open(self.place / "r", files=files) as failing:
            try:
                failing.add(path, origin())
            except BackupdError:
                given = {b"".join(failing.rebuild(s)) for s in failing.snapshots()}
                self.stored |= given & {data}
            else:
                self.stored.add(data)

    @rule()
    def reopen(self) -> None:
        self.repository.close()
        self.repository = Repository.open(self.place / "r", write=True)
        assert not list(self.repository.incoming.iterdir())
        self.repository.close()
        self.repository = Repository.open(self.place / "r")

    @rule()
    def lose_the_cache(self) -> None:
        self.repository.close()
        for path in (self.place / "r/cache").iterdir():
            path.unlink()
        self.repository = Repository.open(self.place / "r")

    @rule()
    def rebuild(self) -> None:
        self.repository.rebuild_index()

    @rule()
    def check(self) -> None:
        assert self.repository.check(read_data=True).problems == ()

    @invariant()
    def gives_back_what_was_stored(self) -> None:
        contents = [b"".join(self.repository.rebuild(s)) for s in self.repository.snapshots()]
        assert len(contents) == len(set(contents))
        assert set(contents) == self.stored

    def teardown(self) -> None:
        self.repository.close()
        shutil.rmtree(self.place)


StoreMachine.TestCase.settings = settings(
    max_examples=150 if FULL else 8,
    stateful_step_count=30 if FULL else 12,
    deadline=None,
)
TestStore = StoreMachine.TestCase
