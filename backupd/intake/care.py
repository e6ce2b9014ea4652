"""What time alone makes due: deadline alarms, expiry, checks, drills, reminders.

When something was last done is a fact of the ledger, so a restart neither forgets nor repeats it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from backupd import notice
from backupd.errors import BackupdError, RepositoryLocked
from backupd.intake.deadline import alarm_due
from backupd.intake.fetching import Fetcher
from backupd.intake.reminding import FIRST_LOOK, remind
from backupd.intake.rooms import Rooms
from backupd.ledger.deliveries import moment, stamp
from backupd.ledger.delivery import OVER, Delivery, State
from backupd.store.repository import CheckReport

log = logging.getLogger("backupd.intake")
LAST_CHECK = "last-check"
LAST_CHECK_PROBLEMS = "last-check-problems"
LAST_DRILL = "last-drill"
PROOF_PATIENCE = timedelta(hours=1)
"""Whoever stores an export proves it right away; what is unproven for so long was left behind."""


class Care:
    """The daemon's periodic duties; each method may be called at any time and as often as liked."""

    def __init__(self, rooms: Rooms, fetcher: Fetcher, alive: Callable[[], None]) -> None:
        """Prepare; `alive` is called while a check goes on."""
        self._rooms = rooms
        self._fetcher = fetcher
        self._alive = alive
        self._tried: set[str] = set()

    def run(self) -> None:
        """Do whatever of check, drill and reminders is due."""
        schedule = self._rooms.settings.schedule
        self._prove()
        self._when_due(LAST_CHECK, schedule.check, self._check)
        self._when_due(LAST_DRILL, schedule.drill, self._drill)
        remind(self._rooms)

    def watch_deadlines(self) -> None:
        """Tell of deadlines that come near; end what can no longer be fetched."""
        now = self._rooms.clock()
        for delivery in self._rooms.deliveries.pending():
            if delivery.state is State.FETCHED:
                continue  # the file is here
            over = delivery.give_up_at is not None and now >= delivery.give_up_at
            if delivery.is_unproven:
                if over:
                    self._lapse(delivery, now)
            elif over and delivery.state is not State.FETCHING:  # an attempt's outcome ends it
                self._end(delivery, now)
            else:
                self._alarm(delivery, now)

    def _end(self, delivery: Delivery, now: datetime) -> None:
        """Have a link whose time is over tried once more; only what nobody tries ends here."""
        if delivery.next_attempt_at is None:
            self._fetcher.expire(delivery, "the time in which the link could live is over")
        elif delivery.alarm < OVER:
            self._fetcher.last_chance(delivery, now)
        elif delivery.next_attempt_at > now:
            self._rooms.deliveries.postpone(delivery.id, now, now)

    def _lapse(self, delivery: Delivery, now: datetime) -> None:
        """End a delivery that nobody approved in time."""
        reason = "nobody approved it while its link could live"
        with self._rooms.database.transaction():
            self._rooms.deliveries.refused(delivery.id, reason, now)
            self._rooms.tell(notice.approval_closed(delivery=delivery.id, reason=reason))

    def _alarm(self, delivery: Delivery, now: datetime) -> None:
        if delivery.mail_at is None or delivery.deadline is None:
            return
        level = alarm_due(delivery.mail_at, delivery.deadline, delivery.alarm, now)
        if level is None:
            return
        with self._rooms.database.transaction():
            self._rooms.deliveries.alarmed(delivery.id, level, now)
            self._rooms.tell(
                notice.deadline_near(
                    delivery=delivery.id,
                    level=level,
                    mail=notice.ExportMail(delivery.mailbox, delivery.mail_at),
                    deadline=delivery.deadline,
                    now=now,
                    needs_you=delivery.state is State.NEEDS_YOU,
                    attempts=delivery.attempts,
                    drop_folder=self._rooms.drop_folder(delivery.mailbox),
                )
            )

    def _when_due(self, fact: str, interval: timedelta, work: Callable[[], None]) -> None:
        """Do `work` once `interval` is over since the last time, or since the very first start."""
        now = self._rooms.clock()
        last = self._rooms.messages.fact(fact) or self._rooms.messages.fact(FIRST_LOOK)
        if last is None:
            self._rooms.messages.set_fact(FIRST_LOOK, stamp(now), now)
        elif abs(now - moment(last)) >= interval and self._rooms.repository.snapshots():
            work()

    def _prove(self) -> None:
        """Prove what an interrupted import left unproven; a drill tells of what cannot be."""
        long_ago = self._rooms.clock() - PROOF_PATIENCE
        for snapshot in self._rooms.repository.snapshots():
            left = snapshot.proven_at is None and snapshot.received_at < long_ago
            if left and snapshot.id not in self._tried:
                self._tried.add(snapshot.id)
                with suppress(RepositoryLocked):
                    self._rooms.repository.prove(
                        snapshot, lambda _stage, _done, _total: self._alive()
                    )

    def _check(self) -> None:
        report = self._look(read_data=True)
        now = self._rooms.clock()
        self._rooms.messages.set_fact(LAST_CHECK, stamp(now), now)
        self._rooms.messages.set_fact(LAST_CHECK_PROBLEMS, str(len(report.problems)), now)
        self._rooms.tell(
            notice.check_result(
                problems=tuple(problem.text for problem in report.problems),
                catalog=self._audit() if report.ok else None,
            )
        )

    def _audit(self) -> str | None:
        """Compare the catalog with the repository; a catalog that is busy waits for next time."""
        try:
            with self._rooms.repository.reopen() as repository:
                return self._rooms.catalog.audit(repository)
        except BackupdError as error:
            log.warning("catalog: %s", error.message)
            return None

    def _drill(self) -> None:
        report = self._look(drill=True)
        now = self._rooms.clock()
        self._rooms.messages.set_fact(LAST_DRILL, stamp(now), now)
        problems = (*report.problems, *report.impossible)
        self._rooms.tell(notice.drill_result(problems=tuple(problem.text for problem in problems)))

    def _look(self, *, read_data: bool = False, drill: bool = False) -> CheckReport:
        """Check with a repository opened for it: the pipeline's own may be writing meanwhile."""
        with self._rooms.repository.reopen() as repository:
            return repository.check(
                read_data=read_data,
                drill=drill,
                progress=lambda _stage, _done, _total: self._alive(),
            )
