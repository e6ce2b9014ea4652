"""`backupd show`: read one conversation, any version, any branch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import when
from backupd.cli.reading import harmless, one_line, page
from backupd.cli.selecting import Archive
from backupd.errors import UsageError

if TYPE_CHECKING:
    from backupd.catalog import ConversationRow
    from backupd.export.branches import Tree
    from backupd.export.conversations import Conversation, Turn

_NAMES = {"user": "You", "assistant": "ChatGPT"}


@click.command("show")
@click.argument("conversation")
@click.option("--version", type=click.IntRange(1), help="A version, as `history` numbers them.")
@click.option("--at", "snapshot", metavar="SNAPSHOT", help="As it was in this snapshot.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
)
@click.option("--branch", type=click.IntRange(1), help="A branch, as the head line numbers them.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.pass_obj
def command(
    context: Context,
    conversation: str,
    version: int | None,
    snapshot: str | None,
    form: str,
    branch: int | None,
    as_json: bool,
) -> None:
    """Show CONVERSATION (id or unique beginning): its newest version, on the branch left open.

    A version that merely lacks what an older one has is not the newest that is shown.
    """
    from backupd.export.branches import grow

    if version is not None and snapshot is not None:
        raise UsageError("show: --version and --at say two things", "give one of them")
    with context.repository() as repository, context.catalog(repository) as catalog:
        archive = Archive(repository, catalog)
        row = archive.find(conversation)
        slice_id = archive.at(row, snapshot) if snapshot else archive.version(row, version).slice_id
        found = archive.read(slice_id)
    tree = grow(found)
    number = _branch(tree, branch)
    if as_json or form == "json":
        emit_json(_json(row, found, tree, number))
    elif form == "markdown":
        _put_markdown(found, tree, number)
    else:
        page(text(row, found, tree, number))


def _put_markdown(found: Conversation, tree: Tree, number: int) -> None:
    """Write Markdown: exactly what was said, but harmless where a terminal would read it."""
    if sys.stdout.isatty():
        page(markdown(found, tree, number, harmless))
    else:
        sys.stdout.write(markdown(found, tree, number) + "\n")


def _branch(tree: Tree, wanted: int | None) -> int:
    if wanted is not None and wanted > len(tree.ends):
        raise UsageError(f"show: there is no branch {wanted}", f"choose from 1 to {len(tree.ends)}")
    return wanted or tree.current


def text(row: ConversationRow, found: Conversation, tree: Tree, number: int) -> str:
    """Lay a branch out for a terminal."""
    head = [click.style(one_line(found.title or "(no title)"), bold=True)]
    about = [row.id, f"begun {when(found.created)}", f"updated {when(found.updated)}"]
    if len(tree.ends) > 1:
        about.append(f"branch {number} of {len(tree.ends)}, see --branch")
    if row.presence.name == "GONE":
        about.append("gone upstream")
    parts = ["\n".join([*head, click.style(" · ".join(about), dim=True)])]
    for turn in tree.branch(number) if number else ():
        parts.append(
            f"{click.style(_voice(turn), bold=True)}\n{harmless(turn.text)}{_assets(turn)}"
        )
    return "\n\n".join(parts)


def markdown(
    found: Conversation, tree: Tree, number: int, clean: Callable[[str], str] = str
) -> str:
    """Write a branch as Markdown; the turns' own Markdown is left as it is."""
    parts = [f"# {clean(' '.join((found.title or '(no title)').split()))}"]
    for turn in tree.branch(number) if number else ():
        parts.append(f"## {clean(_voice(turn))}\n\n{clean(turn.text)}{_assets(turn)}")
    return "\n\n".join(parts)


def _voice(turn: Turn) -> str:
    parts = [_NAMES.get(turn.role, one_line(turn.role))]
    if turn.created:
        parts.append(when(turn.created))
    if turn.model:
        parts.append(one_line(turn.model))
    return " · ".join(parts)


def _assets(turn: Turn) -> str:
    return "".join(f"\n[file {one_line(name)}]" for name in dict.fromkeys(turn.assets))


def _json(row: ConversationRow, found: Conversation, tree: Tree, number: int) -> dict[str, object]:
    path = tree.branch(number) if number else ()
    return {
        "conversation_id": found.id,
        "account": row.account,
        "title": found.title,
        "created_at": iso(found.created),
        "updated_at": iso(found.updated),
        "gone": row.presence.name == "GONE",
        "metadata": dict(found.metadata),
        "branch": number,
        "branches": [{"number": at, "end": end} for at, end in enumerate(tree.ends, 1)],
        "path": [turn.id for turn in path],
        "turns": [turn_json(turn) for turn in found.turns],
    }


def turn_json(turn: Turn) -> dict[str, object]:
    """Return a turn for `--json`."""
    return {
        "message_id": turn.id,
        "parent": turn.parent,
        "role": turn.role,
        "content_type": turn.content_type,
        "kept": turn.kept,
        "created_at": iso(turn.created),
        "model": turn.model,
        "text": turn.text,
        "assets": list(turn.assets),
    }
