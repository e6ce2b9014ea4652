"""`backupd import`: store export ZIPs by hand."""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.cli.output import fail, share
from backupd.cli.progress import import_progress
from backupd.errors import BackupdError, ExitCode, UsageError
from backupd.notice import amount, count, plain

if TYPE_CHECKING:
    from backupd.intake.backfill import Outcome
    from backupd.intake.storing import Stored
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
    ordered = in_date_order(file.resolve() if file.is_symlink() else file for file in files)
    sizes = {file: file.stat().st_size for file in ordered}

    def origin(file: Path) -> Origin:
        return origin_of(file, "import", now())

    tally = Tally(len(ordered))
    with (
        open_keep(settings, context.path(), now, asker()) as keeper,
        import_progress(context.quiet, sizes) as progress,
        _summed_up(context, tally),
    ):
        show = progress.show if progress is not None else None
        for file, result in store_all(keeper, ordered, origin, show):
            tally.take(_told(context, file, result, alone=len(ordered) == 1), result)
            if progress is not None:
                progress.end(file)
    return tally.code


class Tally:
    """What became of the files so far, and the exit code that this means."""

    def __init__(self, files: int) -> None:
        """Begin with nothing done of so many files."""
        self.code = ExitCode.OK
        self.received = self.added = 0
        self._files = files
        self._ends = dict.fromkeys(("stored", "stored already", "in quarantine", "failed"), 0)
        self._began = time.monotonic()

    def take(self, code: ExitCode, result: Outcome) -> None:
        """Take in what became of one more file."""
        from backupd.intake.storing import Quarantined

        self.code = max(self.code, code)
        if isinstance(result, BackupdError):
            self._ends["failed"] += 1
        elif isinstance(result, Quarantined):
            self._ends["in quarantine"] += 1
        elif result.added.already_stored:
            self._ends["stored already"] += 1
        else:
            self._ends["stored"] += 1
            self.received += result.added.snapshot.size
            self.added += result.added.new_bytes

    @property
    def done(self) -> int:
        """How many files are done."""
        return sum(self._ends.values())

    @property
    def text(self) -> str:
        """Say all of it in one line."""
        ends = ", ".join(f"{number:,} {end}" for end, number in self._ends.items() if number)
        if not self.received:
            return f"{count(self._files, 'file')}: {ends}"
        seconds = time.monotonic() - self._began
        return (
            f"{count(self._files, 'file')}: {ends}; {amount(self.received)} in"
            f" {amount(self.added)} ({share(self.added, self.received)}),"
            f" proven byte for byte in {seconds:.1f} s"
        )


@contextmanager
def _summed_up(context: Context, tally: Tally) -> Iterator[None]:
    """Sum several files up at the end; of work that broke off, say how to go on."""
    try:
        yield
    except (BackupdError, KeyboardInterrupt):
        if tally.done:
            context.say(f"{tally.text}; the same command goes on where this ended")
        raise
    if tally.done > 1:
        context.say(tally.text)


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


def _told(context: Context, file: Path, result: Outcome, *, alone: bool) -> ExitCode:
    """Say what became of a file and return the exit code that this means."""
    from backupd.intake.storing import Quarantined

    name = _short(file.name)
    if isinstance(result, BackupdError):
        fail(f"{name}: {result.message}")
        context.say(f"next: {result.hint}")
        return result.exit_code
    if isinstance(result, Quarantined):
        fail(f"{name}: kept in quarantine, it breaks the rule {result.rule}: {result.detail}")
        context.say(
            "next: download the export again; what was received is kept, and comes back by"
            f" `backupd restore quarantine/{result.path.stem[:12]} --output FILE`"
        )
        return ExitCode.FINDINGS
    snapshot = result.added.snapshot
    if result.added.already_stored:
        context.say(f"{name}: stored already as snapshot {snapshot.id[:12]}, nothing to do")
        return ExitCode.OK
    context.say(f"{name}: {_changes(result)}; {amount(result.added.new_bytes)} added")
    if alone:
        context.say(
            f"snapshot {snapshot.id[:12]}: {amount(snapshot.size)} proven byte for byte"
            f" in {result.added.seconds:.1f} s"
        )
    return ExitCode.OK


def _changes(stored: Stored) -> str:
    counts = stored.counts
    if counts is None:
        return count(stored.added.snapshot.conversations, "conversation")
    odd = f", {stored.unreadable:,} stored but not readable" if stored.unreadable else ""
    return f"{counts.new:,} new, {counts.changed:,} changed, {counts.gone:,} gone{odd}"
