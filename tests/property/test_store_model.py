"""A repository against a plain model: add, repeat, crash, reopen, rebuild, check, restore (T15)."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backupd.errors import BackupdError, UsageError
from backupd.store.repository import Repository
from tests.support.models import run_model
from tests.support.operations import KINDS, RepositoryKind, add_struck, name_of
from tests.support.storing import (
    KILLED,
    Fault,
    FaultyFs,
    conversation,
    export_bytes,
    in_child,
    origin,
)


class StoreMachine(RuleBasedStateMachine):
    """The model is the set of exports whose addition returned."""

    kind = KINDS[0]

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.repository: Repository = self.kind.create(self.place / "r", None)
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
        with self.kind.open(self.place / "r", False, files) as failing:
            try:
                failing.add(path, origin())
            except BackupdError:
                given = {b"".join(failing.rebuild(s)) for s in failing.snapshots()}
                self.stored |= given & {data}
            else:
                self.stored.add(data)

    @rule(
        seed=st.integers(0, 12),
        at=st.integers(0, 45),
        how=st.sampled_from(["before", "half", "after"]),
    )
    def crash(self, seed: int, at: int, how: str) -> None:
        """An addition whose process is killed; whole or absent, as the listing says."""
        path, data = self.source(seed)

        code = in_child(add_struck, self.kind.name, self.place / "r", path, Fault(at, how))

        assert code in (0, KILLED)
        given = {b"".join(self.repository.rebuild(s)) for s in self.repository.snapshots()}
        assert code == KILLED or data in given
        self.stored |= given & {data}

    @rule(seed=st.integers(0, 12))
    def restore(self, seed: int) -> None:
        """A file comes back under its name only whole; nothing is overwritten."""
        target = self.place / "restored.zip"
        for snapshot in self.repository.snapshots()[seed : seed + 1]:
            self.repository.restore_zip(snapshot, target)
            assert target.read_bytes() in self.stored
            with pytest.raises(UsageError):
                self.repository.restore_zip(snapshot, target)
            target.unlink()

    @rule()
    def reopen(self) -> None:
        self.repository.close()
        self.repository = self.kind.open(self.place / "r", True, None)
        assert not list(self.repository.incoming.iterdir())
        self.repository.close()
        self.repository = self.kind.open(self.place / "r", False, None)

    @rule()
    def lose_the_cache(self) -> None:
        self.repository.close()
        for path in (self.place / "r/cache").iterdir():
            path.unlink()
        self.repository = self.kind.open(self.place / "r", False, None)

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


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_repository_behaves_like_the_model(kind: RepositoryKind) -> None:
    run_model("store", StoreMachine, kind)
