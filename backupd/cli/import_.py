"""`backupd import`: store export ZIPs by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.cli.output import fail, progress_bar, size
from backupd.errors import ExitCode

if TYPE_CHECKING:
    from backupd.wiring import Keep

_EXPORT_NAME = re.compile(r"([0-9a-f]{8})[0-9a-f]{56}(-\d{4}(?:-\d\d){5})")


@click.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.pass_obj
def command(context: Context, files: tuple[Path, ...]) -> int:
    """Store ZIPs, oldest export first; a ZIP that is stored already is a no-op."""
    from backupd.intake.handin import in_date_order
    from backupd.wiring import open_keep

    settings = context.settings() if context.needs_settings() else None
    with open_keep(settings, context.path(), now) as keep:
        return max(
            (_store(context, keep, file) for file in in_date_order(files)), default=ExitCode.OK
        )


def _short(name: str) -> str:
    """Shorten an export's file name to what tells it from others: account, time."""
    found = _EXPORT_NAME.match(name)
    return f"{found[1]}…{found[2]}….zip" if found else name


def _store(context: Context, keep: Keep, file: Path) -> ExitCode:
    from backupd.intake.storing import Quarantined
    from backupd.store.repository import Origin

    origin = Origin(
        file_name=file.name, received_at=now(), source="import", delivery=None, mailbox=None
    )
    with progress_bar(context.quiet) as progress:
        result = keep(file, origin, progress=progress)
    if isinstance(result, Quarantined):
        fail(
            f"{_short(file.name)}: kept in quarantine,"
            f" it breaks the rule {result.rule}: {result.detail}"
        )
        context.say(f"next: the bytes are safe in {result.path}; download the export again")
        return ExitCode.FINDINGS
    snapshot = result.added.snapshot
    if result.added.already_stored:
        context.say(
            f"{_short(file.name)}: stored already as snapshot {snapshot.id[:12]}, nothing to do"
        )
    else:
        context.say(
            f"{_short(file.name)}: snapshot {snapshot.id[:12]},"
            f" {snapshot.conversations} conversations,"
            f" {size(snapshot.size)} in {size(result.added.new_bytes)},"
            f" proven byte for byte in {result.added.seconds:.1f} s"
        )
    return ExitCode.OK
