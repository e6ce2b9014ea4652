"""`backupd restore`: an export back, byte for byte, or its members."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from backupd.cli.context import Context
from backupd.cli.progress import progress_bar
from backupd.cli.streams import is_closed
from backupd.errors import UsageError
from backupd.notice import amount

_QUARANTINE = "quarantine/"


@click.command("restore")
@click.argument("snapshot")
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="A new file for the ZIP; - for stdout; a directory (or a name ending in /) for members.",
)
@click.pass_obj
def command(context: Context, snapshot: str, output: str) -> None:
    """Restore SNAPSHOT (id, unique prefix, `latest`, or a date), verified while it is written.

    `remainder` means what stays of forgotten snapshots, quarantine/NAME a file that broke a rule,
    as it was received. Nothing that exists is overwritten.
    """
    if snapshot.startswith(_QUARANTINE):
        _release(context, snapshot.removeprefix(_QUARANTINE), Path(output))
        return
    if output == "-":
        _pour(context, snapshot)
        return
    _check_parent(output)
    with context.repository() as repository, progress_bar(context.quiet) as progress:
        if snapshot == "remainder":
            count = repository.keeping.restore_remainders(Path(output))
            if count:
                context.say(f"{count} files of forgotten snapshots restored to {output}")
            else:
                context.say("there is no remainder: nothing that had to stay was forgotten")
            return
        found = repository.find(snapshot)
        target = Path(output)
        if target.is_dir() or output.endswith("/"):
            count = repository.restore_members(found, target, progress)
            context.say(f"{count} members of snapshot {found.id[:12]} restored to {output}")
        else:
            repository.restore_zip(found, target, progress)
            context.say(f"snapshot {found.id[:12]} restored to {output}: {amount(found.size)}")
            context.say(f"SHA-256 as received: {found.sha256}")


def _check_parent(output: str) -> None:
    """Refuse a place in no directory in the words of the person, before anything is read."""
    parent = Path(output).absolute().parent
    if not parent.is_dir():
        raise UsageError(
            f'restore to "{output}": there is no directory "{parent}"',
            "make it first, or choose another place",
        )


def _pour(context: Context, snapshot: str) -> None:
    """Write the ZIP to stdout; whether it was right is known, and told, at its end only."""
    if sys.stdout.isatty():
        raise UsageError(
            "restore to stdout: a ZIP is nothing to read on a terminal",
            "lead it into a program or a file, or give --output FILE",
        )
    if is_closed(sys.stdout):
        raise UsageError(
            "restore to stdout: it is closed", "lead it into a program or a file, or give a FILE"
        )
    with context.repository() as repository:
        found = repository.find(snapshot)
        for chunk in repository.rebuild(found):
            sys.stdout.buffer.write(chunk)
    context.say(f"snapshot {found.id[:12]} written: {amount(found.size)}")
    context.say(f"SHA-256 as received: {found.sha256}")


def _release(context: Context, name: str, target: Path) -> None:
    with context.repository() as repository:
        count = repository.release(name, target)
    context.say(f"quarantined file written to {target} as received: {amount(count)}")
