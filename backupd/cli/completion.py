"""`backupd completion`: the completion script of a shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes `backupd` in SHELL; put it where the shell looks."""
    generators = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
    click.echo(
        generators[shell](ctx.find_root().command, {}, "backupd", "_BACKUPD_COMPLETE").source()
    )
