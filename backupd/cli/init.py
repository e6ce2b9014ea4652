"""`backupd init`: make a repository."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from backupd.cli.context import Context, now
from backupd.errors import BackupdError, UsageError


@click.command("init")
@click.option("--encrypt", is_flag=True, help="Encrypt everything that it will hold.")
@click.option(
    "--recovery-key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --encrypt: write the recovery key there instead of showing it.",
)
@click.pass_obj
def command(context: Context, encrypt: bool, recovery_key_file: Path | None) -> None:
    """Make a repository at the configured place, or at --repository."""
    from backupd.store.repository import Repository

    path = context.path()
    if encrypt:
        _encrypted(context, path, recovery_key_file)
    else:
        _check_expectation(context)
        Repository.create(path).close()
    context.say(f"repository made: {path}{', encrypted' if encrypt else ''}")
    context.say("next: `backupd import FILE…` stores ZIPs that you have, `backupd run` watches")


def _check_expectation(context: Context) -> None:
    if context.has_settings() and context.settings().repository.credential is not None:
        raise UsageError(
            "make repository: the configuration names the credential of an encrypted one",
            "add --encrypt, or remove `credential` from [repository]",
        )


def _encrypted(context: Context, path: Path, file: Path | None) -> None:
    """Make it only when the person has the recovery key: nothing is left of a broken-off try."""
    from backupd.cli.passphrase import check_handover, hand_over
    from backupd.store import recovery
    from backupd.store.keys import check_passphrase
    from backupd.store.opening import check_place
    from backupd.store.repository import NewKeys, Repository

    check_place(path)
    check_handover(file, path)
    passphrase = _passphrase(context)
    check_passphrase(passphrase)
    text = recovery.new()
    hand_over(text, file)
    try:
        Repository.create(path, keys=NewKeys(passphrase, text, now())).close()
    except BackupdError:
        if file is not None:
            with suppress(OSError):
                file.unlink()
        raise


def _passphrase(context: Context) -> str:
    from backupd.cli.passphrase import at_terminal, new_passphrase
    from backupd.credentials import CredentialMissing
    from backupd.wiring import passphrase_name

    name = passphrase_name(context.settings().repository if context.has_settings() else None)
    credentials = context.credentials()
    try:
        passphrase = credentials.get(name)
        context.say(f"passphrase: from {credentials.source(name)}, credential {name}")
        return passphrase
    except CredentialMissing:
        if not at_terminal():
            raise
    passphrase = new_passphrase()
    context.say(f"the daemon needs it too: `backupd secret set {name}`, or a systemd credential")
    return passphrase
