"""What a disk may hold after a power cut at any step, worked out by a model (tests T2).

Real file systems keep more than they promise, so a missing fsync of a directory shows on none of
them at most points; here it does.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from backupd.errors import BackupdError
from tests.support.campaign import campaign
from tests.support.durability import Luck, Recorder, State, WithoutDirectorySync
from tests.support.operations import (
    KINDS,
    OPERATIONS,
    Operation,
    RepositoryKind,
    cases,
    examine,
    held,
    make_sources,
    make_template,
    name_of,
)
from tests.support.storing import FULL, copied, sample

SEED = 20261123
MIXED = 25 if FULL else 2
MOST = 4
CHANGING = tuple(operation for operation in OPERATIONS if operation.changes)


def recorded(
    kind: RepositoryKind, operation: Operation, place: Path, sources: Path, watch: type[Recorder]
) -> list[State]:
    """Do an operation and return the states it went through; in the last one it has returned."""
    files = watch(place)
    with kind.open(place, False, files) as repository:
        operation.act(repository, sources)
    return files.states


def lives(luck: Luck) -> range:
    return range(MIXED if luck is Luck.MIXED else 1)


@pytest.mark.parametrize(("kind", "operation"), cases(CHANGING), ids=name_of)
def test_whatever_the_disk_kept_nothing_is_lost(
    kind: RepositoryKind, operation: Operation, tmp_path: Path
) -> None:
    states = campaign(f"disk states after a cut: {operation.name}, {kind.name}", seed=SEED)
    sources = make_sources(tmp_path / "sources")
    template = make_template(kind, operation, tmp_path / "template", sources)
    place = copied(template, tmp_path / "recorded")
    history = recorded(kind, operation, place, sources, Recorder)

    for step in sample(len(history), kind.of(MOST)):
        for luck in Luck:
            for life in lives(luck):
                with states.case(f"{luck.value} {life}", step):
                    where = f"{luck.value} {life} after {step}: {history[step].step}"
                    survivor = tmp_path / "survivor"
                    history[step].write(survivor, luck, random.Random(f"{SEED} {step} {life}"))
                    if step == len(history) - 1:
                        assert_done(kind, operation, survivor, where)
                    examine(kind, operation, survivor, sources, where)
                    shutil.rmtree(survivor)


def assert_done(kind: RepositoryKind, operation: Operation, place: Path, where: str) -> None:
    with kind.open(place, True, None) as repository:
        assert set(held(repository)) == set(operation.after), where


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_missing_directory_fsync_is_caught(kind: RepositoryKind, tmp_path: Path) -> None:
    """The negative control: what is done is lost, or found torn."""
    operation = OPERATIONS[0]
    sources = make_sources(tmp_path / "sources")
    place = make_template(kind, operation, tmp_path / "r", sources)
    history = recorded(kind, operation, place, sources, WithoutDirectorySync)
    history[-1].write(tmp_path / "survivor", Luck.NONE, random.Random(SEED))

    control = campaign(f"directory fsync taken out: caught, {kind.name}")
    with control.case("at the end", "add"), pytest.raises((AssertionError, BackupdError)):
        assert_done(kind, operation, tmp_path / "survivor", "at the end")
