"""`backupd stats`: what the repository holds and what it saves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import share, table
from backupd.notice import amount

if TYPE_CHECKING:
    from datetime import datetime

    from backupd.store.repository import Snapshot, Stats

MOST = 30
"""So many snapshots are shown one by one; of more, the years and the newest ones."""
_NEWEST = 10
_MUCH = 20  # proofs, pins and header are far less than such a part
_WHAT = {
    "conversation": "versions of conversations",
    "html": "chat.html, if underivable",
    "member": "other members of the ZIPs",
    "asset": "pictures and files",
    "stream": "members kept compressed",
    "whole": "ZIPs kept whole",
    "recipe": "how each ZIP is put together",
}
_NUMBERS = ("OBJECTS", "CONTENT", "STORED", "SHARE", "SNAPSHOTS", "ZIP", "ADDED")


@click.command("stats")
@click.option("--all", "every", is_flag=True, help="Show each snapshot, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, every: bool, as_json: bool) -> None:
    """Show what was received, what it takes, and what each snapshot added."""
    with context.repository() as repository, context.catalog(repository) as catalog:
        stats = repository.stats()
        snapshots = repository.snapshots()
        known = catalog.conversations()
    conversations, versions = len(known), sum(row.versions for row in known)
    if as_json:
        emit_json(_json(stats, snapshots, conversations, versions))
        return
    click.echo(f"snapshots       {stats.snapshots:,}")
    click.echo(f"conversations   {conversations:,} in {versions:,} versions")
    click.echo(f"ZIPs received   {amount(stats.raw_bytes)}")
    click.echo(
        f"stored          {amount(stats.stored_bytes)} in {stats.objects:,} objects,"
        f" {share(stats.stored_bytes, stats.raw_bytes)} of the ZIPs"
    )
    click.echo(f"dedup ratio     {stats.ratio:.1f}")
    if stats.kinds:
        click.echo("\n" + kinds(stats))
    if snapshots:
        click.echo("\n" + growth(snapshots, every=every))
        rest = stats.stored_bytes - sum(one.stored_bytes for one in snapshots)
        if rest > stats.stored_bytes / _MUCH:
            click.echo(f"\nadded by snapshots that are forgotten now: {amount(rest)}")
    click.echo(f"\nderived files, may be deleted: {amount(stats.cache_bytes)}")
    if stats.quarantine_bytes:
        click.echo(f"in quarantine: {amount(stats.quarantine_bytes)}")
    if not snapshots:
        context.say("no snapshots yet; next: `backupd import FILE…`, or run the daemon")
    elif len(snapshots) > MOST and not every:
        context.say(f"next: `backupd stats --all` shows each of the {len(snapshots):,} snapshots")


def kinds(stats: Stats) -> str:
    """Lay out what each kind of object takes, and what else there is."""
    rows = [
        (
            kind.kind,
            f"{kind.objects:,}",
            amount(kind.raw_bytes),
            amount(kind.stored_bytes),
            share(kind.stored_bytes, stats.stored_bytes),
            _WHAT.get(kind.kind, ""),
        )
        for kind in sorted(stats.kinds, key=lambda kind: -kind.stored_bytes)
    ]
    rest = stats.stored_bytes - sum(kind.stored_bytes for kind in stats.kinds)
    own = share(rest, stats.stored_bytes)
    rows.append(("(records)", "", "", amount(rest), own, "manifests, proofs, headers"))
    return table(("KIND", "OBJECTS", "CONTENT", "STORED", "SHARE", ""), rows, _NUMBERS)


def growth(snapshots: Sequence[Snapshot], *, every: bool) -> str:
    """Lay out what the snapshots added: each of them, or the years and the newest ones."""
    if every or len(snapshots) <= MOST:
        return _each(snapshots)
    return f"{_years(snapshots)}\n\n{_each(snapshots[-_NEWEST:], whole=False)}"


def _each(snapshots: Sequence[Snapshot], *, whole: bool = True) -> str:
    rows = [(one.id[:12], f"{_at(one):%Y-%m-%d}", *_sums([one])) for one in snapshots]
    if whole and len(rows) > 1:
        rows.append(("all", "", *_sums(snapshots)))
    return table(("SNAPSHOT", "DATE", "ZIP", "ADDED", "SHARE"), rows, _NUMBERS)


def _years(snapshots: Sequence[Snapshot]) -> str:
    rows = []
    for year, found in groupby(snapshots, key=lambda one: _at(one).year):
        those = list(found)
        rows.append((str(year), f"{len(those):,}", *_sums(those)))
    rows.append(("all", f"{len(snapshots):,}", *_sums(snapshots)))
    return table(("YEAR", "SNAPSHOTS", "ZIP", "ADDED", "SHARE"), rows, _NUMBERS)


def _sums(snapshots: Sequence[Snapshot]) -> tuple[str, str, str]:
    size = sum(one.size for one in snapshots)
    added = sum(one.stored_bytes for one in snapshots)
    return amount(size), amount(added), share(added, size)


def _at(snapshot: Snapshot) -> datetime:
    """Return a snapshot's time in the machine's time zone: of its export, else its arrival."""
    return (snapshot.exported_at or snapshot.received_at).astimezone()


def _json(
    stats: Stats, snapshots: Sequence[Snapshot], conversations: int, versions: int
) -> dict[str, object]:
    return {
        "raw_bytes": stats.raw_bytes,
        "stored_bytes": stats.stored_bytes,
        "snapshots": stats.snapshots,
        "conversations": conversations,
        "versions": versions,
        "objects": stats.objects,
        "dedup_ratio": round(stats.ratio, 3),
        "kinds": {
            kind.kind: {
                "objects": kind.objects,
                "raw_bytes": kind.raw_bytes,
                "stored_bytes": kind.stored_bytes,
            }
            for kind in stats.kinds
        },
        "added": [
            {
                "id": one.id,
                "account": one.account,
                "at": iso(one.exported_at or one.received_at),
                "size": one.size,
                "added_bytes": one.stored_bytes,
            }
            for one in snapshots
        ],
        "derived_bytes": stats.cache_bytes,
        "quarantine_bytes": stats.quarantine_bytes,
    }
