"""`backupd demo`: the whole job on this machine."""

from __future__ import annotations

import click

from backupd.errors import UsageError


@click.command("demo")
def command() -> int:
    """Run the real daemon against servers on loopback; takes about half a minute."""
    try:
        from backupd.demo.run import run_demo
    except ModuleNotFoundError as error:
        raise UsageError(
            f"demo: the package {error.name} is not installed",
            "install backupd with its extra: pipx install 'backupd[demo]'",
        ) from error
    return run_demo()
