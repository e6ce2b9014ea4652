"""`backupd secret`: set, test or delete a credential."""

from __future__ import annotations

import sys

import click

from backupd.cli.context import Context
from backupd.errors import UsageError


@click.group("secret")
def command() -> None:
    """Set, test or delete a credential; it never stands in the configuration."""


@command.command("set")
@click.argument("name")
@click.pass_obj
def set_(context: Context, name: str) -> None:
    """Store a credential in the keyring; asked for on a terminal, else read from stdin."""
    if sys.stdin.isatty():
        value = click.prompt(
            f"value of {name}", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        value = sys.stdin.read().removesuffix("\n")
    if not value:
        raise UsageError(f'set credential "{name}": the value is empty', "give it on stdin")
    context.credentials().set(name, value)
    context.say(f"credential {name} is stored in the keyring")


@command.command("test")
@click.argument("name")
@click.pass_obj
def test(context: Context, name: str) -> None:
    """Say which source answers for a credential; the value is not shown."""
    context.say(f"credential {name} comes from {context.credentials().source(name)}")


@command.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(context: Context, name: str, yes: bool) -> None:
    """Delete a credential from the keyring."""
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f'delete credential "{name}": nobody to ask', "add --yes")
        click.confirm(f"delete the credential {name} from the keyring?", abort=True, err=True)
    context.credentials().delete(name)
    context.say(f"credential {name} is deleted from the keyring")
