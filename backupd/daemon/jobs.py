"""What the daemon does by the clock, with the one owner of APScheduler.

Jobs are few, coalesced, never misfire, and live in memory; what must survive a restart is in the
ledger. `ClockWatch` compares the wall clock with the monotonic one, which stands still while the
machine sleeps, as the scheduler's timer does: after a suspend or a jump the scheduler is woken.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

JUMP = 90.0
"""Seconds by which both clocks may drift apart between two ticks before it counts as a jump."""

logging.getLogger("apscheduler").setLevel(logging.WARNING)


class Jobs:
    """Scheduled jobs; each failure is handed to `failed` with the job's name."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._scheduler.add_listener(self._missed, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def every(self, name: str, interval: timedelta, work: Callable[[], None]) -> None:
        """Run `work` now and then every `interval`."""
        self._scheduler.add_job(
            work,
            "interval",
            id=name,
            replace_existing=True,
            seconds=interval.total_seconds(),
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        """Start the scheduler's thread."""
        self._scheduler.start()

    def wakeup(self) -> None:
        """Make the scheduler look at the clock again."""
        self._scheduler.wakeup()

    def stop(self) -> None:
        """Stop; a running job is waited for, so its work must be cancelled before."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _missed(self, event: JobExecutionEvent) -> None:
        error = getattr(event, "exception", None)
        self._failed(event.job_id, error or RuntimeError("the scheduled run was missed"))


class ClockWatch:
    """Notices that the wall clock jumped or the machine slept between two looks."""

    def __init__(self) -> None:
        self._wall = time.time()
        self._awake = time.monotonic()

    def jumped(self) -> bool:
        """Say whether wall time and waking time went apart since the last call."""
        wall, awake = time.time(), time.monotonic()
        apart = abs((wall - self._wall) - (awake - self._awake))
        self._wall, self._awake = wall, awake
        return apart > JUMP
