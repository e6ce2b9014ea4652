"""`backupd requested`: an export was asked for just now."""

from __future__ import annotations

import click

from backupd.cli.context import Context, now
from backupd.cli.output import when
from backupd.errors import UsageError


@click.command("requested")
@click.option("--mailbox", metavar="NAME", help="Which mailbox its mail will come to.")
@click.pass_obj
def command(context: Context, mailbox: str | None) -> None:
    """Note that an export was asked for at chatgpt.com: you are told if it does not come."""
    from backupd.intake.reminding import REQUEST_PATIENCE
    from backupd.ledger.messages import Messages

    settings = context.settings()
    if mailbox is not None and mailbox not in settings.mailboxes:
        known = ", ".join(sorted(settings.mailboxes)) or "none"
        raise UsageError(
            f'note request: there is no mailbox "{mailbox}"', f"the configuration has: {known}"
        )
    moment = now()
    with context.ledger() as ledger:
        request = Messages(ledger).request(mailbox, moment)
    by = when(request.requested_at + REQUEST_PATIENCE)
    known_already = "" if request.requested_at == moment else " already"
    context.say(
        f"request noted{known_already}: if no export has come by {by}, you are told;"
        " `backupd status` shows it until then"
    )
