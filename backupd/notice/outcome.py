"""Notices about what became of an export: stored, and what was noticed about it. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from backupd.notice.model import Notice, Severity, faults_of
from backupd.notice.words import amount, cause, count, listing, plain, short, shorten, span


class ConversationCounts(Protocol):
    """How the conversations of an export compare with those before it."""

    @property
    def total(self) -> int:
        """Conversations in the export."""

    @property
    def new(self) -> int:
        """Not in any earlier export."""

    @property
    def changed(self) -> int:
        """With other content than before."""

    @property
    def metadata_changed(self) -> int:
        """With another title or other flags only."""

    @property
    def unchanged(self) -> int:
        """The same as before."""

    @property
    def gone(self) -> int:
        """In an earlier export and no longer in this one."""


def stored(
    *,
    snapshot: str,
    delivery: str | None,
    account: str | None,
    conversations: ConversationCounts | None,
    size: int,
    new_bytes: int,
    seconds: float,
    margin: timedelta | None,
) -> Notice:
    """An export is stored and was proven to come back byte for byte.

    `account` is what a person calls it. `margin` is how long the link would still have lived; None
    where there was no link.
    """
    what, numbers = _contents(conversations)
    spare = ""
    if margin is not None and margin > timedelta(0):
        spare = f" The link would have lived for another {span(margin)}."
    whose = f' of account "{plain(account, 64)}"' if account else ""
    return Notice(
        event="stored",
        severity=Severity.INFO,
        title=_stored_title(conversations),
        body=(
            f"Snapshot {short(snapshot)}{whose}: {what}.\n"
            f"The ZIP of {amount(size)} took {amount(new_bytes)} of disk and {seconds:.0f} s. It "
            f"was rebuilt from the repository and is the same byte for byte.{spare}\n"
            f"{_after(conversations)}"
        ),
        delivery=delivery,
        snapshot=snapshot,
        clears=(*faults_of(delivery), "disk", "file:*"),
        fields={
            **numbers,
            "bytes": size,
            "new_bytes": new_bytes,
            "seconds": round(seconds),
            **({"margin_seconds": int(margin.total_seconds())} if margin is not None else {}),
        },
    )


def _stored_title(conversations: ConversationCounts | None) -> str:
    if conversations is None:
        return "An export is stored"
    return (
        f"An export is stored: {conversations.new:,} new, {conversations.changed:,} changed, "
        f"{conversations.gone:,} gone"
    )


def _contents(conversations: ConversationCounts | None) -> tuple[str, dict[str, int]]:
    if conversations is None:
        return "its conversations have not been counted", {}
    numbers = {
        "total": conversations.total,
        "new": conversations.new,
        "changed": conversations.changed,
        "metadata_changed": conversations.metadata_changed,
        "unchanged": conversations.unchanged,
        "gone": conversations.gone,
    }
    text = (
        f"{count(conversations.total, 'conversation')}, of them {conversations.new:,} new, "
        f"{conversations.changed:,} changed, {conversations.metadata_changed:,} with another title "
        f"or flag, {conversations.unchanged:,} unchanged"
    )
    return text, numbers


def _after(conversations: ConversationCounts | None) -> str:
    if conversations is None or not conversations.gone:
        return "Nothing to do."
    return (
        f"{count(conversations.gone, 'conversation')} of earlier exports cannot be found in this "
        "one. They are kept here as they were. Nothing to do."
    )


def quarantined(
    *, rule: str, path: str, delivery: str | None, source: str, detail: str = ""
) -> Notice:
    """A received file broke a rule for ZIPs and is kept as received."""
    why = f" ({plain(detail)})" if detail else ""
    return Notice(
        event="quarantined",
        severity=Severity.ERROR,
        title="A received file is not a sound export and was set aside",
        body=(
            f'The file that came by {plain(source)} breaks the rule "{plain(rule)}"{why}. It was '
            f"not opened any further and is kept whole, as received, at {plain(path, 400)}. "
            "All stored exports are safe.\n"
            "What to do: if it was downloaded in a browser, the download was perhaps cut short; "
            "download it again while its link works (24 hours after the mail) and hand it in "
            "again. If the export comes out like this a second time, report the rule's name to "
            "backupd's developers and keep the file."
        ),
        delivery=delivery,
        clears=faults_of(delivery),
        fields={"rule": plain(rule), "source": plain(source)},
    )


def not_stored(*, source: str, reason: str, delivery: str | None, file: str | None) -> Notice:
    """A complete file is here, but cannot be taken into the repository yet; no lack of room."""
    named = f' "{shorten(file)}"' if file else ""
    key = f"delivery:{delivery}:storing" if delivery else f"file:{plain(file)}"
    return Notice(
        event="not_stored",
        severity=Severity.ERROR,
        title="An export is here, but cannot be stored",
        body=(
            f"The file{named} that came by {plain(source)} could not be taken into the repository: "
            f"{cause(reason)}. The file is complete and stays where it is, and all stored exports "
            "are safe. backupd tries again by itself.\n"
            "What to do: look at the disk that holds the repository (is it mounted, writable, and "
            "owned by backupd?) and run `backupd doctor`."
        ),
        delivery=delivery,
        fault=key,
        fields={"source": plain(source)},
    )


def not_removed(*, file: str, folder: str) -> Notice:
    """A dropped file is stored, but cannot be taken out of the drop folder."""
    return Notice(
        event="not_removed",
        severity=Severity.WARNING,
        title="A stored file cannot be removed from the drop folder",
        body=(
            f'The file "{shorten(file)}" in {plain(folder, 400)} is dealt with and its bytes are '
            "safe in the repository, but backupd may not remove it. It is left alone from now "
            "on.\n"
            "What to do: remove it yourself, and let backupd write to that folder."
        ),
        fault=f"file:{plain(file)}:left",
    )


def not_a_zip(*, file: str, folder: str, reason: str) -> Notice:
    """A file in the drop folder does not grow any more and is no complete ZIP."""
    return Notice(
        event="not_a_zip",
        severity=Severity.WARNING,
        title="A file in the drop folder is not a complete ZIP",
        body=(
            f'The file "{shorten(file)}" in {plain(folder, 400)} has not changed for a while, but '
            f"backupd cannot take it: {cause(reason)}. Nothing was done with it, and all stored "
            "exports are safe.\n"
            "What to do: if the download was cut short, or a web page was saved in its place, "
            "download the export again while its link works (24 hours after the mail). If backupd "
            "may not read the file, let it. Remove what is of no use."
        ),
        fault=f"file:{plain(file)}:waits",
    )


def kept_whole(*, snapshot: str, size: int) -> Notice:
    """An export could not be rebuilt from its parts and is stored as one piece."""
    return Notice(
        event="kept_whole",
        severity=Severity.WARNING,
        title="An export is stored whole, without saving space",
        body=(
            f"Snapshot {short(snapshot)} could not be taken apart in a way that gives back the "
            f"same bytes, so the ZIP of {amount(size)} is kept in one piece. It is safe and "
            "restores byte for byte; it only costs its full size.\n"
            "What to do: nothing at once. If this happens with every export, the ZIPs are made in "
            "a new way: look for a newer version of backupd."
        ),
        snapshot=snapshot,
        fields={"bytes": size},
    )


def kept_streams(
    *, snapshot: str, members: tuple[str, ...], size: int, missing: tuple[str, ...] = ()
) -> Notice:
    """Members of an export were packed by an unknown program and are kept packed.

    `missing` are the packing libraries that backupd could use and does not find here.
    """
    remedy = (
        f"install backupd[encoders], see docs/install.md: {plain(', '.join(missing))} can be "
        "imitated too, but not on this machine. Exports that are stored already stay as they are."
        if missing
        else "nothing at once. If this happens with every export, look for a newer version of "
        "backupd, which may know that program."
    )
    return Notice(
        event="kept_streams",
        severity=Severity.WARNING,
        title="Parts of an export are stored as they came packed",
        body=(
            f"In snapshot {short(snapshot)} these files were packed by a program that backupd "
            f"cannot imitate:\n{listing(members)}\n"
            f"So they are kept packed. They are safe and restore byte for byte, but cost their "
            f"{amount(size)} again in every export, and conversations in them cannot be read or "
            "counted.\n"
            f"What to do: {remedy}"
        ),
        snapshot=snapshot,
        fields={"bytes": size, "members": len(members)},
    )


def incomplete_export(*, snapshot: str, reasons: tuple[str, ...]) -> Notice:
    """An export holds less than it says itself."""
    return Notice(
        event="incomplete_export",
        severity=Severity.WARNING,
        title="An export is incomplete",
        body=(
            f"Snapshot {short(snapshot)} is stored exactly as OpenAI delivered it, but parts "
            f"are missing from it:\n{listing(reasons)}\n"
            "Everything from earlier exports is kept, and no conversation counts as gone because "
            "of this export.\n"
            "What to do: request another export at chatgpt.com (Settings, Data controls, Export "
            "data); the next one is usually complete."
        ),
        snapshot=snapshot,
        fields={"reasons": len(reasons)},
    )


def mass_drop(*, snapshot: str, before: int, now: int) -> Notice:
    """An export holds far fewer conversations than the one before it."""
    return Notice(
        event="mass_drop",
        severity=Severity.ERROR,
        title=f"An export holds only {now:,} conversations, the one before {before:,}",
        body=(
            f"Snapshot {short(snapshot)} is stored, but so many conversations are missing from "
            "it that backupd does not believe it: none of them is marked as gone, and all of "
            "them are kept from earlier exports.\n"
            "What to do: look into ChatGPT itself. If your conversations are there, request "
            "another export. If they are not and you did not delete them, change your password, "
            "sign out all devices and write to OpenAI's support; your copies are here."
        ),
        snapshot=snapshot,
        fields={"before": before, "now": now},
    )


def wrong_account(*, snapshot: str, expected: str, found: str, mailbox: str | None) -> Notice:
    """An export names another ChatGPT account than the one its file name belongs to; told once."""
    return Notice(
        event="wrong_account",
        severity=Severity.WARNING,
        title="An export holds another ChatGPT account than its name says",
        body=(
            f"Snapshot {short(snapshot)}{_where(mailbox)} has a file name like those of account "
            f'"{plain(expected, 64)}", but holds the conversations of account '
            f'"{plain(found, 64)}". It is stored apart, under the account that it holds; nothing '
            "of the other one counts as changed or gone because of it. All stored exports "
            "are safe.\n"
            "What to do: if both accounts are yours, nothing; you are told only this once. If not, "
            "find out who can send mail to this mailbox or put files into its drop folder."
        ),
        snapshot=snapshot,
        fields={"expected": plain(expected, 64), "found": plain(found, 64)},
    )


def new_account(*, snapshot: str, account: str, prefix: str | None, mailbox: str | None) -> Notice:
    """An export of a ChatGPT account that was not seen before, besides known ones; told once.

    `prefix` is the beginning of its file names, shortened.
    """
    begins = f'`prefix = "{plain(prefix)}"`' if prefix else "the `prefix` of its next export file"
    return Notice(
        event="new_account",
        severity=Severity.WARNING,
        title="An export of a ChatGPT account that is new here was stored",
        body=(
            f"Snapshot {short(snapshot)}{_where(mailbox)} is the first of account "
            f'"{plain(account, 64)}". It is stored apart: its conversations are counted by '
            "themselves, and nothing of other accounts counts as changed or gone because of it. "
            "All stored exports are safe.\n"
            "What to do: if the account is yours, nothing; to see it under a name of your own, add "
            f"a table [accounts.NAME] with {begins} to the configuration. If it is not yours, "
            "find out who can send mail to this mailbox or put files into its drop folder."
        ),
        snapshot=snapshot,
        fields={"account": plain(account, 64)},
    )


def _where(mailbox: str | None) -> str:
    return f', which came by mailbox "{plain(mailbox)}",' if mailbox else ""


def unknown_parts(*, snapshot: str, parts: tuple[str, ...]) -> Notice:
    """An export holds files that this version does not know."""
    return Notice(
        event="unknown_parts",
        severity=Severity.WARNING,
        title="An export holds parts that backupd does not know",
        body=(
            f"Snapshot {short(snapshot)} is stored whole and comes back byte for byte, but "
            f"these parts of it are new to this version and cannot be listed or searched:\n"
            f"{listing(parts)}\n"
            "What to do: nothing at once. A newer version of backupd may know them, and will read "
            "them from what is stored."
        ),
        snapshot=snapshot,
        fields={"parts": len(parts)},
    )
