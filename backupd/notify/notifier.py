"""Publishing: the notice log, the journal and the outbox, and emptying the outbox.

Commit order: log entry and outbox rows in one transaction with the caller's own change, then the
journal, then the channels. Nobody is told of what a crash could still undo, and nothing that was
to be told is forgotten. Each channel gets its notices in order; one that fails is tried again
after 1 minute, doubling to 1 hour, for ever, and does not hold up the others.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from backupd import notice as notices
from backupd.ledger.notices import Due, NoticeLog
from backupd.notice import Notice
from backupd.notify.channels import LIMIT, Channel
from backupd.notify.journal import Journal

log = logging.getLogger(__name__)

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
LEASE = LIMIT + timedelta(seconds=60)
"""How long a claimed row is ours: longer than a send can take."""
TELL_AFTER = 3
"""Failed attempts after which the other channels are told that one does not work."""


class Notifier:
    """Tells people, through one ledger, one journal and any number of channels."""

    def __init__(
        self,
        log: NoticeLog,
        journal: Journal,
        channels: Sequence[Channel] = (),
        rng: random.Random | None = None,
    ) -> None:
        self._log = log
        self._journal = journal
        self._channels = tuple(channels)
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._flushing = threading.Lock()

    def publish(self, notice: Notice, now: datetime) -> None:
        """Record a notice, queue it for the channels, and write it to the journal.

        Joins the transaction that the caller may hold; the journal is written when that is
        durable. Repeats of an open fault and recoveries from nothing are not told. Channels are
        served by `flush`.
        """
        self._publish(notice, now, self._channels)

    def flush(self, now: datetime, within: timedelta = timedelta(minutes=2)) -> int:
        """Send what is due, oldest first for each channel; return how many were delivered.

        Ends soon after `within`; what is left stays in the outbox. A second call at the same time
        returns 0. Never raises for a channel's trouble.
        """
        if not self._flushing.acquire(blocking=False):
            return 0
        try:
            end = time.monotonic() + within.total_seconds()
            return sum(self._serve(channel, now, end) for channel in self._channels)
        finally:
            self._flushing.release()

    def _publish(self, notice: Notice, now: datetime, channels: Sequence[Channel]) -> None:
        wanted = [one.id for one in channels if notice.severity.rank >= one.min_severity.rank]
        with self._log.database.transaction():
            if self._log.append(notice, wanted, now):
                self._log.database.after_commit(lambda: self._journal.send(notice))

    def _serve(self, channel: Channel, now: datetime, end: float) -> int:
        """Send to one channel until nothing is due, a send fails, or the time is up."""
        delivered = 0
        while (left := end - time.monotonic()) > 0:
            due = self._log.claim(channel.id, now, LEASE)
            if due is None:
                break
            problem = channel.send(due.notice, min(LIMIT, timedelta(seconds=left)))
            if problem:
                self._put_off(channel, due, problem, now)
                break
            self._log.sent(due, now)
            self._tell_others(channel, notices.channel_recovered(channel=channel.id), now)
            delivered += 1
        return delivered

    def _put_off(self, channel: Channel, due: Due, problem: str, now: datetime) -> None:
        wait = min(FIRST_WAIT * 2 ** min(due.attempts - 1, 10), LONGEST_WAIT)
        self._log.failed(due, now + wait * self._rng.uniform(0.8, 1.2))
        log.warning("send notice to %s: %s; attempt %d", channel.id, problem, due.attempts)
        if due.attempts >= TELL_AFTER:
            failing = notices.channel_failing(
                channel=channel.id, reason=problem, attempts=due.attempts
            )
            self._tell_others(channel, failing, now)

    def _tell_others(self, channel: Channel, notice: Notice, now: datetime) -> None:
        self._publish(notice, now, [one for one in self._channels if one.id != channel.id])
