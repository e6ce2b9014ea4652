"""Which servers write verdicts into the mails of a mailbox: a suggestion for `authserv_id`.

Reads headers only, of mails that name openai.com as their sender, else of the newest ones. What is
found is shown to a person with how often it was seen, never used by itself: anybody can write such
a field, and only the person knows whose server takes the mail in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from backupd.mail.cursor import SearchPlan
from backupd.mail.guard import Guard
from backupd.mail.login import ServerSettings
from backupd.mail.mailbox import SENDER, Session, connect, watched_folders
from backupd.mail.message import Message, MessageRefused, parse, safe
from backupd.mail.results import NAMELESS, read_field

LOOK_BACK = timedelta(days=400)
LOOK_BACK_ANY = timedelta(days=14)
MOST = 50
ENOUGH = 3
_WHOLE_HEADER = "BODY.PEEK[HEADER]"


@dataclass(frozen=True, slots=True)
class Writer:
    """One name under which DMARC verdicts stand on top of mails, in how many, and one of them."""

    name: str
    mails: int
    example: str


@dataclass(frozen=True, slots=True)
class Writers:
    """What the headers of `mails` mails say, the most frequent name first."""

    mails: int
    found: tuple[Writer, ...]

    def suggestion(self) -> Writer | None:
        """Return the name that stands on most of at least three mails, if there is one."""
        best = self.found[0] if self.found else None
        if best is None or best.mails < ENOUGH or 5 * best.mails < 4 * self.mails:
            return None
        return best

    def told(self) -> str:
        """Say what was found in one line."""
        seen = ", ".join(f"{one.name} on {one.mails}" for one in self.found[:5]) or "no server"
        example = f" (such as: {self.found[0].example})" if self.found else ""
        return f"of {self.mails} mails, {seen} gave a DMARC verdict{example}"


def survey(settings: ServerSettings, secret: str, today: date) -> Writers:
    """Log in and look through the headers; nothing is marked.

    Raises:
        MailboxUnreachable, MailboxRefused: as `mailbox.connect`.
    """
    session = connect(settings, secret, Guard())
    try:
        headers: list[bytes] = []
        for folder in watched_folders(session, settings):
            session.examine(folder)
            headers += _headers(session, today - LOOK_BACK, SENDER)
            if len(headers) < ENOUGH:
                headers += _headers(session, today - LOOK_BACK_ANY, "")
            if len(headers) >= MOST:
                break
    finally:
        session.close()
    return writers(headers[:MOST])


def writers(headers: Iterable[bytes]) -> Writers:
    """Count who wrote the topmost verdicts in these headers. Pure; never raises."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    mails = 0
    for header in headers:
        mails += 1
        for name, example in _tops(header):
            counts[name] += 1
            examples.setdefault(name, example)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Writers(mails, tuple(Writer(name, n, examples[name]) for name, n in ranked))


def _headers(session: Session, since: date, sender: str) -> list[bytes]:
    uids = session.search(SearchPlan(1, since), sender)[-MOST:]
    return [summary.header for summary in session.summaries(uids, _WHOLE_HEADER)]


def _tops(header: bytes) -> list[tuple[str, str]]:
    """Return the names that gave a DMARC verdict on top of one mail, each with its verdict."""
    try:
        message = parse(header)
    except MessageRefused:
        return []
    found: dict[str, str] = {}
    for index, value in enumerate(message.authentication_results):
        if message.hops[index] != message.hops[0]:
            break
        name, verdict = _verdict(message, index, value)
        if name and verdict:
            found.setdefault(name, verdict)
    return list(found.items())


def _verdict(message: Message, index: int, value: str) -> tuple[str, str]:
    """Return who wrote a field and the DMARC verdict in it; empty if it has none."""
    name, results = "", read_field(value)
    if results is not None:
        name = results.server
    elif not index and message.taken_in_by[0].lower().endswith(f".{NAMELESS}"):
        name, results = NAMELESS, read_field(f"{NAMELESS}; {value}")
    verdicts = results.of("dmarc") if results is not None else ()
    if not verdicts:
        return "", ""
    about = safe(", ".join(verdicts[0].domains), 80)
    return name, f"dmarc={safe(verdicts[0].result, 20)} header.from={about}"
