"""Notices about mailboxes and about mails that came in. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from backupd.notice.model import Notice, Severity, faults_of
from backupd.notice.words import cause, plain, span, within


def export_started(*, mailbox: str) -> Notice:
    """OpenAI confirmed that an export was asked for."""
    return Notice(
        event="export_started",
        severity=Severity.INFO,
        title="An export was requested",
        body=(
            f'OpenAI confirmed the request in mailbox "{plain(mailbox)}". The export itself comes '
            "by another mail, minutes to seven days from now; its link lives for 24 hours.\n"
            "Nothing to do: backupd waits for that mail and tells you if it does not come."
        ),
        fields={"mailbox": plain(mailbox)},
    )


def mail_found(*, delivery: str, mailbox: str, host: str, time_left: timedelta) -> Notice:
    """A proven mail with a download link was found; the download begins."""
    return Notice(
        event="mail_found",
        severity=Severity.INFO,
        title="An export is ready and is being fetched",
        body=(
            f'A proven mail from OpenAI in mailbox "{plain(mailbox)}" holds a link to '
            f"{plain(host)}. The link is expected to live for another {span(time_left)}.\n"
            "Nothing to do: the download begins now, and you are told how it ends."
        ),
        delivery=delivery,
        clears=faults_of(delivery),
        fields={
            "mailbox": plain(mailbox),
            "host": plain(host),
            "seconds_left": int(time_left.total_seconds()),
        },
    )


def mail_refused(
    *, mailbox: str, sender: str | None, reason: str, delivery: str | None = None
) -> Notice:
    """A mail looked like an export mail, but could not be proven or held no acceptable link."""
    by = f" that says it is from {plain(sender, 120)}" if sender else ""
    return Notice(
        event="mail_refused",
        severity=Severity.WARNING,
        title="A mail about an export was refused",
        body=(
            f'A mail in mailbox "{plain(mailbox)}"{by} looks like an export mail, but was not '
            f"acted upon: {cause(reason)}.\n"
            f"Nothing was {'stored' if delivery else 'fetched'} from it, the mail was not touched, "
            "and all stored exports are safe.\n"
            "What to do: if you did not request an export, take it for a forgery and do not click "
            "anything in it. If you did, open chatgpt.com yourself, not through the mail, and see "
            "Settings, Data controls; a link in a genuine mail dies 24 hours after the mail. "
            "A ZIP that you download yourself is stored with `backupd import FILE`."
        ),
        delivery=delivery,
        clears=faults_of(delivery),
        fields={"mailbox": plain(mailbox), "reason": cause(reason)},
    )


def approval_wanted(
    *,
    delivery: str,
    mailbox: str,
    sender: str,
    reason: str,
    host: str,
    time_left: timedelta,
) -> Notice:
    """A mail has a link of OpenAI's, but nothing proves it; a person may let it through."""
    command = f"backupd approve {plain(delivery)}"
    return Notice(
        event="mail_refused",
        severity=Severity.WARNING,
        title=f"A mail about an export is not proven: it needs you {within(time_left)}",
        body=(
            f'A mail in mailbox "{plain(mailbox)}" that says it is from {plain(sender, 120)} holds '
            f"an export link to {plain(host)}, but nothing proves that OpenAI sent it: "
            f"{cause(reason)}.\n"
            "Nothing was fetched from it, the mail was not touched, and all stored exports are "
            "safe.\n"
            "What to do: if you did not request an export, take it for a forgery: click nothing in "
            f"it, and leave it or run `{command} --reject`. If you did, and the mail looks as it "
            f"should, run `{command}` {within(time_left)}: it shows what is known, asks, and the "
            "export is then fetched like any other. Unanswered, this ends by itself."
        ),
        delivery=delivery,
        fault=f"delivery:{delivery}:approval",
        fields={
            "mailbox": plain(mailbox),
            "reason": cause(reason),
            "seconds_left": int(time_left.total_seconds()),
        },
    )


def approval_closed(*, delivery: str, reason: str) -> Notice:
    """Nobody will be asked about an unproven mail any more."""
    return Notice(
        event="approval_closed",
        severity=Severity.INFO,
        title="A mail that was not proven is let go",
        body=(
            f"Nothing was fetched from it, and its link is erased: {cause(reason)}.\n"
            "Nothing to do. If you did request an export and none comes, request another one at "
            "chatgpt.com (Settings, Data controls, Export data)."
        ),
        delivery=delivery,
        clears=faults_of(delivery),
    )


def mailbox_unreachable(*, mailbox: str, reason: str, since: datetime) -> Notice:
    """A mail server cannot be reached; trying goes on."""
    return Notice(
        event="mailbox_unreachable",
        severity=Severity.WARNING,
        title=f'Mailbox "{plain(mailbox)}" cannot be reached',
        body=(
            f"No contact since {since:%Y-%m-%d %H:%M} UTC: {cause(reason)}.\n"
            "All stored exports are safe. backupd goes on trying by itself and reads everything "
            "that came in meanwhile, but an export link dies 24 hours after its mail: an outage "
            "longer than that can cost an export.\n"
            "What to do: if this lasts for more than a few hours, look at the mail server and at "
            "this machine's network. You are told once when it works again."
        ),
        fault=f"mailbox:{mailbox}:unreachable",
        fields={"mailbox": plain(mailbox)},
    )


def mailbox_refused(*, mailbox: str, reason: str, sign_in: str | None = None) -> Notice:
    """A mail server refused the login; trying has stopped.

    `sign_in` names the credential of a mailbox that a person signs in to by OAuth2.
    """
    name = plain(mailbox)
    step = (
        "put the right password where it comes from (for the keyring: `backupd secret set "
        f"imap-{name}`, unless the configuration names another credential), check `username`, "
        "then `systemctl restart backupd`."
        if sign_in is None
        else f"sign in again: `backupd secret set {plain(sign_in)} --oauth`, with the account that "
        "the mailbox belongs to, then `systemctl restart backupd`."
    )
    return Notice(
        event="mailbox_refused",
        severity=Severity.ERROR,
        title=f'Mailbox "{name}" refuses the login',
        body=(
            f"{cause(reason)[:1].upper()}{cause(reason)[1:]}.\n"
            "All stored exports are safe, but this mailbox is not watched any more: backupd does "
            "not repeat a refused login, so that the account is not locked. An export link that "
            f"arrives now dies in 24 hours.\nWhat to do: {step}"
        ),
        fault=f"mailbox:{mailbox}:refused",
        clears=(f"mailbox:{mailbox}:unreachable",),
        fields={"mailbox": name},
    )


def sign_in_ending(*, mailbox: str, credential: str, left: timedelta, ends_at: datetime) -> Notice:
    """The provider told when a mailbox's sign-in ends, and that is soon."""
    name = plain(mailbox)
    return Notice(
        event="sign_in_ending",
        severity=Severity.WARNING,
        title=f'The sign-in to mailbox "{name}" ends in {span(left)}',
        body=(
            f"The provider lets backupd read this mailbox until {ends_at:%Y-%m-%d %H:%M} UTC and "
            "no longer. Until then everything works, and all stored exports are safe; after that "
            "no export mail is seen, and its link dies in 24 hours.\n"
            f"What to do within {span(left)}: sign in again: `backupd secret set "
            f"{plain(credential)} --oauth`, then `systemctl restart backupd`. If this comes every "
            "week, see docs/providers.md on Google's testing status."
        ),
        fault=f"sign-in:{mailbox}",
        fields={"mailbox": name, "seconds_left": int(left.total_seconds())},
    )


def sign_in_renewed(*, mailbox: str) -> Notice:
    """A sign-in lasts again; told once, and only if its end had been told."""
    return Notice(
        event="sign_in_renewed",
        severity=Severity.INFO,
        title=f'The sign-in to mailbox "{plain(mailbox)}" lasts again',
        body="The provider let backupd in with the new sign-in. Nothing to do.",
        clears=(f"sign-in:{mailbox}",),
        recovery=True,
        fields={"mailbox": plain(mailbox)},
    )


def mailbox_recovered(*, mailbox: str) -> Notice:
    """A mailbox works again; told once, and only if a fault had been told."""
    return Notice(
        event="mailbox_recovered",
        severity=Severity.INFO,
        title=f'Mailbox "{plain(mailbox)}" works again',
        body="The login succeeded, and mails that came in meanwhile are being read. Nothing to do.",
        clears=(f"mailbox:{mailbox}:*",),
        recovery=True,
        fields={"mailbox": plain(mailbox)},
    )
