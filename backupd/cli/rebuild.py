"""`backupd rebuild`: catalog and object index, made anew from the packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json
from backupd.cli.output import fail
from backupd.cli.progress import progress_bar
from backupd.errors import ExitCode
from backupd.notice import amount, count

if TYPE_CHECKING:
    from collections.abc import Callable

    from backupd.catalog import Synced
    from backupd.intake.storing import Progress
    from backupd.store.repository import Reindexed, Repository


@click.command("rebuild")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Make the catalog and the object index anew from the packs.

    Both are derived: whatever happened to them, deleting and damage included, this gives them back
    with the same answers. Packs and snapshots are only read.
    """
    with (
        context.repository() as repository,
        repository.lock("rebuild"),
        progress_bar(context.quiet) as progress,
    ):
        index = repository.rebuild_index(progress)
        catalog = _fill(repository, progress)
        kept = repository.derived is not None
    if as_json:
        emit_json(_json(index, catalog, kept))
    else:
        _tell(context, index, catalog, kept)
    return ExitCode.DAMAGED if index.unreadable or catalog.damaged else ExitCode.OK


def _fill(repository: Repository, progress: Progress | None) -> Synced:
    from backupd.catalog import Catalog

    catalog = Catalog.open(repository.catalog)
    try:
        catalog.reset()
        return catalog.sync(repository, progress and _reading(repository, progress))
    finally:
        catalog.close()


def _reading(repository: Repository, progress: Progress) -> Callable[[int, int], None]:
    """Turn what the catalog reads of each snapshot into a part of all conversations."""
    total = sum(k.raw_bytes for k in repository.stats().kinds if k.kind == "conversation")
    before = last = 0

    def show(_slices: int, size: int) -> None:
        nonlocal before, last
        if size < last:  # the next snapshot has begun
            before += last
        last = size
        progress("catalog", before + size, total)

    return show


def _tell(context: Context, index: Reindexed, catalog: Synced, kept: bool) -> None:
    context.say(f"index: {count(index.objects, 'object')} in {count(index.packs, 'pack')}")
    context.say(
        f"catalog: {count(catalog.snapshots, 'snapshot')},"
        f" {amount(catalog.size)} of conversations read"
    )
    if not kept:
        context.say("nothing was written: here both live in the memory of each process")
    for name in index.unreadable:
        fail(f"pack {name[:12]} cannot be read; what it holds is missing from the index")
    for name in catalog.damaged:
        fail(f"snapshot {name[:12]} is left out of the catalog: conversations of it are damaged")
    if index.unreadable or catalog.damaged:
        context.say("next: `backupd check --read-data` names what is damaged, and who needs it")


def _json(index: Reindexed, catalog: Synced, kept: bool) -> dict[str, object]:
    return {
        "packs": index.packs,
        "objects": index.objects,
        "unreadable_packs": list(index.unreadable),
        "snapshots": catalog.snapshots,
        "conversation_bytes_read": catalog.size,
        "snapshots_left_out": list(catalog.damaged),
        "kept_on_disk": kept,
    }
