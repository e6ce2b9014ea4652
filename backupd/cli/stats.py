"""`backupd stats`: what the repository holds and what it saves."""

from __future__ import annotations

import click

from backupd.cli.context import Context, emit_json
from backupd.cli.output import table
from backupd.notice import amount


@click.command("stats")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Show raw bytes, stored bytes, and where they are."""
    with context.repository() as repository, context.catalog(repository) as catalog:
        stats = repository.stats()
        known = catalog.conversations()
    conversations, versions = len(known), sum(row.versions for row in known)
    if as_json:
        emit_json(
            {
                "raw_bytes": stats.raw_bytes,
                "stored_bytes": stats.stored_bytes,
                "snapshots": stats.snapshots,
                "conversations": conversations,
                "versions": versions,
                "objects": stats.objects,
                "kinds": {kind.kind: kind.stored_bytes for kind in stats.kinds},
                "dedup_ratio": round(stats.ratio, 3),
            }
        )
        return
    click.echo(f"snapshots       {stats.snapshots}")
    click.echo(f"conversations   {conversations} in {versions} versions")
    click.echo(f"ZIPs received   {amount(stats.raw_bytes)}")
    click.echo(f"stored          {amount(stats.stored_bytes)} in {stats.objects} objects")
    click.echo(f"dedup ratio     {stats.ratio:.1f}")
    rows = [
        (kind.kind, str(kind.objects), amount(kind.raw_bytes), amount(kind.stored_bytes))
        for kind in stats.kinds
    ]
    click.echo("\n" + table(("KIND", "OBJECTS", "CONTENT", "STORED"), rows))
    click.echo(f"\nderived files, may be deleted: {amount(stats.cache_bytes)}")
    if stats.quarantine_bytes:
        click.echo(f"in quarantine: {amount(stats.quarantine_bytes)}")
