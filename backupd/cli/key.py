"""`backupd key`: the keys of an encrypted repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso, now
from backupd.cli.output import table, when
from backupd.errors import UsageError

if TYPE_CHECKING:
    from backupd.store.repository import Access, OpenKeys, Repository

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("key")
def command() -> None:
    """Keys of an encrypted repository: passphrases and recovery keys."""


@command.command("list", short_help="List the keys.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List the keys; nothing is asked, and nothing shown that opens anything."""
    from backupd.store.opening import list_keys

    keys = list_keys(context.path())
    if as_json:
        emit_json([{"id": k.id, "kind": k.kind, "created_at": iso(k.created_at)} for k in keys])
    else:
        rows = [(key.id[:12], key.kind, when(key.created_at)) for key in keys]
        click.echo(table(("ID", "KIND", "CREATED"), rows))


@command.command("add", short_help="Add a passphrase or a recovery key.")
@click.option("--recovery", is_flag=True, help="Add a recovery key instead of a passphrase.")
@click.option(
    "--recovery-key-file", type=_FILE, help="With --recovery: write it there instead of showing it."
)
@click.pass_obj
def add(context: Context, recovery: bool, recovery_key_file: Path | None) -> None:
    """Add a passphrase: asked for on a terminal, else read from stdin. Or a new recovery key."""
    from backupd.cli.passphrase import check_handover, hand_over, new_passphrase
    from backupd.store.recovery import new

    if recovery:
        check_handover(recovery_key_file, context.path())
    with _open(context, context.access()) as (repository, keys):
        if recovery:
            text = new()
            hand_over(text, recovery_key_file)
            with repository.lock("key add"):
                made = keys.add_recovery(text, now())
        else:
            passphrase = new_passphrase()
            with repository.lock("key add"):
                made = keys.add_passphrase(passphrase, now())
    context.say(f"key {made[:12]} added; earlier ones still open the repository")


@command.command("remove", short_help="Remove a key.")
@click.argument("key_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(context: Context, key_id: str, yes: bool) -> None:
    """Remove a key, never the one that opens the repository now, nor the last passphrase."""
    from backupd.cli.passphrase import at_terminal

    if not yes and not at_terminal():
        raise UsageError(f'remove key "{key_id}": nobody to ask', "add --yes")
    with _open(context, context.access()) as (repository, keys):
        if not yes:
            click.confirm(f"remove the key {key_id}?", abort=True, err=True)
        with repository.lock("key remove"):
            gone = keys.remove(key_id)
            left = [key.kind for key in keys.all()]
    context.say(f"key {gone.id[:12]} ({gone.kind}) removed")
    context.say(
        "whoever has a copy of its file and knew it still reads what was stored: if it leaked,"
        " make a new repository"
    )
    if "recovery" not in left:
        context.say("no recovery key is left; next: `backupd key add --recovery`")


@command.command("export", short_help="Print the master key for a safe.")
@click.option("--output", type=_FILE, help="Write it to a new file instead of stdout.")
@click.pass_obj
def export(context: Context, output: Path | None) -> None:
    """Print the master key for a safe: it opens the repository without any key file, for ever."""
    from backupd.cli.passphrase import check_handover, write_secret

    if output is not None:
        check_handover(output, context.path())
    with _open(context, context.access()) as (_, keys):
        text = keys.master_text()
    if output is not None:
        write_secret(output, text)
    else:
        click.echo(text)
    context.say("whoever has this reads everything, and it cannot be removed: keep it on paper")


@command.command("recover", short_help="Open with a recovery key, set a new passphrase.")
@click.option("--recovery-key-file", type=_FILE, help="Read the recovery key from there.")
@click.pass_obj
def recover(context: Context, recovery_key_file: Path | None) -> None:
    """Open with a recovery key, or an exported master key, and set a new passphrase."""
    from backupd.cli.passphrase import new_passphrase, typed_recovery_key
    from backupd.store.repository import Access

    access = Access(recovery_key=lambda: typed_recovery_key(recovery_key_file), cache="memory")
    with _open(context, access) as (repository, keys):
        passphrase = new_passphrase()
        with repository.lock("key recover"):
            made = keys.add_passphrase(passphrase, now())
    context.say(f"key {made[:12]} added; store the new passphrase where the daemon finds it")
    context.say("next: `backupd key list`, and remove the passphrases that are lost")


@contextmanager
def _open(context: Context, access: Access) -> Iterator[tuple[Repository, OpenKeys]]:
    from backupd.store.repository import Repository

    with Repository.open(context.path(), access=access) as repository:
        if repository.keys is None:
            raise UsageError(
                f'use keys of "{repository.path}": the repository is not encrypted',
                "make an encrypted one with init --encrypt and import the exports there",
            )
        yield repository, repository.keys
