"""`backupd poll`: one pass over the mailboxes and the drop folders."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.cli.output import fail
from backupd.errors import ExitCode

if TYPE_CHECKING:
    from backupd.intake.once import Pass


@click.command("poll")
@click.pass_obj
def command(context: Context) -> int:
    """Look once at every mailbox and drop folder, fetch what is due, then exit."""
    from backupd.cli.passphrase import asker
    from backupd.daemon.instance import only_instance
    from backupd.intake.once import one_pass
    from backupd.wiring import open_rooms

    settings = context.settings()
    with only_instance(settings.state.path):
        rooms, credentials = open_rooms(settings, now, asker())
        try:
            report = one_pass(rooms, credentials, threading.Event())
        finally:
            credentials.close()
            rooms.close()
    context.say(
        f"{report.mailboxes - len(report.errors)} mailbox(es) read, {report.found} new mail(s),"
        f" {report.attempted} delivery attempt(s), {report.dropped} file(s) from drop folders"
    )
    for error in report.errors:
        fail(f"error: {error.message}")
        if error.hint:
            context.say(f"next: {error.hint}")
    return _code(report)


def _code(report: Pass) -> ExitCode:
    if report.errors:
        return report.errors[0].exit_code
    if report.dead:
        return ExitCode.LINK
    return ExitCode.DOWNLOAD if report.failed else ExitCode.OK
