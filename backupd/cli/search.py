"""`backupd search`: full text over every conversation, and over what was edited away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso, now
from backupd.cli.output import when
from backupd.cli.reading import harmless, one_line, page
from backupd.errors import UsageError

if TYPE_CHECKING:
    from backupd.catalog import Hit, Hits

_ROLES = ("user", "assistant", "tool", "system")


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--role", type=click.Choice(_ROLES), help="Only what this one said.")
@click.option("--since", metavar="DATE", help="Only what was said on this day or later.")
@click.option("--until", metavar="DATE", help="Only what was said on this day or earlier.")
@click.option("--model", help="Only answers of models whose name has this in it.")
@click.option("--title", help="Only conversations whose title has this in it.")
@click.option("--has-asset", is_flag=True, help="Only turns with a picture or file.")
@click.option("--gone", is_flag=True, help="Only conversations that are gone upstream.")
@click.option("--all-versions", is_flag=True, help="Also what was edited away or deleted.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(
    context: Context,
    query: tuple[str, ...],
    role: str | None,
    since: str | None,
    until: str | None,
    model: str | None,
    title: str | None,
    has_asset: bool,
    gone: bool,
    all_versions: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Find QUERY in the newest version of every conversation, those that are gone included.

    Words must all be there; "a phrase", begin*, OR, NOT or -without, and brackets work as expected.
    """
    from backupd.catalog import Wanted

    wanted = Wanted(
        query=" ".join(query),
        role=role,
        since=_day("since", since),
        until=_day("until", until, after=True),
        model=model,
        title=title,
        has_asset=has_asset,
        gone=gone,
        every_version=all_versions,
        limit=limit,
    )
    with context.repository() as repository, context.catalog(repository) as catalog:
        found = catalog.search(wanted, now())
    if as_json:
        emit_json({"hits": [_json(hit) for hit in found.hits], "more": found.more})
        return
    if found.hits:
        page("\n\n".join(_text(hit) for hit in found.hits))
    context.say(_summary(found, wanted.every_version, limit))


def _day(name: str, text: str | None, *, after: bool = False) -> datetime | None:
    """Return the beginning of a day, or of the day after, in the machine's time zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        whole = timedelta(days=1 if after and len(text) <= len("2026-03-01") else 0)
        return (moment + whole).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(
            f'search --{name}: "{harmless(text)}" is no date', "write it like 2026-03-01"
        ) from None


def _text(hit: Hit) -> str:
    title = one_line(hit.title or "(no title)")
    about = [hit.conversation_id]
    if hit.role:
        about += [hit.role, when(hit.created)]
    if hit.gone:
        about.append("gone upstream")
    if not hit.current:
        about.append(f"only in older versions, last in snapshot {hit.last_snapshot[:12]}"
                     f" of {when(hit.last_seen)}")  # fmt: skip
    lines = [click.style(title, bold=True), click.style(" · ".join(about), dim=True)]
    if hit.role:
        lines.append(f"  {_marked(hit)}")
    return "\n".join(lines)


def _marked(hit: Hit) -> str:
    """Return the snippet with its matches in colour."""
    parts, at = [], 0
    for begin, end in hit.marks:
        parts.append(harmless(hit.snippet[at:begin]))
        parts.append(click.style(harmless(hit.snippet[begin:end]), fg="yellow", bold=True))
        at = end
    return "".join([*parts, harmless(hit.snippet[at:])])


def _summary(found: Hits, every_version: bool, limit: int) -> str:
    if not found.hits and every_version:
        return "nothing found"
    if not found.hits:
        return "nothing found; next: `--all-versions` also looks at what was edited away"
    if found.more:
        return f"the {limit} best hits; next: --limit shows more, filters leave fewer"
    return "next: `backupd show ID` shows a conversation"


def _json(hit: Hit) -> dict[str, object]:
    return {
        "conversation_id": hit.conversation_id,
        "account": hit.account,
        "title": hit.title,
        "message_id": hit.message_id,
        "role": hit.role,
        "model": hit.model,
        "created_at": iso(hit.created),
        "snippet": hit.snippet,
        "marks": [list(mark) for mark in hit.marks],
        "first_snapshot": hit.first_snapshot,
        "last_snapshot": hit.last_snapshot,
        "last_seen": iso(hit.last_seen),
        "current": hit.current,
        "gone": hit.gone,
    }
