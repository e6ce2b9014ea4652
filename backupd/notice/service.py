"""Notices about the service itself: its life, its checks, its reminders. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from backupd.notice.model import Notice, Severity
from backupd.notice.transfer import REQUEST_AGAIN
from backupd.notice.words import cause, count, listing, plain, span


def service_started(*, version: str) -> Notice:
    """The daemon is up, or has taken up new settings."""
    return Notice(
        event="service_started",
        severity=Severity.INFO,
        title=f"backupd {plain(version, 40)} is watching",
        body="The service has started and watches what the configuration names. Nothing to do.",
        clears=("internal:*",),
        fields={"version": plain(version, 40)},
    )


def service_stopped(*, version: str) -> Notice:
    """The daemon was told to stop."""
    return Notice(
        event="service_stopped",
        severity=Severity.INFO,
        title="backupd has stopped",
        body=(
            f"backupd {plain(version, 40)} was told to stop and did so at a safe point. All "
            "stored exports are safe. While it is stopped no mailbox is watched, and an export "
            "link dies 24 hours after its mail.\n"
            "What to do: if you did not stop it, start it again with `systemctl start backupd`."
        ),
        fields={"version": plain(version, 40)},
    )


def reload_failed(*, problems: tuple[str, ...]) -> Notice:
    """A reload was asked for, but the configuration is wrong; the old settings stay."""
    return Notice(
        event="reload_failed",
        severity=Severity.ERROR,
        title="The new configuration is wrong; the old settings stay in force",
        body=(
            f"A reload was asked for, but the file has {count(len(problems), 'problem')}:\n"
            f"{listing(problems, 10)}\n"
            "backupd goes on with the settings it had. A restart would fail.\n"
            "What to do: correct the file, run `backupd config validate`, then reload again."
        ),
        fields={"problems": len(problems)},
    )


def internal_error(*, part: str, kind: str) -> Notice:
    """A part of the daemon failed in a way nobody foresaw; it goes on."""
    return Notice(
        event="internal_error",
        severity=Severity.ERROR,
        title="backupd has met an error of its own",
        body=(
            f'The part "{plain(part)}" failed with {plain(kind)}. All stored exports are safe, and '
            "the part is started again by itself.\n"
            "What to do: if `backupd status` shows a delivery that waits, fetch its ZIP in a "
            "browser within 24 hours of its mail, to be sure, and run `backupd import FILE`. The "
            "journal (`journalctl -u backupd`) has the details that a report to backupd's "
            "developers needs."
        ),
        fault=f"internal:{part}:{kind}",
        fields={"part": plain(part), "kind": plain(kind)},
    )


def check_result(*, problems: tuple[str, ...], catalog: str | None = None) -> Notice:
    """The repository was checked; `catalog` says what was wrong with the catalog, now mended."""
    if not problems and catalog is not None:
        return Notice(
            event="check_result",
            severity=Severity.WARNING,
            title="The repository is sound; its catalog was damaged and is made anew",
            body=(
                "The scheduled check found no damage in the repository, but in the catalog:"
                f" {plain(catalog)}. It is derived from the repository and was made again; nothing"
                " is lost.\n"
                "What to do: look at the disk (`smartctl`, the kernel log). A bit that turns in one"
                " file can turn in any."
            ),
            fields={"problems": 0},
        )
    if not problems:
        return Notice(
            event="check_result",
            severity=Severity.INFO,
            title="The repository is sound",
            body="The scheduled check read the repository and found no damage. Nothing to do.",
            fields={"problems": 0},
        )
    return Notice(
        event="check_result",
        severity=Severity.ERROR,
        title=f"The repository is damaged: {count(len(problems), 'problem')}",
        body=(
            f"The scheduled check found damage:\n{listing(problems)}\n"
            "Snapshots that do not need the damaged places still restore. backupd changes nothing "
            "by itself.\n"
            "What to do soon: run `backupd check --read-data` for the full list, look at the disk "
            "(`smartctl`, the kernel log), and bring the named files back from a copy of the "
            "repository. If you still have the original ZIPs, `backupd import FILE…` stores them "
            "again."
        ),
        fields={"problems": len(problems)},
    )


def drill_result(*, problems: tuple[str, ...]) -> Notice:
    """A restore drill was made."""
    if not problems:
        return Notice(
            event="drill_result",
            severity=Severity.INFO,
            title="The restore drill succeeded",
            body=(
                "An original export was rebuilt from the repository and is the same byte for "
                "byte. Nothing to do."
            ),
            fields={"problems": 0},
        )
    return Notice(
        event="drill_result",
        severity=Severity.ERROR,
        title="The restore drill failed",
        body=(
            f"An original export could not be rebuilt from the repository:\n{listing(problems)}\n"
            "Other snapshots may still restore. backupd changes nothing by itself.\n"
            "What to do soon: run `backupd check --read-data`, then bring the damaged files back "
            "from a copy of the repository."
        ),
        fields={"problems": len(problems)},
    )


def overdue(*, since: timedelta, account: str | None = None, ever: bool = True) -> Notice:
    """No export has been stored for a long time; with `ever` False none at all.

    `account` is what a person calls the account, where there are several.
    """
    of = f' of account "{plain(account, 40)}"' if account else ""
    switch = "`remind_after` in its [accounts] table" if account else "`remind_after` in [schedule]"
    if ever:
        state = (
            f"The newest stored export{of} is {span(since)} old. Everything in it is safe; what "
            "was written in ChatGPT since then is not backed up."
        )
    else:
        state = (
            f"backupd has been watching for {span(since)}, and no export has come yet: nothing "
            "that is in ChatGPT is backed up. If you have older ZIPs, `backupd import FILE…` keeps "
            "them safe."
        )
    return Notice(
        event="overdue",
        severity=Severity.WARNING,
        title=f"No export{of} for {span(since)}",
        body=(
            f"{state}\n"
            f"What to do: {REQUEST_AGAIN}. Run `backupd requested` afterwards: then you are told "
            "if it does not come.\n"
            f"Without that you are reminded each week; how long is too long is {switch}."
        ),
        fields={"days": since.days},
    )


def requested_not_arrived(*, request: str, mailbox: str | None, waiting: timedelta) -> Notice:
    """An export was requested and its mail has not come; told once for each request."""
    watched = f'mailbox "{plain(mailbox)}"' if mailbox else "the mailbox"
    return Notice(
        event="requested_not_arrived",
        severity=Severity.WARNING,
        title=f"A requested export has not come for {span(waiting)}",
        body=(
            f"An export was requested {span(waiting)} ago, and no mail with its link was found. "
            "OpenAI promises it within seven days. All stored exports are safe.\n"
            f"What to do: look into the junk folder of {watched}, and into folders that backupd "
            "does not watch (`folders` in the configuration). An account that has a phone number "
            "only gets a text message instead: open its link yourself and run `backupd import "
            "FILE`.\n"
            f"If it is nowhere, {REQUEST_AGAIN}. Then run `backupd requested`, so that you are "
            "told if that one does not come either. Any export that arrives ends this."
        ),
        fault=f"request:{request}",
        fields={"days": waiting.days},
    )


def channel_failing(*, channel: str, reason: str, attempts: int) -> Notice:
    """A channel does not take notices; told to the others."""
    return Notice(
        event="channel_failing",
        severity=Severity.WARNING,
        title=f"Notices do not get through to {plain(channel)}",
        body=(
            f"{count(attempts, 'attempt')} failed: {cause(reason)}. Nothing is lost: the notices "
            "are kept and sent, in order, once the channel takes them.\n"
            "What to do: try `backupd notify test`, and check the channel's URL or credential."
        ),
        fault=f"channel:{channel}",
        fields={"channel": plain(channel), "attempts": attempts},
    )


def channel_recovered(*, channel: str) -> Notice:
    """A channel takes notices again; told once, and only if the failure had been told."""
    return Notice(
        event="channel_recovered",
        severity=Severity.INFO,
        title=f"Notices get through to {plain(channel)} again",
        body="What was waiting has been sent. Nothing to do.",
        clears=(f"channel:{channel}",),
        recovery=True,
        fields={"channel": plain(channel)},
    )


def test(now: datetime) -> Notice:
    """A person tries the channels."""
    return Notice(
        event="test",
        severity=Severity.INFO,
        title="A test notice from backupd",
        body=(
            f"Sent on {now:%Y-%m-%d} at {now:%H:%M} UTC by `backupd notify test`. If you can read "
            "this, the channel works. Nothing to do."
        ),
    )


def zlib_differs(*, version: str, remedy: str) -> Notice:
    """This machine cannot pack as the exporter does."""
    return Notice(
        event="zlib_differs",
        severity=Severity.ERROR,
        title="This machine cannot rebuild ZIPs byte for byte",
        body=(
            f"The zlib library here ({plain(version)}) packs differently from the one that exports "
            "are made with. What is stored is safe and unchanged, and `backupd restore` into a "
            "directory still gives every file of an export; only the ZIP itself cannot be put "
            "together here. New exports are stored exactly, but cost their full size.\n"
            f"What to do: {plain(remedy)}. The repository works unchanged on any such machine."
        ),
        fields={"zlib": plain(version)},
    )
