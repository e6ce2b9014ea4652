"""Everything that backupd needs, looked at one by one; each finding comes with its fix."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from backupd import notice
from backupd.config import MailboxSettings, Settings, cautions
from backupd.credentials import Credentials
from backupd.errors import BackupdError
from backupd.export import encoders, selftest
from backupd.intake.mailkeys import is_signed_in, mail_key, untold
from backupd.intake.overview import privacy
from backupd.intake.sessions import Look, Outlook, looks
from backupd.intake.ways import Ways, choices
from backupd.ledger.db import open_database
from backupd.ledger.messages import Messages
from backupd.mail.discovery import survey
from backupd.mail.mailbox import probe
from backupd.store.derived import lies_in_memory
from backupd.store.repository import Access, Repository

BUILT = datetime(2026, 11, 1, tzinfo=UTC)
"""A clock before this is wrong: the program did not exist yet."""
ROOM = 10 * 2**30
"""Bytes of free disk under which an export of several GB may not fit."""


class Verdict(StrEnum):
    """How one check ended."""

    OK = "ok"
    CAUTION = "caution"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was seen, what to do about it."""

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""


def examine(
    settings: Settings, credentials: Credentials, access: Access, now: datetime
) -> Iterator[Finding]:
    """Yield the findings one by one; mailboxes are logged in to, nothing is changed."""
    yield _python()
    yield _zlib()
    yield _encoders()
    yield _clock(now)
    yield from (Finding("configuration", Verdict.CAUTION, text) for text in cautions(settings))
    yield from _repository(settings, access)
    yield _disk(settings)
    yield _guarded("state directory", partial(_writable, settings.state.path))
    for name, mailbox in settings.mailboxes.items():
        yield _guarded(
            f"credential {mailbox.credential}", partial(_source, credentials, mailbox.credential)
        )
        secret = partial(_secret, settings.state.path, credentials, mailbox, now)
        login = _guarded(f"mailbox {name}", partial(_mailbox, mailbox, secret))
        yield login
        if mailbox.drop_folder is not None:
            yield _guarded("drop folder", partial(_writable, mailbox.drop_folder))
        if login.verdict is Verdict.OK:  # a refused login is not repeated
            yield _verdicts(name, mailbox, secret, now)

    yield from sessions_at_hand(settings, credentials, now)


def sessions_at_hand(
    settings: Settings, credentials: Credentials, now: datetime
) -> Iterator[Finding]:
    """Yield what is to be said of each session; nothing is sent."""
    if not any(choice.signs_in for choice in choices(settings)):
        return
    try:
        seen = _looks(settings, credentials, now)
    except BackupdError as error:
        yield Finding("sessions", Verdict.FAILED, error.message, error.hint)
        return
    for look in seen:
        end = f", ends {look.until:%Y-%m-%d %H:%M} UTC" if look.until else ""
        verdict = _OUTLOOKS.get(look.outlook, Verdict.FAILED)
        fix = "" if verdict is Verdict.OK else look.hint
        yield Finding(f"session [{look.choice.place}]", verdict, f"{look.detail}{end}", fix)


def _looks(settings: Settings, credentials: Credentials, now: datetime) -> list[Look]:
    database = open_database(settings.state.path / "ledger.sqlite")  # for what was renewed
    try:
        due = now + settings.schedule.remind_after
        return list(looks(Ways(settings, credentials, Messages(database)), now, due))
    finally:
        database.close()


_OUTLOOKS = {
    Outlook.READY: Verdict.OK,
    Outlook.EXPIRING: Verdict.CAUTION,
    Outlook.UNKNOWN: Verdict.CAUTION,
}


def _guarded(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, Verdict.OK, look())
    except BackupdError as error:
        return Finding(check, Verdict.FAILED, error.message, error.hint)


def _source(credentials: Credentials, name: str) -> str:
    return f"comes from {credentials.source(name)}"


def _mailbox(mailbox: MailboxSettings, secret: Callable[[], str]) -> str:
    return probe(mailbox, secret())


def _secret(state: Path, credentials: Credentials, mailbox: MailboxSettings, now: datetime) -> str:
    """Return what logs in to a mailbox."""
    if not is_signed_in(mailbox):
        return credentials.get(mailbox.credential)
    database = open_database(state / "ledger.sqlite")  # for what the provider may exchange
    try:
        messages = Messages(database)
        return mail_key(mailbox, credentials, messages, lambda: now, untold).get()
    finally:
        database.close()


def _verdicts(
    name: str, mailbox: MailboxSettings, secret: Callable[[], str], now: datetime
) -> Finding:
    """Compare `authserv_id` with who writes verdicts into the mails that are there."""
    check = f"verdicts in {name}"
    try:
        writers = survey(mailbox, secret(), now.date())
    except BackupdError as error:
        return Finding(check, Verdict.FAILED, error.message, error.hint)
    known = {one.lower() for one in mailbox.authserv_ids}
    if not writers.mails or any(one.name in known for one in writers.found):
        return Finding(check, Verdict.OK, writers.told())
    best = writers.suggestion()
    if best is not None:
        fix = f'if {best.name} belongs to your mail provider, set authserv_id = "{best.name}"'
    else:
        fix = (
            "set authserv_id to the name that your mail server writes first in"
            " Authentication-Results; if it writes none, OpenAI's own signature must prove a mail"
        )
    return Finding(check, Verdict.CAUTION, writers.told(), fix)


def _python() -> Finding:
    return Finding("python", Verdict.OK, sys.version.split()[0])


def _zlib() -> Finding:
    version = selftest.zlib_version()
    if selftest.zlib_reproduces():
        return Finding("zlib", Verdict.OK, f"{version} reproduces exports")
    seen = f"{version} packs differently from the one that exports are made with"
    fix = f"{selftest.REMEDY}; members can be restored meanwhile"
    return Finding("zlib", Verdict.FAILED, seen, fix)


def _encoders() -> Finding:
    """Say which packing libraries are here; most exports need none of them."""
    here = [f"{name} {encoders.version(name)}" for name in encoders.installed()]
    missing = encoders.missing()
    seen = f"zlib; also {', '.join(here)}" if here else "zlib"
    if missing:
        seen += f"; not here: {', '.join(missing)}, which few exports need ({encoders.EXTRA})"
    return Finding("encoders", Verdict.OK, seen)


def _clock(now: datetime) -> Finding:
    if now < BUILT:
        return Finding("clock", Verdict.FAILED, now.isoformat(), "set the machine's clock")
    return Finding("clock", Verdict.OK, now.isoformat(timespec="seconds"))


def _repository(settings: Settings, access: Access) -> Iterator[Finding]:
    try:
        repository = Repository.open(settings.repository.path, access=access)
    except BackupdError as error:
        yield Finding("repository", Verdict.FAILED, error.message, error.hint)
        return
    with repository:
        yield _guarded("repository", lambda: _structure(repository))
        yield _encryption(repository)


def _encryption(repository: Repository) -> Finding:
    seen, fix = privacy(repository), ""
    if repository.keys is not None:
        kinds = [key.kind for key in repository.keys.all()]
        counts = f"{kinds.count('passphrase')} passphrase(s), {kinds.count('recovery')} recovery"
        seen = f"{seen}; {counts} key(s)"
        if "recovery" not in kinds:
            fix = "make a recovery key: `backupd key add --recovery`"
        elif repository.derived is not None and not lies_in_memory(repository.derived):
            fix = 'set cache = "runtime" or "memory" in [repository]'
    return Finding("encryption", Verdict.CAUTION if fix else Verdict.OK, seen, fix)


def _structure(repository: Repository) -> str:
    report = repository.check()
    if report.problems:
        raise BackupdError(
            f"check repository: {len(report.problems)} problem(s),"
            f" the first: {report.problems[0].text}",
            "run `backupd check --read-data`",
        )
    return f"{report.snapshots} snapshots, structure without damage"


def _writable(directory: Path) -> str:
    """Look whether files can be made in a directory and removed from it."""
    if not directory.is_dir():
        raise BackupdError(
            f'use "{directory}": there is no such directory', "make it, or correct the path"
        )
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise BackupdError(
            f'use "{directory}": not open to this user',
            "let the user that runs backupd read and write there",
        )
    return f"{directory} can be read and written"


def _disk(settings: Settings) -> Finding:
    place = settings.repository.path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    seen = f"{notice.amount(free)} free for the repository"
    if free >= ROOM:
        return Finding("disk", Verdict.OK, seen)
    return Finding("disk", Verdict.CAUTION, seen, "an export may be several GB: make room")
