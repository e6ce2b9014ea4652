"""`backupd session`: what signs downloads in."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso, now
from backupd.cli.output import when
from backupd.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backupd.intake.sessions import Look


@click.group("session")
def command() -> None:
    """See whether downloads can be signed in, or sign in to the browser's own profile."""


@command.command("login")
@click.argument("account", required=False)
@click.option(
    "--cookies",
    "cookies_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Take over the cookies in this file instead of opening a window; - is stdin.",
)
@click.pass_obj
def login(context: Context, account: str | None, cookies_file: Path | None) -> None:
    """Sign in to the profile of backupd's own browser; ACCOUNT is a name of [accounts]."""
    from backupd.intake.signing_in import account_of, by_cookies, by_window
    from backupd.intake.ways import Ways
    from backupd.ledger.messages import Messages

    settings, moment = context.settings(), now()
    with context.ledger() as ledger:
        ways = Ways(settings, context.credentials(), Messages(ledger))
        choice = account_of(ways, account)
        if cookies_file is not None:
            done = by_cookies(ways, choice, _text(cookies_file), moment)
        else:
            if ways.can_show_windows:
                context.say("sign in to ChatGPT in the window; it then closes by itself")
            done = by_window(ways, choice, settings, moment)
    end = "its end is not known" if done.until is None else f"until {when(done.until)}"
    context.say(f"[{done.place}] signed in by {done.cookies} cookies, {end}")


def _text(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        cause = (error.strerror or "failed").lower()
        raise UsageError(f'read cookies "{file}": {cause}', "check the path") from error
    return raw.decode("utf-8", errors="replace")


@command.command("test")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def test(context: Context, as_json: bool) -> int:
    """Say of every account what signs its downloads in, and until when; nothing is sent.

    Exit code 12 if a session is missing or unusable, 21 if one has ended.
    """
    from backupd.intake.sessions import looks
    from backupd.intake.ways import Ways
    from backupd.ledger.messages import Messages

    settings, moment = context.settings(), now()
    with context.ledger() as ledger:  # for what the server has renewed
        ways = Ways(settings, context.credentials(), Messages(ledger))
        seen = list(looks(ways, moment))
    if as_json:
        emit_json([_json(look) for look in seen])
    else:
        for look in seen:
            _print(look, moment)
        for choice in ways.choices():
            if not choice.signs_in:
                click.echo(f"[{choice.place}] none: links that need a sign-in wait for you")
    return _code(seen)


def _print(look: Look, moment: datetime) -> None:
    from backupd.notice import span

    end = "until an unknown time"
    if look.until is not None:
        left = f"in {span(look.until - moment)}" if look.until > moment else "it is over"
        end = f"until {when(look.until)} ({left})"
    choice = look.choice
    click.echo(f"[{choice.place}] {choice.kind}: {look.outlook}, {end}")
    click.echo(f"    {look.detail}; it is sent to {look.sent_to} only")
    if choice.credential:
        click.echo(f"    credential {choice.credential}")
    if look.outlook != "ready" and look.hint:
        click.echo(f"    next: {look.hint}")


def _json(look: Look) -> dict[str, object]:
    return {
        "place": look.choice.place,
        "session": look.choice.kind.value,
        "credential": look.choice.credential,
        "state": look.outlook.value,
        "until": iso(look.until),
        "sent_to": look.sent_to,
        "detail": look.detail,
    }


def _code(seen: Sequence[Look]) -> ExitCode:
    """Pick the exit code; 12, what cannot be read at all, before 21, what has ended."""
    from backupd.intake.sessions import Outlook

    found = {look.outlook for look in seen}
    if found & {Outlook.MISSING, Outlook.UNUSABLE, Outlook.UNKNOWN}:
        return ExitCode.CREDENTIAL
    return ExitCode.LINK if Outlook.ENDED in found else ExitCode.OK
