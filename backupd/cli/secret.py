"""`backupd secret`: set, test or delete a credential."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from backupd.intake.signin import SignIn


@click.group("secret")
def command() -> None:
    """Set, test or delete a credential; it never stands in the configuration."""


@command.command("set")
@click.argument("name")
@click.option("--oauth", is_flag=True, help="Sign in to the mailbox that uses it, by OAuth2.")
@click.option(
    "--print", "to_stdout", is_flag=True, help="With --oauth: write it to stdout, not the keyring."
)
@click.pass_obj
def set_(context: Context, name: str, oauth: bool, to_stdout: bool) -> None:
    """Store a credential in the keyring; asked for on a terminal, else read from stdin.

    With --oauth it is what signing in to the mailbox gives.
    """
    if to_stdout and not oauth:
        raise UsageError(f'set credential "{name}": --print is for --oauth', "add --oauth")
    if to_stdout and sys.stdout.isatty():
        raise UsageError(
            f'set credential "{name}": a secret is not written to a terminal',
            f"pipe it, for example into `systemd-creds encrypt --name={name} - FILE`",
        )
    if oauth:
        _sign_in(context, name, to_stdout)
        return
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


def _sign_in(context: Context, name: str, to_stdout: bool) -> None:
    from backupd.intake.signin import Person, mailbox_of, sign_in

    mailbox = mailbox_of(context.settings(), name)
    credentials = context.credentials()
    if not to_stdout:
        try:
            credentials.require_keyring(name)
        except CredentialError as problem:
            hint = f"{problem.hint}; or add --print and pipe it into `systemd-creds encrypt`"
            raise CredentialError(problem.message, hint) from problem
    person = Person(
        lambda line: click.echo(line, err=True), threading.Event().wait, sys.stdin.fileno()
    )
    signed_in = sign_in(mailbox, credentials, person, now)
    if to_stdout:
        click.echo(signed_in.refresh_token, nl=False)
        context.say(f"signed in to mailbox {mailbox.name}; the credential {name} is on stdout")
    else:
        credentials.set(name, signed_in.refresh_token)
        context.say(f"signed in to mailbox {mailbox.name}; credential {name} is in the keyring")
    _remember_end(context, name, signed_in)
    context.say("next: `systemctl restart backupd`, so that a running daemon uses it")


def _remember_end(context: Context, name: str, signed_in: SignIn) -> None:
    from backupd.intake.mailkeys import remember_end
    from backupd.ledger.messages import Messages

    with context.ledger() as database:
        remember_end(Messages(database), name, signed_in.ends_at, now())
    if signed_in.ends_at is not None:
        context.say(f"the provider ends this sign-in at {signed_in.ends_at:%Y-%m-%d %H:%M} UTC")


@command.command("test")
@click.argument("name")
@click.pass_obj
def test(context: Context, name: str) -> None:
    """Say which source answers for a credential; the value is not shown.

    A mailbox's sign-in by OAuth2 is tried with the provider.
    """
    credentials = context.credentials()
    context.say(f"credential {name} comes from {credentials.source(name)}")
    if not context.has_settings():
        return
    from backupd.intake.signin import signed_in_mailbox, try_sign_in
    from backupd.ledger.messages import Messages

    mailbox = signed_in_mailbox(context.settings(), name)
    if mailbox is None:
        return
    with context.ledger() as database:
        ends_at = try_sign_in(mailbox, credentials, Messages(database), now)
    context.say(f"the provider gave access to mailbox {mailbox.name} until {ends_at:%H:%M} UTC")


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
