"""`backupd run`: the daemon."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, now
from backupd.errors import BackupdError

if TYPE_CHECKING:
    from backupd.config import Settings
    from backupd.credentials import Credentials
    from backupd.intake.rooms import Rooms


@click.command("run")
@click.pass_obj
def command(context: Context) -> None:
    """Watch the mailboxes and drop folders until SIGTERM; SIGHUP reloads the configuration."""
    from backupd.daemon.service import Service

    if logging.getLogger("backupd").level == logging.WARNING:
        logging.getLogger("backupd").setLevel(logging.INFO)
    Service(context.settings, _open).run()


def _open(settings: Settings) -> tuple[Rooms, Credentials]:
    """Open everything; a keyring that is locked is worth another start, a missing secret is not.

    The unit does not restart after the exit code of a credential, but a person unlocks the keyring
    of a desktop some time after the session began.
    """
    from backupd.credentials import KeyringLocked
    from backupd.wiring import open_rooms

    try:
        return open_rooms(settings, now)
    except KeyringLocked as error:
        raise BackupdError(error.message, error.hint) from error
