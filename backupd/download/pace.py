"""Keeps one attempt inside its bounds while it waits: stop, time, rate, size of an answer's head.

The socket layer waits in short slices and reports each to a `Pace`; whatever bound is broken ends
the attempt by an `Ended` from there. So a stalled, dripping or babbling server is left at the same
place, in every phase from the TLS handshake to the last byte.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from backupd.download.outcome import Cancelled, Ended, Expired, NetworkFailed
from backupd.download.terms import Limits

SLICE = 0.2
"""Seconds; the longest time a stop request goes unnoticed."""
LONGEST_HEAD = 256 * 1024
"""Bytes of status lines and header fields, interim answers included, before the body begins."""


class Pace:
    """Bounds of one attempt; used by one thread, `cancel` may be set by any."""

    def __init__(
        self,
        limits: Limits,
        cancel: threading.Event,
        now: Callable[[], datetime],
        give_up_at: datetime,
    ) -> None:
        self._limits = limits
        self._cancel = cancel
        self._now = now
        self._give_up_at = give_up_at
        self._waited = 0.0
        self._received = 0
        self._head: int | None = None

    def check(self) -> None:
        """End the attempt if a stop was asked for or the link's time is over."""
        self.check_stop()
        if self._now() >= self._give_up_at:
            raise Ended(Expired(certain=False, detail="the time for this link is over"))

    def check_stop(self) -> None:
        """End the attempt if a stop was asked for."""
        if self._cancel.is_set():
            raise Ended(Cancelled())

    def begin_head(self) -> None:
        """Count what is received from here as an answer's head."""
        self._head = 0

    def end_head(self) -> None:
        """Count what is received from here as body."""
        self._head = None

    def waited(self, seconds: float, received: int) -> None:
        """Take note of one wait and what it brought, then check every bound."""
        self._waited += seconds
        self._received += received
        if self._head is not None:
            self._head += received
            if self._head > LONGEST_HEAD:
                raise Ended(NetworkFailed("the head of the answer does not end"))
        if self._waited >= self._limits.min_rate_window:
            self._check_rate()
        self.check()

    def _check_rate(self) -> None:
        rate = self._received / self._waited
        self._waited, self._received = 0.0, 0
        if rate < self._limits.min_rate:
            raise Ended(NetworkFailed(f"too slow: {rate:.0f} bytes per second"))
