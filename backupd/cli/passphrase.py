"""Passphrases and recovery keys at a terminal, and what stands in for one where there is none."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.errors import UsageError

if TYPE_CHECKING:
    from backupd.wiring import Ask

_PROOFS = 2
_ATTEMPTS = 3


def at_terminal() -> bool:
    """Return whether there is a person who reads and types."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def asker() -> Ask | None:
    """Return what asks the person for a secret, or None where there is nobody."""
    return _ask if at_terminal() else None


def new_passphrase() -> str:
    """Return a new passphrase: typed twice at a terminal, else the first line of stdin.

    Raises:
        UsageError: it is too short.
    """
    from backupd.store.keys import check_passphrase

    if at_terminal():
        text: str = click.prompt(
            "new passphrase", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        text = sys.stdin.readline().removesuffix("\n")
    check_passphrase(text)
    return text


def check_handover(file: Path | None, repository: Path) -> None:
    """Refuse, before anything is made, a recovery key that nobody would receive.

    Raises:
        UsageError: no terminal and no file, or a file that exists or lies in the repository.
    """
    if file is None:
        if not at_terminal():
            raise UsageError(
                "show recovery key: there is nobody at a terminal", "add --recovery-key-file FILE"
            )
        return
    if file.exists() or file.is_symlink():
        raise UsageError(
            f'write recovery key to "{file}": it exists already', "choose another name"
        )
    if file.resolve().is_relative_to(repository.resolve()):
        raise UsageError(
            f'write recovery key to "{file}": it lies in the repository that it opens',
            "choose a place on another medium",
        )


def hand_over(text: str, file: Path | None) -> None:
    """Give a new recovery key away: into a file, else shown and partly typed back.

    Raises:
        click.Abort: the person gave up, or typed it wrong too often.
    """
    if file is not None:
        write_secret(file, text)
        click.echo(f"recovery key written to {file}: move it to a safe place", err=True)
        return
    click.echo("\nThe recovery key opens the repository when the passphrase is lost.", err=True)
    click.echo("Write it down now, and keep it away from this machine. It is shown once:", err=True)
    click.echo(f"\n    {text}\n", err=True)
    groups = text.split("-")
    for number in sorted(secrets.SystemRandom().sample(range(len(groups)), _PROOFS)):
        _prove(groups[number], number)


def typed_recovery_key(file: Path | None) -> str:
    """Return a recovery key: from a file, else typed.

    Raises:
        UsageError: the file cannot be read, or there is nobody to ask.
    """
    if file is not None:
        try:
            return file.read_text(encoding="ascii", errors="replace")[:1000].strip()
        except OSError as error:
            raise UsageError(
                f'read recovery key from "{file}": {error.strerror}',
                "name the file that init or key add wrote, or type the key at a terminal",
            ) from error
    if not at_terminal():
        raise UsageError("read recovery key: nobody to ask", "add --recovery-key-file FILE")
    text: str = click.prompt("recovery key", err=True)
    return text


def write_secret(file: Path, text: str) -> None:
    """Write a line to a new file that only its owner can read, durable.

    Raises:
        WriteFailed, StorageFull: the disk refuses.
    """
    from backupd.store.fsio import FileSystem, NewFile, temporary

    files = FileSystem()
    with NewFile(files, temporary(file.parent)) as made:
        made.write(text.encode() + b"\n")
        digest = made.seal(0o600)
        files.publish(made.path, file, digest)


def _ask(what: str) -> str:
    text: str = click.prompt(what, hide_input=True, err=True)
    return text


def _prove(group: str, number: int) -> None:
    for _ in range(_ATTEMPTS):
        typed = click.prompt(f"type its group {number + 1} to prove that you have it", err=True)
        if typed.strip().upper() == group:
            return
        click.echo("that is another group", err=True)
    raise click.Abort
