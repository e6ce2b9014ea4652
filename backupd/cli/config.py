"""`backupd config`: generate, validate or show the configuration."""

from __future__ import annotations

import click

from backupd.cli.context import Context


@click.group("config")
def command() -> None:
    """Generate, validate or show the configuration."""


@command.command("generate")
def generate() -> None:
    """Print a complete, commented configuration to start from."""
    from backupd.config import example_text

    click.echo(example_text(), nl=False)


@command.command("validate")
@click.pass_obj
def validate(context: Context) -> None:
    """Report every problem of the configuration together; exit code 2 if there is one."""
    from backupd.config import cautions

    settings = context.settings()
    for caution in cautions(settings):
        context.say(f"caution: {caution}")
    context.say("the configuration is valid")


@command.command("show")
@click.pass_obj
def show(context: Context) -> None:
    """Print the settings in force, defaults included; what may hold a secret is hidden."""
    from backupd.config import show as shown

    click.echo(shown(context.settings()), nl=False)
