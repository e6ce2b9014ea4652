"""`backupd init`: make a repository."""

from __future__ import annotations

import click

from backupd.cli.context import Context


@click.command("init")
@click.pass_obj
def command(context: Context) -> None:
    """Make a repository at the configured place, or at --repository."""
    from backupd.store.repository import Repository

    path = context.path()
    Repository.create(path).close()
    context.say(f"repository made: {path}")
    context.say("next: `backupd import FILE…` stores ZIPs that you have, `backupd run` watches")
