"""`backupd forget`: drop snapshots by a policy; what must never be lost stays."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso, now
from backupd.cli.output import table, when
from backupd.cli.progress import progress_bar
from backupd.errors import UsageError
from backupd.notice import amount

if TYPE_CHECKING:
    from backupd.store.forget import ForgetPlan
    from backupd.store.prune import Pruned
    from backupd.store.remainders import KeptAsset, KeptConversation
    from backupd.store.repository import Repository
    from backupd.store.retention import Decision

_COUNT = click.IntRange(min=0)
_WHY = {
    "gone": "gone upstream: every version stays",
    "newest": "its newest version is in no snapshot that stays",
}


@click.command("forget")
@click.option("--keep-last", type=_COUNT, default=0, metavar="N", help="Keep the N newest.")
@click.option("--keep-daily", type=_COUNT, default=0, metavar="N", help="One of each of N days.")
@click.option("--keep-weekly", type=_COUNT, default=0, metavar="N", help="One of each of N weeks.")
@click.option("--keep-monthly", type=_COUNT, default=0, metavar="N", help="One of N months.")
@click.option("--keep-yearly", type=_COUNT, default=0, metavar="N", help="One of N years.")
@click.option("--account", metavar="A", help="Only this account, by a beginning of its name.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--prune", "and_prune", is_flag=True, help="Give the space back as well.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(
    context: Context,
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    keep_yearly: int,
    account: str | None,
    dry_run: bool,
    and_prune: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget the snapshots that no rule keeps; without a rule everything is kept."""
    from backupd.store.retention import Policy

    policy = Policy(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    done: Pruned | None = None
    with context.repository() as repository:
        plan = repository.keeping.plan_forget(policy, now(), account)
        if not as_json:
            _show(context, plan)
        acts = not dry_run and bool(plan.forgotten)
        if acts or (and_prune and not dry_run):
            confirm(yes, f"forget {len(plan.forgotten)} snapshots{' and prune' * and_prune}")
        if acts:
            repository.keeping.forget(plan)
        if and_prune and not dry_run:
            done = _prune(context, repository)
    if as_json:
        emit_json(_json(plan, done, forgot=acts))
    elif acts:
        context.say(f"{len(plan.forgotten)} snapshots are forgotten{_next(done)}")


def confirm(yes: bool, what: str) -> None:
    """Ask on a terminal; elsewhere `--yes` must have been given.

    Raises:
        UsageError: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: nobody to ask", "add --yes, or look first with --dry-run")
    click.confirm(f"{what}?", abort=True, err=True)


def prune_text(done: Pruned) -> str:
    """Say in one line what a prune did."""
    if not done.removed:
        return "nothing to give back"
    return (
        f"{done.removed} packs removed, {done.written} written anew,"
        f" {done.proven} objects proven: {amount(done.bytes_before)} are"
        f" {amount(done.bytes_after)} now"
    )


def _prune(context: Context, repository: Repository) -> Pruned:
    with progress_bar(context.quiet) as progress:
        done = repository.keeping.prune(progress)
    context.say(prune_text(done))
    return done


def _next(done: Pruned | None) -> str:
    return "" if done else "; next: `backupd prune` gives their space back"


def _show(context: Context, plan: ForgetPlan) -> None:
    """Write the plan: each decision with its reason, then what stays and why."""
    rows = [
        (
            each.snapshot.id[:12],
            (each.snapshot.account or "unknown")[:12],
            when(each.snapshot.at),
            "keep" if each.keep else "forget",
            _reasons(each),
        )
        for each in plan.decisions
    ]
    if rows:
        click.echo(table(("ID", "ACCOUNT", "EXPORTED", "DECISION", "REASON"), rows))
    else:
        context.say("no snapshots yet; nothing to forget")
    for line in _remainder_lines(plan):
        click.echo(line)


def _reasons(decision: Decision) -> str:
    return ", ".join(reason.value for reason in decision.reasons) or "no rule keeps it"


def _remainder_lines(plan: ForgetPlan) -> list[str]:
    record = plan.remainder
    lines = [
        f"stays: conversation {each.id}, {len(each.slices)} version(s): {_WHY[each.why]}"
        for each in record.conversations
    ]
    lines += [
        f"stays: asset {each.name}: shown by {_names(each.shown_by)}" for each in record.assets
    ]
    if record.pieces:
        lines.append(f"stays: {len(record.pieces)} piece(s) that could not be read: to be safe")
    return lines


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"conversation {names[0]}{more}"


def _json(plan: ForgetPlan, done: Pruned | None, *, forgot: bool) -> dict[str, object]:
    return {
        "forgotten": forgot,
        "snapshots": [_decision_json(each) for each in plan.decisions],
        "remainder": {
            "conversations": [_conversation_json(each) for each in plan.remainder.conversations],
            "assets": [_asset_json(each) for each in plan.remainder.assets],
            "pieces": len(plan.remainder.pieces),
        },
        "pruned": None if done is None else prune_json(done),
    }


def prune_json(done: Pruned) -> dict[str, object]:
    """Return the fields that say what a prune did."""
    return {
        "packs_removed": done.removed,
        "packs_written": done.written,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "objects_proven": done.proven,
    }


def _decision_json(each: Decision) -> dict[str, object]:
    return {
        "id": each.snapshot.id,
        "account": each.snapshot.account,
        "at": iso(each.snapshot.at),
        "keep": each.keep,
        "reasons": [reason.value for reason in each.reasons],
    }


def _conversation_json(each: KeptConversation) -> dict[str, object]:
    return {
        "account": each.account,
        "conversation_id": each.id,
        "reason": each.why,
        "versions": len(each.slices),
    }


def _asset_json(each: KeptAsset) -> dict[str, object]:
    return {"account": each.account, "name": each.name, "shown_by": list(each.shown_by)}
