"""A mailbox's watcher at work for a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backupd.mail.watcher import Watcher


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Run a watcher in a thread of its own; it must end when the block does."""
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
