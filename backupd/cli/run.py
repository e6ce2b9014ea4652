"""`backupd run`: the daemon."""

from __future__ import annotations

import logging

import click

from backupd.cli.context import Context, now


@click.command("run")
@click.pass_obj
def command(context: Context) -> None:
    """Watch the mailboxes and drop folders until SIGTERM; SIGHUP reloads the configuration."""
    from backupd.daemon.service import Service
    from backupd.wiring import open_rooms

    if logging.getLogger("backupd").level == logging.WARNING:
        logging.getLogger("backupd").setLevel(logging.INFO)
    Service(context.settings, lambda settings: open_rooms(settings, now)).run()
