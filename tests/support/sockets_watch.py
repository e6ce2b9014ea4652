"""Notes where this process connects, sends and asks for names, by an audit hook.

What servers of the tests answer, in their threads of `socketserver`, is not noted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_EVENTS = frozenset(
    {
        "socket.connect",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "urllib.Request",
        "subprocess.Popen",
        "os.system",
    }
)
_listeners: list[list[tuple[str, str]]] = []
_installed: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    serving = "process_request" in threading.current_thread().name
    if _listeners and event in _EVENTS and not serving:
        where = arguments[0] if event == "socket.getaddrinfo" else arguments[1:2]
        for noted in _listeners:
            noted.append((event, repr(where)))


@contextmanager
def watching() -> Iterator[list[tuple[str, str]]]:
    """Yield a list that grows by every contact, in any thread, while the block lasts."""
    if not _installed:
        sys.addaudithook(_hook)  # cannot be taken out again; it is idle without listeners
        _installed.append(True)
    noted: list[tuple[str, str]] = []
    _listeners.append(noted)
    try:
        yield noted
    finally:
        _listeners.remove(noted)
