"""`backupd notify`: try the notification channels."""

from __future__ import annotations

import os

import click

from backupd.cli.context import Context, now
from backupd.cli.output import fail
from backupd.errors import ExitCode


@click.group("notify")
def command() -> None:
    """Try the notification channels."""


@command.command("test")
@click.pass_obj
def test(context: Context) -> int:
    """Send a test notice to every channel, at once; exit code 1 if one fails."""
    from backupd import notice
    from backupd.credentials import Credentials
    from backupd.notify.channels import open_channels

    settings = context.settings()
    channels = open_channels(settings.notify, Credentials(settings.credentials, os.environ))
    worst = ExitCode.OK
    for channel in channels:
        problem = channel.send(notice.test(now()))
        if problem:
            fail(f"{channel.id}: {problem}")
            worst = ExitCode.FAILED
        else:
            context.say(f"{channel.id}: delivered")
    if not channels:
        context.say("no [[notify]] channel is configured: notices go to the journal and the log")
    return worst
