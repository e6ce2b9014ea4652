"""`backupd status`: in one look, whether all is well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso, now
from backupd.cli.output import table, when

if TYPE_CHECKING:
    from backupd.intake.accounts import Account
    from backupd.intake.overview import Overview


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> int:
    """Show OK, PENDING, OVERDUE, DEGRADED or ACTION NEEDED; the exit code says the same."""
    from backupd.daemon.instance import is_running
    from backupd.intake.overview import overview
    from backupd.ledger.deliveries import Deliveries
    from backupd.ledger.messages import Messages

    moment = now()
    running = is_running(context.settings().state.path)
    with context.ledger() as ledger, context.repository() as repository:
        seen = overview(
            context.settings(), Deliveries(ledger), Messages(ledger), repository, moment
        )
    if as_json:
        emit_json({"running": running, **_json(seen)})
    else:
        _print(seen, running, moment)
    return seen.exit_code


def _print(seen: Overview, running: bool, moment: datetime) -> None:
    click.echo(_headline(seen, moment))
    click.echo(f"daemon: {'running' if running else 'not running'}")
    for mailbox in seen.mailboxes:
        detail = f" ({mailbox.detail})" if mailbox.detail else ""
        click.echo(f"mailbox {mailbox.name}: {mailbox.state}{detail}")
    for session in seen.sessions:
        end = f", ends {when(session.until)}" if session.until else ""
        click.echo(f"session [{session.place}]: {session.kind}, {session.outlook}{end}")
    if seen.missed_at is not None:
        click.echo(f"missed: an export's link died {when(seen.missed_at)}; request another one")
    for line in _waiting(seen, moment):
        click.echo(line)
    if seen.deliveries:
        click.echo("\n" + table(_HEADERS, _rows(seen, moment)) + "\n")
    proven = f"{seen.snapshots} stored, {seen.proven} proven byte for byte"
    click.echo(f"snapshots: {proven}, last export received {when(seen.last_export_at)}")
    click.echo(f"repository: {seen.privacy}")
    for account in seen.accounts:
        click.echo(_account(account))
    problems = f", {seen.check_problems} problem(s) found" if seen.check_problems else ""
    click.echo(f"last check: {when(seen.last_check_at)}{problems}")
    click.echo(f"last drill: {when(seen.last_drill_at)}")


def _waiting(seen: Overview, moment: datetime) -> Iterator[str]:
    """Say what was asked for and has not come, and what nobody has asked for."""
    from backupd.intake.reminding import REQUEST_PATIENCE, is_late

    for request in seen.requests:
        by = request.requested_at + REQUEST_PATIENCE
        come = "should have come by" if is_late(request, moment) else "its mail should come by"
        of = f" (mailbox {request.mailbox})" if request.mailbox else ""
        yield f"requested: {when(request.requested_at)}{of}, {come} {when(by)}"
    for one in seen.overdue:
        of = f" of account {one.label}" if one.label else ""
        since = "since" if one.ever else "at all, watching since"
        yield f"overdue: no export{of} {since} {when(one.since)}; request one at chatgpt.com"


def _account(account: Account) -> str:
    from backupd.intake.accounts import SHOWN

    name = f"{account.name} ({account.id[:SHOWN]})" if account.name else account.id[:SHOWN]
    begins = f", export files begin with {account.prefix[:SHOWN]}…" if account.prefix else ""
    newest = f"newest received {when(account.received_at)}"
    return f"account {name}: {account.snapshots} snapshot(s), {newest}{begins}"


_HEADERS = ("DELIVERY", "STATE", "LINK EXPIRES", "ATTEMPTS", "NEEDS")


def _rows(seen: Overview, moment: datetime) -> list[tuple[str, ...]]:
    from backupd.intake.overview import needs

    return [
        (
            delivery.id,
            delivery.state.value,
            _left(delivery.deadline, moment),
            str(delivery.attempts),
            needs(delivery) or "nothing",
        )
        for delivery in seen.deliveries
    ]


def _headline(seen: Overview, moment: datetime) -> str:
    deadlines = [delivery.deadline for delivery in seen.deliveries if delivery.deadline]
    if not deadlines:
        return seen.health.value
    return f"{seen.health.value}: link expires {_left(min(deadlines), moment)}"


def _left(deadline: datetime | None, moment: datetime) -> str:
    from backupd.notice import span

    if deadline is None:
        return "-"
    return f"in {span(deadline - moment)}" if deadline > moment else "now, tried until it is dead"


def _json(seen: Overview) -> dict[str, object]:
    from backupd.intake.overview import needs

    return {
        "state": seen.health.value,
        "mailboxes": [
            {"name": mailbox.name, "state": mailbox.state, "detail": mailbox.detail}
            for mailbox in seen.mailboxes
        ],
        "deliveries": [
            {
                "id": delivery.id,
                "state": delivery.state.value,
                "deadline": iso(delivery.deadline),
                "needs": needs(delivery),
                "attempts": delivery.attempts,
            }
            for delivery in seen.deliveries
        ],
        "requests": [
            {
                "id": request.id,
                "mailbox": request.mailbox,
                "requested_at": iso(request.requested_at),
            }
            for request in seen.requests
        ],
        "overdue": [{"account": one.id or None, "since": iso(one.since)} for one in seen.overdue],
        "snapshots": seen.snapshots,
        "proven": seen.proven,
        "accounts": [
            {
                "account": account.id,
                "name": account.name,
                "prefix": account.prefix,
                "snapshots": account.snapshots,
                "last_export_at": iso(account.received_at),
            }
            for account in seen.accounts
        ],
        "sessions": [
            {
                "place": session.place,
                "session": session.kind,
                "state": session.outlook,
                "until": iso(session.until),
            }
            for session in seen.sessions
        ],
        "last_export_at": iso(seen.last_export_at),
        "last_check_at": iso(seen.last_check_at),
        "last_drill_at": iso(seen.last_drill_at),
        "check_problems": seen.check_problems,
        "missed_at": iso(seen.missed_at),
        "encrypted": seen.encrypted,
    }
