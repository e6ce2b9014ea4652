"""`backupd pin`: let no policy forget a snapshot."""

from __future__ import annotations

import click

from backupd.cli.context import Context, now


@click.command("pin")
@click.argument("snapshot")
@click.pass_obj
def command(context: Context, snapshot: str) -> None:
    """Keep SNAPSHOT (id, unique prefix, `latest`, or a date) whatever `forget` is told."""
    with context.repository() as repository:
        found = repository.find(snapshot)
        fresh = repository.keeping.pin(found, now())
    context.say(f"snapshot {found.id[:12]} {'is pinned' if fresh else 'was pinned already'}")
