"""`backupd check`: find damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json
from backupd.cli.output import fail
from backupd.cli.progress import progress_bar
from backupd.errors import ExitCode, UsageError
from backupd.notice import amount, count

if TYPE_CHECKING:
    from backupd.store.repository import Subset


@click.command("check")
@click.option("--read-data", is_flag=True, help="Read and hash every stored byte.")
@click.option("--subset", metavar="N/T", help="With --read-data: only part N of T of the packs.")
@click.option("--drill", is_flag=True, help="Rebuild every export and compare its SHA-256.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(
    context: Context, read_data: bool, subset: str | None, drill: bool, as_json: bool
) -> int:
    """Check the structure; more with --read-data and --drill. Exit code 30 if damage is found."""
    part = _subset(subset, read_data)
    with context.repository() as repository, progress_bar(context.quiet) as progress:
        report = repository.check(read_data=read_data, subset=part, drill=drill, progress=progress)
        # What the catalog says of a damaged repository may be more than can be read again.
        flaw = context.audit(repository) if report.ok else None
    problems = [problem.text for problem in report.problems]
    impossible = [problem.text for problem in report.impossible]
    if as_json:
        emit_json(
            {
                "snapshots": report.snapshots,
                "packs": report.packs,
                "objects": report.objects,
                "bytes_read": report.bytes_read,
                "drilled": list(report.drilled),
                "problems": problems,
                "impossible": impossible,
                "catalog_mended": flaw,
            }
        )
    else:
        for problem in (*problems, *impossible):
            fail(problem)
        if problems:
            context.say(
                "next: what is not named still restores; keep the disk from being written to, and"
                " see “When check finds damage” in docs/restore.md"
            )
        context.say(
            f"{count(report.snapshots, 'snapshot')}, {count(report.packs, 'pack')},"
            f" {count(report.objects, 'object')}, {amount(report.bytes_read)} read,"
            f" {count(len(report.drilled), 'export')} rebuilt:"
            f" {count(len(problems), 'problem') if problems else 'no damage'}"
        )
    if flaw is not None:
        fail(f"the catalog was damaged and is made anew: {flaw}")
        context.say("next: nothing is lost; look at the disk (`smartctl`, the kernel log)")
    if problems:
        return ExitCode.DAMAGED
    return ExitCode.FINDINGS if impossible or flaw is not None else ExitCode.OK


def _subset(text: str | None, read_data: bool) -> Subset | None:
    from backupd.store.repository import Subset

    if text is None:
        return None
    try:
        part, total = (int(number) for number in text.split("/"))
    except ValueError as error:
        raise UsageError(f'check: subset "{text}" is not N/T', "for example 1/7") from error
    if not 1 <= part <= total:
        raise UsageError(f'check: subset "{text}": N lies between 1 and T', "for example 1/7")
    if not read_data:
        raise UsageError("check: --subset goes with --read-data", "add --read-data")
    return Subset(part, total)
