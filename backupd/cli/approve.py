"""`backupd approve`: let through a delivery whose mail could not be proven, or turn it down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.cli.output import when
from backupd.errors import LinkError, UsageError

if TYPE_CHECKING:
    from backupd.ledger.approvals import Approvals
    from backupd.ledger.db import Database
    from backupd.ledger.delivery import Delivery


@click.command("approve")
@click.argument("delivery")
@click.option("--reject", is_flag=True, help="Turn it down: nothing is fetched.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(context: Context, delivery: str, reject: bool, yes: bool) -> None:
    """Fetch the export of DELIVERY (id or unique prefix) though nothing proves its mail.

    What is known of the mail is shown first. Only links to OpenAI's listed hosts are ever opened.
    """
    from backupd.ledger.approvals import Approvals

    with context.ledger() as ledger:
        approvals = Approvals(ledger)
        found = approvals.find(delivery)
        for name, value in _known(found, approvals, ledger):
            click.echo(f"{name:12} {value}")
        if reject:
            _confirm(yes, "turn it down")
            _reject(context, found, approvals, ledger)
            return
        if found.give_up_at is None or now() >= found.give_up_at:
            raise LinkError(
                f"approve delivery {found.id}: its link is dead by now", "request a new export"
            )
        _confirm(yes, "fetch this export although nothing proves its mail")
        _still(approvals.approve(found, now()), found)
    context.say(f"delivery {found.id} is approved: {_next(context)}")


def _confirm(yes: bool, what: str) -> None:
    """Ask on a terminal; elsewhere `--yes` must have been given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: nobody to ask", "add --yes if you have looked at the mail")
    click.confirm(f"{what}?", abort=True, err=True)


def _known(delivery: Delivery, approvals: Approvals, ledger: Database) -> list[tuple[str, str]]:
    """Say what is known of a delivery's mail, line by line."""
    from backupd.ledger.messages import Messages
    from backupd.notice import plain

    requests = Messages(ledger).requests()
    asked = ", ".join(when(request.requested_at) for request in requests)
    account = delivery.account
    known = bool(account) and approvals.has_stored(account or "")
    return [
        ("delivery", delivery.id),
        (
            "mail",
            f"mailbox {delivery.mailbox}, folder {plain(delivery.folder, 60)},"
            f" UID {delivery.uid}, of {when(delivery.mail_at)}",
        ),
        ("sender", f"{plain(delivery.sender, 120)} (says the mail)"),
        ("not proven", delivery.detail or ""),
        ("link", f"to {delivery.host}, which is OpenAI's"),
        ("file", plain(delivery.file_name, 160)),
        ("account", "an export of it is stored" if known else "no export of it is stored"),
        ("requested", f"an export, {asked}" if asked else "no request for an export is known"),
        ("link expires", when(delivery.deadline)),
    ]


def _reject(context: Context, delivery: Delivery, approvals: Approvals, ledger: Database) -> None:
    from backupd import notice
    from backupd.wiring import open_notifier

    _still(approvals.reject(delivery, now()), delivery)
    notifier = open_notifier(context.settings(), ledger, context.credentials())
    notifier.publish(
        notice.approval_closed(delivery=delivery.id, reason="you turned it down"), now()
    )
    context.say(f"delivery {delivery.id} is turned down; nothing is fetched")


def _still(waited: bool, delivery: Delivery) -> None:
    if not waited:
        raise LinkError(
            f"approve delivery {delivery.id}: it does not wait any more", "see `backupd status`"
        )


def _next(context: Context) -> str:
    from backupd.daemon.instance import is_running

    running = is_running(context.settings().state.path)
    return "it is fetched within a minute" if running else "run `backupd poll` to fetch it"
