"""`backupd diff`: two snapshots, or two versions of a conversation."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json
from backupd.cli.output import when
from backupd.cli.reading import harmless, one_line, page
from backupd.cli.selecting import Archive
from backupd.cli.show import turn_json
from backupd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backupd.catalog import ConversationChange, ConversationRow
    from backupd.export.changes import TurnChanges
    from backupd.export.conversations import Turn

_KINDS = ("new", "changed", "metadata_changed", "gone")
_LINES = 12
_HOW = "write two snapshots, ID@N ID@M, or a conversation and two numbers: ID N M"


@click.command("diff")
@click.argument("what", nargs=-1, required=True, metavar="A B | CONVERSATION N M")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, what: tuple[str, ...], as_json: bool) -> None:
    """Say how B differs from A: two snapshots, or two versions of a conversation.

    Snapshots are named as everywhere; versions as ID@N ID@M, or as ID N M.
    """
    with context.repository() as repository, context.catalog(repository) as catalog:
        archive = Archive(repository, catalog)
        pair = _versions(what)
        if pair is None:
            _snapshots(archive, what, as_json)
            return
        selector, numbers = pair
        row = archive.find(selector)
        one, other = (archive.read(archive.version(row, n).slice_id) for n in numbers)
    from backupd.export.changes import changes

    found = changes(one, other)
    if as_json:
        emit_json(_turns_json(row, numbers, found))
    else:
        page(_turns_text(row, numbers, found))


def _versions(what: tuple[str, ...]) -> tuple[str, tuple[int, int]] | None:
    """Return a conversation and two numbers, None if two snapshots are meant."""
    if len(what) == 3 and what[1].isdecimal() and what[2].isdecimal():
        return what[0], (int(what[1]), int(what[2]))
    if len(what) != 2:
        raise UsageError("diff: that is neither two snapshots nor two versions", _HOW)
    if not any("@" in one for one in what):
        return None
    (a, _, n), (b, _, m) = (one.rpartition("@") for one in what)
    if not (n.isdecimal() and m.isdecimal() and a == b and a):
        raise UsageError("diff: two versions of one conversation are needed", _HOW)
    return a, (int(n), int(m))


def _snapshots(archive: Archive, what: tuple[str, ...], as_json: bool) -> None:
    one, other = (archive.repository.find(selector) for selector in what)
    found = archive.catalog.between(one.id, other.id)
    if as_json:
        kinds = {
            kind: [{"conversation_id": c.id, "title": c.title} for c in found if c.change == kind]
            for kind in _KINDS
        }
        emit_json({"from": one.id, "to": other.id, **kinds})
        return
    page(_snapshots_text(found) or "no difference in any conversation")


def _snapshots_text(found: tuple[ConversationChange, ...]) -> str:
    signs = {"new": "+", "changed": "~", "metadata_changed": "t", "gone": "-"}
    blocks = []
    for kind in _KINDS:
        those = [item for item in found if item.change == kind]
        if those:
            lines = [click.style(f"{kind.replace('_', ' ')}: {len(those)}", bold=True)]
            lines += [
                f"{signs[kind]} {item.id}  {one_line(item.title or '(no title)')}" for item in those
            ]
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _turns_text(row: ConversationRow, numbers: tuple[int, int], found: TurnChanges) -> str:
    head = click.style(one_line(row.title or "(no title)"), bold=True)
    parts = [f"{head}\n{row.id}: version {numbers[0]} to {numbers[1]}"]
    begins = {turn.id for turn in found.branches}
    for turn in found.removed:
        parts.append(_block("-", "removed", turn, "red"))
    for pair in found.edited:
        lines = list(_lines(pair.before.text, pair.after.text))
        parts.append("\n".join([f"~ edited: {_about(pair.after)}", *lines]))
    for turn in found.added:
        kind = "added, a new branch" if turn.id in begins else "added"
        parts.append(_block("+", kind, turn, "green"))
    parts += [f"> moved: {_about(turn)}" for turn in found.moved]
    if found.none:
        parts.append("every turn is the same")
    return "\n\n".join(parts)


def _block(sign: str, kind: str, turn: Turn, colour: str) -> str:
    lines = harmless(turn.text).splitlines()
    shown = [click.style(f"{sign} {line}", fg=colour) for line in lines[:_LINES]]
    if len(lines) > _LINES:
        shown.append(f"  … {len(lines) - _LINES} lines more")
    return "\n".join([f"{sign} {kind}: {_about(turn)}", *shown])


def _lines(before: str, after: str) -> Iterator[str]:
    colours = {"-": "red", "+": "green"}
    old, new = before.splitlines(), after.splitlines()
    for line in difflib.unified_diff(old, new, lineterm="", n=1):
        if not line.startswith(("---", "+++", "@@")):
            yield click.style(harmless(line), fg=colours.get(line[:1]))


def _about(turn: Turn) -> str:
    return f"{one_line(turn.role)}, {when(turn.created)}, {one_line(turn.id)}"


def _turns_json(
    row: ConversationRow, numbers: tuple[int, int], found: TurnChanges
) -> dict[str, object]:
    return {
        "conversation_id": row.id,
        "from": numbers[0],
        "to": numbers[1],
        "added": [turn_json(turn) for turn in found.added],
        "edited": [
            {"before": turn_json(pair.before), "after": turn_json(pair.after)}
            for pair in found.edited
        ],
        "removed": [turn_json(turn) for turn in found.removed],
        "moved": [turn_json(turn) for turn in found.moved],
        "branches": [turn.id for turn in found.branches],
    }
