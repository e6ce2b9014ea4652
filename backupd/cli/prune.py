"""`backupd prune`: give back the space of what was forgotten."""

from __future__ import annotations

import click

from backupd.cli.context import Context, emit_json
from backupd.cli.forget import confirm, prune_json, prune_text
from backupd.cli.progress import progress_bar
from backupd.notice import amount


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove what no snapshot and no remainder needs; what is needed is proven first."""
    with context.repository() as repository:
        plan = repository.keeping.plan_prune()
        if as_json and dry_run:
            emit_json(
                {
                    "packs_kept": len(plan.keep),
                    "packs_rewritten": len(plan.rewrite),
                    "packs_dropped": len(plan.drop),
                    "bytes_before": plan.bytes_before,
                    "bytes_after": plan.bytes_after,
                }
            )
            return
        if not as_json:
            click.echo(
                f"{len(plan.keep)} packs stay, {len(plan.rewrite)} are written anew,"
                f" {len(plan.drop)} go: {amount(plan.bytes_before)} become about"
                f" {amount(plan.bytes_after)}"
            )
        if dry_run:
            return
        if plan.removed:
            confirm(yes, f"remove {len(plan.removed)} packs")
        with progress_bar(context.quiet) as progress:
            done = repository.keeping.prune(progress)
    if as_json:
        emit_json(prune_json(done))
    else:
        context.say(prune_text(done))
