"""The `backupd` command: its verbs, its global options, and what an error looks like.

Verbs are loaded when they are used, so that `--help` stays quick. Data goes to stdout, everything
else to stderr.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from pathlib import Path

import click

from backupd import __version__
from backupd.cli import streams
from backupd.cli.context import Context
from backupd.errors import BackupdError, ConfigError, ExitCode
from backupd.notice import plain

log = logging.getLogger(__name__)

VERBS = {
    "approve": "Fetch an export whose mail could not be proven, knowingly.",
    "check": "Find damage in the repository.",
    "completion": "Print the completion script of a shell.",
    "config": "Generate, validate or show the configuration.",
    "demo": "Do the whole job on this machine; nothing of yours is touched.",
    "diff": "Compare two snapshots, or two versions of a conversation.",
    "doctor": "Check everything that backupd needs, with the fix for what is missing.",
    "forget": "Drop snapshots by a policy; what must not be lost stays.",
    "history": "Show the versions of a conversation.",
    "import": "Store export ZIPs by hand.",
    "init": "Make a repository.",
    "key": "Manage the keys of an encrypted repository.",
    "notices": "Show the notice log.",
    "notify": "Try the notification channels.",
    "pin": "Let no policy forget a snapshot.",
    "poll": "Look once at the mailboxes and the drop folder.",
    "prune": "Give back the space of what was forgotten.",
    "rebuild": "Make catalog and object index anew from the packs.",
    "requested": "Note that an export was asked for.",
    "restore": "Give an export back, byte for byte.",
    "run": "Run the daemon.",
    "search": "Find words in every conversation, those that are gone included.",
    "secret": "Set, test or delete a credential.",
    "session": "See whether downloads can be signed in; sign in to the browser.",
    "show": "Read a conversation, any version, any branch.",
    "snapshots": "List what is stored.",
    "stats": "Show what the repository holds and what it saves.",
    "status": "Say in one look whether all is well.",
    "unpin": "Let policies forget a snapshot again.",
}
"""Every verb with its one line of help; `cli/<verb>.py` holds the command."""
_MODULES = {"import": "import_"}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in VERBS:
            return None
        module = importlib.import_module(f"backupd.cli.{_MODULES.get(name, name)}")
        command: click.Command = module.command
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, VERBS[name]) for name in sorted(VERBS)])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="backupd %(version)s")
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BACKUPD_CONFIG",
    help="The configuration file.",
)
@click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BACKUPD_REPOSITORY",
    help="The repository; store verbs then need no configuration.",
)
@click.option("-v", "--verbose", count=True, help="Say more; twice for debugging.")
@click.option("-q", "--quiet", is_flag=True, help="Say only errors.")
@click.option("--no-color", is_flag=True, envvar="NO_COLOR", help="Write without colour.")
@click.pass_context
def cli(
    ctx: click.Context,
    config_file: Path | None,
    repository: Path | None,
    verbose: int,
    quiet: bool,
    no_color: bool,
) -> None:
    """Keep every ChatGPT export: watch the mailbox, fetch in time, give back exactly."""
    _log_to_stderr(verbose, quiet)
    ctx.color = False if no_color else None
    ctx.obj = Context(config_file, repository, quiet)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code of `docs/exit-codes.md`."""
    os.umask(0o077)
    streams.prepare()
    return streams.finish(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        result = cli.main(args=arguments, prog_name="backupd", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (click.Abort, KeyboardInterrupt) as leaving:
        click.echo(_left(leaving), err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except BackupdError as error:
        _show(error)
        return error.exit_code
    except Exception as error:
        if isinstance(error, OSError) and streams.is_of_output(error):
            return streams.give_up(error)
        if isinstance(error, OSError) and error.filename is not None:
            _show(_of_file(error))
            return ExitCode.FAILED
        log.debug("internal error", exc_info=error)
        _show(_internal(error))
        return ExitCode.FAILED
    return int(result) if isinstance(result, int) else ExitCode.OK


def _left(leaving: BaseException) -> str:
    """Say that a person stopped it: by Ctrl-C, or by saying no to what was asked."""
    by_key = isinstance(leaving.__cause__ or leaving, EOFError | KeyboardInterrupt)
    return "interrupted; nothing that is stored was harmed" if by_key else "not done"


def _of_file(error: OSError) -> BackupdError:
    """Return what to say of a file that the system refused, where no room has words for it."""
    cause = (error.strerror or "failed").lower()
    hint = (
        "run as the user that owns it, or let this user in"
        if isinstance(error, PermissionError)
        else "look at that place and its disk; nothing that is stored was harmed"
    )
    return BackupdError(f'use "{plain(os.fsdecode(error.filename))}": {cause}', hint)


def _internal(error: Exception) -> BackupdError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return BackupdError(
        f"internal error: {type(error).__name__} in {Path(place.filename).name}:{place.lineno}",
        "nothing that is stored was harmed; run again with -vv and report what it shows",
    )


def _show(error: BackupdError) -> None:
    click.echo(f"error: {error.message}", err=True)
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(f"  - {problem}", err=True)
    if error.hint:
        click.echo(f"next: {error.hint}", err=True)


def _log_to_stderr(verbose: int, quiet: bool) -> None:
    level = logging.ERROR if quiet else {0: logging.WARNING, 1: logging.INFO}.get(verbose, 10)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    logging.getLogger("backupd").setLevel(level)
