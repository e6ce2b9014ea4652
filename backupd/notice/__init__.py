"""What backupd tells people: one function per event, plain values in, a `Notice` out. Pure.

Every notice of a failure says what happened, what is safe, what to do next and how long there is
(I7).
No notice holds a URL, a secret or text of a chat; text from outside goes through `words.plain`.
"""

from __future__ import annotations

from backupd.notice.arrival import (
    export_started,
    mail_found,
    mail_refused,
    mailbox_recovered,
    mailbox_refused,
    mailbox_unreachable,
)
from backupd.notice.model import Notice, Severity
from backupd.notice.outcome import (
    ConversationCounts,
    incomplete_export,
    kept_whole,
    mass_drop,
    not_a_zip,
    not_removed,
    not_stored,
    quarantined,
    stored,
    unknown_parts,
    wrong_account,
)
from backupd.notice.service import (
    channel_failing,
    channel_recovered,
    check_result,
    drill_result,
    internal_error,
    overdue,
    reload_failed,
    requested_not_arrived,
    service_started,
    service_stopped,
    test,
)
from backupd.notice.transfer import (
    deadline_near,
    disk_low,
    download_failed,
    expired,
    sign_in_needed,
)
from backupd.notice.words import amount, plain, span

EVENTS = (
    export_started,
    mail_found,
    mail_refused,
    mailbox_unreachable,
    mailbox_refused,
    mailbox_recovered,
    sign_in_needed,
    download_failed,
    deadline_near,
    expired,
    disk_low,
    stored,
    not_stored,
    not_a_zip,
    not_removed,
    quarantined,
    kept_whole,
    incomplete_export,
    mass_drop,
    wrong_account,
    unknown_parts,
    check_result,
    drill_result,
    overdue,
    requested_not_arrived,
    service_started,
    service_stopped,
    reload_failed,
    internal_error,
    channel_failing,
    channel_recovered,
    test,
)
"""Every event, in the order of the documentation; the function's name is the event's name."""

__all__ = [
    "EVENTS",
    "ConversationCounts",
    "Notice",
    "Severity",
    "amount",
    "channel_failing",
    "channel_recovered",
    "check_result",
    "deadline_near",
    "disk_low",
    "download_failed",
    "drill_result",
    "expired",
    "export_started",
    "incomplete_export",
    "internal_error",
    "kept_whole",
    "mail_found",
    "mail_refused",
    "mailbox_recovered",
    "mailbox_refused",
    "mailbox_unreachable",
    "mass_drop",
    "not_a_zip",
    "not_removed",
    "not_stored",
    "overdue",
    "plain",
    "quarantined",
    "reload_failed",
    "requested_not_arrived",
    "service_started",
    "service_stopped",
    "sign_in_needed",
    "span",
    "stored",
    "test",
    "unknown_parts",
    "wrong_account",
]
