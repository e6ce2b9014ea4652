"""Take from an iterator in a thread of its own, so that inflating overlaps with what follows it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

_PIECES = 8


def prefetched(make: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """Yield what `make()` yields, a few pieces ahead; its exceptions are raised here.

    `make` is called and used in the thread, which ends with this iterator.
    """
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_PIECES)
    stopped = threading.Event()

    def put(piece: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                pieces.put(piece, timeout=0.1)
                return

    def work() -> None:
        try:
            for piece in make():
                put(piece)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised where the pieces are used
            put(error)

    thread = threading.Thread(target=work, name="backupd-inflate", daemon=True)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        stopped.set()
        thread.join()
