"""`backupd restore`: an export back, byte for byte, or its members."""

from __future__ import annotations

from pathlib import Path

import click

from backupd.cli.context import Context
from backupd.cli.progress import progress_bar
from backupd.notice import amount

_QUARANTINE = "quarantine/"


@click.command("restore")
@click.argument("snapshot")
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="A new file for the ZIP; a directory (existing, or ending in /) for its members.",
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
    with context.repository() as repository, progress_bar(context.quiet) as progress:
        if snapshot == "remainder":
            count = repository.keeping.restore_remainders(Path(output))
            context.say(f"{count} files of forgotten snapshots restored to {output}")
            return
        found = repository.find(snapshot)
        target = Path(output)
        if target.is_dir() or output.endswith("/"):
            count = repository.restore_members(found, target, progress)
            context.say(f"{count} members of snapshot {found.id[:12]} restored to {output}")
        else:
            repository.restore_zip(found, target, progress)
            context.say(
                f"snapshot {found.id[:12]} restored to {output}:"
                f" {amount(found.size)}, SHA-256 {found.sha256} as received"
            )


def _release(context: Context, name: str, target: Path) -> None:
    with context.repository() as repository:
        count = repository.release(name, target)
    context.say(f"quarantined file written to {target} as received: {amount(count)}")
