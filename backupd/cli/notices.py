"""`backupd notices`: the notice log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import when

if TYPE_CHECKING:
    from backupd.ledger.notices import LoggedNotice


@click.command("notices")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, limit: int, as_json: bool) -> None:
    """Show the newest notices, oldest of them first."""
    with context.ledger() as database:
        from backupd.ledger.notices import NoticeLog

        entries = NoticeLog(database).list(limit)
    if as_json:
        emit_json([_json(entry) for entry in entries])
        return
    for entry in entries:
        click.echo(_text(entry))
    if not entries:
        context.say("no notices yet")


def _text(entry: LoggedNotice) -> str:
    again = f" ({entry.repeats + 1} times, last {when(entry.last_at)})" if entry.repeats else ""
    head = f"{when(entry.time)}  {entry.severity.value.upper():7}  {entry.title}{again}"
    return head + "".join(f"\n    {line}" for line in entry.body.splitlines())


def _json(entry: LoggedNotice) -> dict[str, object]:
    return {
        "time": iso(entry.time),
        "severity": entry.severity.value,
        "event": entry.event,
        "title": entry.title,
        "body": entry.body,
        "delivery": entry.delivery,
        "snapshot": entry.snapshot,
        "repeats": entry.repeats,
        "last_at": iso(entry.last_at),
    }
