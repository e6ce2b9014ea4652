"""Notices about a delivery on its way: waiting, failing, needing a person, over. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from backupd.notice.model import ExportMail, Notice, Severity, faults_of
from backupd.notice.words import amount, cause, count, moment, plain, shorten, span, within

_WHY = {
    "challenged": "the server wants to see a browser before it hands out the export",
    "sign-in-or-dead": (
        "the server refuses the link and does not say why. Most likely the link works only in a "
        "browser that is signed in to the ChatGPT account, but a link that died early may be "
        "refused in the same way"
    ),
    "ended-early": (
        "the server says that the link has ended, although its time is not over. That may be so, "
        "or it may be what it says to everybody who is not signed in"
    ),
    "too-big": "the export is larger than `max_size` in [download] allows",
    "session-refused": "the server does not accept the session that backupd signs in with",
    "session-missing": "what backupd signs in with is missing, unusable, or has ended",
    "wrong-account": (
        "the server accepts the session that backupd signs in with, but does not give it this "
        "export: it is probably of another ChatGPT account"
    ),
}
_RENEWABLE = ("session-refused", "session-missing", "wrong-account")
_PERHAPS_DEAD = ("sign-in-or-dead", "ended-early")
_SIGN_IN = "the link works only in a browser that is signed in to the ChatGPT account"
REQUEST_AGAIN = (
    "request a new export at chatgpt.com (Settings, Data controls, Export data); its mail comes "
    "within minutes to seven days, and backupd waits for it"
)


def sign_in_needed(
    *,
    delivery: str,
    time_left: timedelta,
    host: str | None = None,
    file_name: str | None = None,
    drop_folder: str | None = None,
    kind: str = "sign-in-needed",
    credential: str | None = None,
    deadline: datetime | None = None,
) -> Notice:
    """Only a person can fetch this export; `kind` is the download's outcome.

    `credential` is the name of what signs in, where something does.
    """
    by = f"before {moment(deadline)}" if deadline and time_left else within(time_left)
    named = f" (the file is called {shorten(file_name)})" if file_name else ""
    at = f" from {plain(host)}" if host else ""
    return Notice(
        event="sign_in_needed",
        severity=Severity.WARNING,
        title=f"An export needs you {within(time_left)}",
        body=(
            f"An export is ready, but backupd cannot fetch it{at}: {_WHY.get(kind, _SIGN_IN)}. "
            "All stored exports are safe, and backupd tries again now and then.\n"
            f"What to do {by}: open the newest export mail from OpenAI in a "
            "browser that is signed in to that ChatGPT account and click its download button"
            f"{named}. {_hand_in(drop_folder)}{_renew(kind, credential)}{_or_dead(kind)}"
        ),
        delivery=delivery,
        fault=f"delivery:{delivery}:needs-you",
        clears=(f"delivery:{delivery}:failing",),
        fields={"seconds_left": int(time_left.total_seconds()), "outcome": plain(kind)},
    )


def _renew(kind: str, credential: str | None) -> str:
    if credential is None or kind not in _RENEWABLE:
        return ""
    return (
        f'\nOr renew the credential "{plain(credential)}" (`backupd secret set '
        f"{plain(credential)}`, or where it comes from; `backupd session test` says what is wrong "
        "with it): backupd then fetches the export by itself, a few minutes later."
    )


def _or_dead(kind: str) -> str:
    if kind not in _PERHAPS_DEAD:
        return ""
    return f"\nIf the link does not work there either, it is dead: {REQUEST_AGAIN}."


def _hand_in(drop_folder: str | None) -> str:
    if drop_folder:
        return (
            f"Put the finished ZIP, unchanged, into {plain(drop_folder)}: backupd stores it within "
            "a minute and this alarm is over."
        )
    return "Then run `backupd import FILE` on the finished, unchanged ZIP: this alarm is then over."


def download_failed(
    *,
    delivery: str,
    kind: str,
    detail: str,
    attempts: int,
    next_attempt: timedelta,
    time_left: timedelta,
) -> Notice:
    """A download failed several times; trying goes on until the link dies."""
    return Notice(
        event="download_failed",
        severity=Severity.WARNING,
        title="An export could not be fetched yet",
        body=(
            f"{count(attempts, 'attempt')} failed, the last one because: {cause(detail)}. "
            "All stored exports are safe; what has arrived of this one is kept and continued.\n"
            f"The next attempt is in {span(next_attempt)}; attempts go on until the link is dead, "
            f"which is expected {_expected(time_left)}.\n"
            "What to do: check this machine's network if other things fail too. To be sure, open "
            "the export mail in a browser, download the ZIP and run `backupd import FILE`."
        ),
        delivery=delivery,
        fault=f"delivery:{delivery}:failing",
        fields={
            "outcome": plain(kind),
            "attempts": attempts,
            "seconds_left": int(time_left.total_seconds()),
        },
    )


def _expected(left: timedelta) -> str:
    return f"in {span(left)}" if left > timedelta(0) else "any moment"


def deadline_near(
    *,
    delivery: str,
    level: int,
    mail: ExportMail,
    deadline: datetime,
    now: datetime,
    needs_you: bool,
    attempts: int,
    drop_folder: str | None = None,
) -> Notice:
    """`level` per cent of the link's life are over and the export is not here yet.

    All of it may be over, if the machine slept: the link is then tried all the same.
    """
    urgent, time_left = level >= 90, deadline - now
    over = time_left <= timedelta(0)
    if needs_you:
        state = "It waits for you: backupd cannot fetch it by itself."
    else:
        state = f"backupd goes on trying; so far {count(attempts, 'attempt')} did not succeed."
    return Notice(
        event="deadline_near",
        severity=Severity.ERROR if urgent else Severity.WARNING,
        title=(
            "An export is not here yet, and its link should be dead by now"
            if over
            else f"{span(time_left)} left to fetch an export".capitalize()
        ),
        body=(
            f"{_how_late(level, deadline, over=over)} {state} All stored exports are safe.\n"
            f"What to do {'at once' if over else f'before {moment(deadline)}'}: open the export "
            f"mail of {moment(mail.sent_at)}{_in_mailbox(mail)} in a browser that is signed in to "
            f"that ChatGPT account, and click its download button. {_hand_in(drop_folder)}"
            f"{f' If the link is dead there, too, {REQUEST_AGAIN}.' if over else ''}"
        ),
        delivery=delivery,
        fault=f"delivery:{delivery}:deadline-{level}",
        fields={
            "level": level,
            "attempts": attempts,
            "seconds_left": max(int(time_left.total_seconds()), 0),
        },
    )


def _how_late(level: int, deadline: datetime, *, over: bool) -> str:
    if over:
        return (
            f"The time in which the export's link works ended on {moment(deadline)}, as far as can "
            "be told; only trying it tells for sure."
        )
    return (
        f"{level} % of the time in which the export's link works are over: it is expected to die "
        f"on {moment(deadline)}."
    )


def _in_mailbox(mail: ExportMail) -> str:
    return f' in mailbox "{plain(mail.mailbox)}"' if mail.mailbox else ""


def expired(*, delivery: str, attempts: int, reason: str) -> Notice:
    """The link died before the export was here."""
    return Notice(
        event="expired",
        severity=Severity.ERROR,
        title="An export was missed: its link is dead",
        body=(
            f"The export could not be fetched before its link died, in {count(attempts, 'attempt')}"
            f": {cause(reason)}. This one export is lost; every stored export is safe, and "
            "the next one holds all conversations that still exist then.\n"
            f"What to do: {REQUEST_AGAIN}. If you downloaded the ZIP in time yourself, run "
            "`backupd import FILE`."
        ),
        delivery=delivery,
        clears=faults_of(delivery),
        fields={"attempts": attempts},
    )


def disk_low(*, delivery: str | None, missing: int, time_left: timedelta | None) -> Notice:
    """The disk has no room for an export; `missing` bytes must be freed at least."""
    until = f" {within(time_left)}, while the link works" if time_left is not None else ""
    return Notice(
        event="disk_low",
        severity=Severity.ERROR,
        title=f"The disk is full: {amount(missing)} are missing for an export",
        body=(
            "An export cannot be fetched or stored, because the file system of the repository has "
            "too little room. All stored exports are safe, and nothing of them was removed.\n"
            f"What to do: free at least {amount(missing)} there{until}. backupd tries again by "
            "itself."
        ),
        delivery=delivery,
        fault="disk",
        fields={"missing_bytes": missing},
    )
