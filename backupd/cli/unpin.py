"""`backupd unpin`: let policies forget a snapshot again."""

from __future__ import annotations

import click

from backupd.cli.context import Context


@click.command("unpin")
@click.argument("snapshot")
@click.pass_obj
def command(context: Context, snapshot: str) -> None:
    """Take the pin of SNAPSHOT (id, unique prefix, `latest`, or a date) away."""
    with context.repository() as repository:
        found = repository.find(snapshot)
        was = repository.keeping.unpin(found)
    outcome = "is no longer pinned" if was else "was not pinned, nothing to do"
    context.say(f"snapshot {found.id[:12]} {outcome}")
