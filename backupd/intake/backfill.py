"""Many files by hand: one is stored while the one before it is being proven.

Storing waits for the disk and for one processor, proving deflates on all of them; together they
leave none idle. At most one snapshot is unproven when this is interrupted; importing the same files
again proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from backupd.errors import BackupdError, RepositoryLocked, StorageFull
from backupd.intake.storing import Begun, Keeper, Quarantined, Stored
from backupd.store.repository import Origin

FileProgress = Callable[[Path, str, int, int], None]
Outcome = Stored | Quarantined | BackupdError
Result = tuple[Path, Outcome]


def store_all(
    keeper: Keeper,
    files: Iterable[Path],
    origin_of: Callable[[Path], Origin],
    progress: FileProgress | None = None,
) -> Iterator[Result]:
    """Store files in the order given and yield each with what became of it.

    A file that fails by itself does not keep the others out. `progress` is told (file, stage,
    done, total) from two threads.

    Raises:
        RepositoryLocked, StorageFull: nothing more can be stored; what was stored was yielded.
    """
    with ThreadPoolExecutor(1, "backupd-prover") as prover:
        before: tuple[Path, Future[Begun]] | None = None
        for file in files:
            told = partial(progress, file) if progress else None
            try:
                begun = keeper.begin(file, origin_of(file), told)
            except BackupdError as error:
                yield from _ended(keeper, before)
                before = None
                yield file, _by_itself(error)
                continue
            yield from _ended(keeper, before)
            before = None
            if isinstance(begun, Quarantined):
                yield file, begun
            else:
                before = file, prover.submit(keeper.prove, begun, told)
        yield from _ended(keeper, before)


def _ended(keeper: Keeper, before: tuple[Path, Future[Begun]] | None) -> Iterator[Result]:
    """Wait for the proof of the file before, and end it."""
    if before is None:
        return
    file, proof = before
    try:
        yield file, keeper.end(proof.result())
    except BackupdError as error:
        yield file, _by_itself(error)


def _by_itself(error: BackupdError) -> BackupdError:
    """Return an error that concerns one file only; raise one that concerns all."""
    if isinstance(error, RepositoryLocked | StorageFull):
        raise error
    return error
