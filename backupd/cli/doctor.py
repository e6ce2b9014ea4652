"""`backupd doctor`: everything that backupd needs, with the fix for what is missing."""

from __future__ import annotations

import click

from backupd.cli.context import Context, emit_json, now
from backupd.errors import ExitCode


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Check Python, zlib, clock, disk, repository, credentials and mailboxes.

    Exit code 3 if something needs attention.
    """
    from backupd.intake.doctor import Verdict, examine

    settings = context.settings()
    findings = []
    for finding in examine(settings, context.credentials(), context.access(), now()):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.verdict.value:8} {finding.check}: {finding.seen}")
            if finding.fix:
                click.echo(f"         next: {finding.fix}")
    if as_json:
        emit_json(
            [
                {
                    "check": finding.check,
                    "verdict": finding.verdict.value,
                    "seen": finding.seen,
                    "fix": finding.fix,
                }
                for finding in findings
            ]
        )
    well = all(finding.verdict is not Verdict.FAILED for finding in findings)
    return ExitCode.OK if well else ExitCode.FINDINGS
