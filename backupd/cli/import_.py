"""`backupd import`: store export ZIPs by hand."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.cli.output import fail, progress_bar
from backupd.errors import BackupdError, ExitCode, UsageError
from backupd.notice import amount, plain

if TYPE_CHECKING:
    from backupd.intake.storing import Quarantined, Stored
    from backupd.store.repository import Origin

_EXPORT_NAME = re.compile(r"([0-9a-f]{8})[0-9a-f]{56}(-\d{4}(?:-\d\d){5})")


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def command(context: Context, files: tuple[Path, ...]) -> int:
    """Store ZIPs, oldest export first; a ZIP that is stored already is a no-op."""
    from backupd.cli.passphrase import asker
    from backupd.intake.backfill import store_all
    from backupd.intake.handin import in_date_order, origin_of
    from backupd.wiring import open_keep

    for file in files:
        _look(file)
    settings = context.settings() if context.needs_settings() else None

    def origin(file: Path) -> Origin:
        return origin_of(file, "import", now())

    with (
        open_keep(settings, context.path(), now, asker()) as keeper,
        progress_bar(context.quiet, len(files)) as progress,
    ):
        results = store_all(keeper, in_date_order(files), origin, progress)
        return max(_told(context, file, result) for file, result in results)


def _look(file: Path) -> None:
    """Refuse what is no file before anything is stored: a pipe would be read for ever."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        cause = (error.strerror or "failed").lower()
        raise UsageError(f'import "{_short(file.name)}": {cause}', "name a ZIP") from error
    if stat.S_ISDIR(mode):
        raise UsageError(
            f'import "{_short(file.name)}": is a directory', "name the ZIPs in it: DIRECTORY/*.zip"
        )
    if not stat.S_ISREG(mode):
        raise UsageError(f'import "{_short(file.name)}": is not a regular file', "name a ZIP")


def _short(name: str) -> str:
    """Shorten an export's file name to what tells it from others: account, time."""
    found = _EXPORT_NAME.match(name)
    return f"{found[1]}…{found[2]}….zip" if found else plain(name)


def _told(context: Context, file: Path, result: Stored | Quarantined | BackupdError) -> ExitCode:
    """Say what became of a file and return the exit code that this means."""
    from backupd.intake.storing import Quarantined

    if isinstance(result, BackupdError):
        fail(f"{_short(file.name)}: {result.message}")
        return result.exit_code
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
            f" {amount(snapshot.size)} in {amount(result.added.new_bytes)},"
            f" proven byte for byte in {result.added.seconds:.1f} s"
        )
    return ExitCode.OK
