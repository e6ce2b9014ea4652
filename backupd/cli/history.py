"""`backupd history`: the versions of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import table, when
from backupd.cli.reading import one_line, page
from backupd.cli.selecting import Archive
from backupd.notice import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backupd.catalog import ConversationRow, VersionRow

    Times = Mapping[str, datetime]


@click.command("history")
@click.argument("conversation")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, conversation: str, as_json: bool) -> None:
    """Show the versions of CONVERSATION (id or unique beginning), the oldest first."""
    with context.repository() as repository, context.catalog(repository) as catalog:
        archive = Archive(repository, catalog)
        row = archive.find(conversation)
        versions = archive.versions(row)
        times = {one.id: one.exported_at or one.received_at for one in repository.snapshots()}
    if as_json:
        emit_json(_json(row, versions, times))
        return
    page(_text(row, versions, times))
    context.say(f"next: `backupd show {row.id} --version N`, `backupd diff {row.id} N M`")


def _text(row: ConversationRow, versions: Sequence[VersionRow], times: Times) -> str:
    rows = [
        (
            f"{item.number}{' *' if item.head else ''}",
            _at(times, item.first_snapshot),
            _at(times, item.last_snapshot),
            f"{item.turns:,}",
            what(item),
        )
        for item in versions
    ]
    lines = [click.style(one_line(row.title or "(no title)"), bold=True), row.id]
    lines += ["", table(("VERSION", "FIRST", "LAST", "TURNS", "CHANGE"), rows, ("TURNS",))]
    if row.presence.name == "GONE":
        since = _at(times, row.gone_since) if row.gone_since else "a snapshot that is forgotten"
        lines += ["", f"gone upstream since {since}; what is stored stays"]
    return "\n".join(lines)


def what(item: VersionRow) -> str:
    """Say in a few words how a version differs from the one before it."""
    if item.change.value == "new":
        return "new"
    words = (("added", item.added), ("edited", item.altered), ("removed", item.lost),
             ("moved", item.moved))  # fmt: skip
    parts = [f"{count(number, 'turn')} {word}" for word, number in words if number]
    return ", ".join(parts) or item.change.value


def _at(times: Times, snapshot: str) -> str:
    """Return the time of a snapshot; the beginning of its id where it is forgotten."""
    return when(times[snapshot]) if snapshot in times else snapshot[:12]


def _json(row: ConversationRow, versions: Sequence[VersionRow], times: Times) -> dict[str, object]:
    return {
        "conversation_id": row.id,
        "account": row.account,
        "title": row.title,
        "gone_since": iso(times.get(row.gone_since)) if row.gone_since else None,
        "gone_since_snapshot": row.gone_since,
        "gone": row.presence.name == "GONE",
        "versions": [
            {
                "number": item.number,
                "first_snapshot": item.first_snapshot,
                "last_snapshot": item.last_snapshot,
                "first_at": iso(times.get(item.first_snapshot)),
                "last_at": iso(times.get(item.last_snapshot)),
                "turns": item.turns,
                "change": item.change.value,
                "added": item.added,
                "edited": item.altered,
                "removed": item.lost,
                "moved": item.moved,
                "head": item.head,
            }
            for item in versions
        ],
    }
