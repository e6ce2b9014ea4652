"""Threads that must not die unseen.

A `Loop` runs a function in a thread of its own. If the function raises, the failure is handed to
`failed` and the function is started again after a pause; a loop that neither works nor rests shows
by its age, and the watchdog is then no longer fed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

RESTART_PAUSE = 30.0
"""Seconds before a loop that failed is started again."""


class Loop:
    """One named thread with a sign of life."""

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        stop: threading.Event,
        failed: Callable[[str, BaseException], None],
        beat: Callable[[], float] | None = None,
    ) -> None:
        """Prepare a loop; `beat` gives the monotonic time of the work's own last sign of life."""
        self.name = name
        self._work = work
        self._stop = stop
        self._failed = failed
        self._beat = beat
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._last = time.monotonic()
        self._thread.start()

    def alive(self) -> None:
        """Note a sign of life; the work calls this."""
        self._last = time.monotonic()

    def age(self) -> float:
        """Return the seconds since the last sign of life; infinite once the thread has ended."""
        if not self._thread.is_alive():
            return float("inf")
        last = self._last if self._beat is None else max(self._last, self._beat())
        return time.monotonic() - last

    def rest(self, bell: threading.Event, seconds: float) -> None:
        """Wait until `bell` rings, or so long; both ends are signs of life."""
        self.alive()
        bell.wait(seconds)
        bell.clear()
        self.alive()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end; says whether it did."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the last resort: told, never swallowed
                self._tell(error)
                self.alive()
                self._stop.wait(RESTART_PAUSE)
            else:
                break

    def _tell(self, error: BaseException) -> None:
        """Tell of a failure; that this may fail too must not end the thread."""
        try:
            self._failed(self.name, error)
        except Exception as second:
            log.exception("%s failed, and that could not be recorded", self.name, exc_info=second)
