"""`backupd snapshots`: what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import table, when
from backupd.notice import amount

if TYPE_CHECKING:
    from backupd.export.versions import Counts
    from backupd.store.repository import Snapshot

_COUNTS = ("total", "new", "changed", "metadata_changed", "unchanged", "gone")


@click.command("snapshots")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """List the snapshots, oldest export first."""
    with context.repository() as repository, context.catalog(repository) as catalog:
        rows = [(snapshot, catalog.counts(snapshot.id)) for snapshot in repository.snapshots()]
    if as_json:
        emit_json([_json(*row) for row in rows])
    elif rows:
        click.echo(table(_HEADERS, [_line(*row) for row in rows]))
    else:
        context.say("no snapshots yet; next: `backupd import FILE…`, or run the daemon")


_HEADERS = (
    "ID", "ACCOUNT", "EXPORTED", "RECEIVED", "SIZE", "ADDED",
    "TOTAL", "NEW", "CHANGED", "GONE", "COMPLETE", "PROVEN",
)  # fmt: skip


def _line(snapshot: Snapshot, counts: Counts | None) -> tuple[str, ...]:
    numbers: tuple[str, ...] = ("?",) * 4
    if counts is not None:
        numbers = tuple(map(str, (counts.total, counts.new, counts.changed, counts.gone)))
    return (
        snapshot.id[:12],
        (snapshot.account or "unknown")[:12],
        when(snapshot.exported_at),
        when(snapshot.received_at),
        amount(snapshot.size),
        amount(snapshot.stored_bytes),
        *numbers,
        {True: "yes", False: "NO", None: "unknown"}[snapshot.complete],
        "yes" if snapshot.proven_at else "not yet",
    )


def _json(snapshot: Snapshot, counts: Counts | None) -> dict[str, object]:
    return {
        "id": snapshot.id,
        "account": snapshot.account,
        "exported_at": iso(snapshot.exported_at),
        "received_at": iso(snapshot.received_at),
        "sha256": snapshot.sha256,
        "size": snapshot.size,
        "stored_bytes": snapshot.stored_bytes,
        "complete": snapshot.complete,
        "proven_at": iso(snapshot.proven_at),
        "era": snapshot.era,
        "file_name": snapshot.origin.file_name,
        "conversations": None
        if counts is None
        else {name: getattr(counts, name) for name in _COUNTS},
    }
