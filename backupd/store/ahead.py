"""Rebuild an export on several processors: members are deflated ahead of their turn.

Deflate is nearly all of the work of a rebuild and one stream cannot be divided, but the streams of
a ZIP are independent. Helpers, as many as there are processors, take the largest members first and
hold their streams until it is their turn. The caller's thread walks through the recipe in order,
takes what they hold, and deflates by itself whatever nobody has begun.

Memory is bounded: helpers begin nothing new and wait while they hold `HELD_BYTES` between them,
except for the member whose turn it is. Nobody ever waits for a member that no one works on, so
there is no deadlock. The bytes are those of `rebuild.rebuild`.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from backupd.export import deflate
from backupd.export.deflate import Encoder
from backupd.store.rebuild import Read, content
from backupd.store.recipe import Begin, Coding, End, Event, Recipe

HELD_BYTES = 32 << 20
_TURN_BYTES = 8 << 20
_EVENTS_AHEAD = 1 << 17
_EVENTS_TOGETHER = 1 << 10
_MOST_HELPERS = 4
_GENTLE = 10


@dataclass(slots=True, eq=False)
class _Part:
    """A deflated member, or with no encoder the events between two of them."""

    encoder: Encoder | None
    events: list[Event] = field(default_factory=list)
    taken: bool = False
    ended: bool = False
    held: int = 0
    chunks: deque[bytes] = field(default_factory=deque)
    error: BaseException | None = None

    def stream(self, read: Read) -> Iterator[bytes]:
        """Yield the part's bytes in the ZIP."""
        found = content(iter(self.events), read)
        return found if self.encoder is None else deflate.encode(found, self.encoder)


def rebuild(recipe: Recipe, read: Read, *, gentle: bool = False) -> Iterator[bytes]:
    """Yield the export's bytes in order, using the processors that this process may use.

    `read` is called from one thread at a time. With `gentle`, helpers give way to other work.

    Raises:
        RepositoryDamaged: an object cannot be read, or the recipe is broken.
    """
    processors = len(os.sched_getaffinity(0))
    helpers = min(processors, _MOST_HELPERS) if processors > 1 else 0
    return _Rebuild(recipe, read, gentle=gentle).run(helpers)


def give_way() -> None:
    """Lower the priority of the calling thread, for good; Linux keeps one for each thread.

    Not to the lowest: a thread that is never run while it holds the interpreter stops all others.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GENTLE)


class _Rebuild:
    """One rebuild: parts in order, those that helpers may take, and what they hold."""

    def __init__(self, recipe: Recipe, read: Read, *, gentle: bool) -> None:
        self._parts = _parts(recipe.events())
        self._read_object = read
        self._gentle = gentle
        self._reading = threading.Lock()
        self._changed = threading.Condition()
        self._coming: deque[_Part] = deque()
        self._events = 0
        self._free: list[tuple[int, int, _Part]] = []
        self._number = 0
        self._held = 0
        self._turn: _Part | None = None
        self._stopped = False

    def run(self, helpers: int) -> Iterator[bytes]:
        threads = [
            threading.Thread(target=self._help, name="backupd-deflate", daemon=True)
            for _ in range(helpers)
        ]
        self._look_ahead()
        for thread in threads:
            thread.start()
        try:
            while self._coming:
                yield from self._give(self._coming[0])
                with self._changed:
                    part = self._coming.popleft()
                self._events -= len(part.events)
                self._look_ahead()
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()

    def _look_ahead(self) -> None:
        """Read on in the recipe, as far as memory allows."""
        with self._changed:
            while self._events < _EVENTS_AHEAD or not self._coming:
                part = next(self._parts, None)
                if part is None:
                    break
                self._coming.append(part)
                self._events += len(part.events)
                if part.encoder is not None:
                    heapq.heappush(self._free, (-len(part.events), self._number, part))
                    self._number += 1
            self._changed.notify_all()

    def _read(self, name: bytes) -> bytes:
        with self._reading:
            return self._read_object(name)

    def _give(self, part: _Part) -> Iterator[bytes]:
        """Yield the bytes of the part whose turn it is."""
        with self._changed:
            mine, part.taken, self._turn = not part.taken, True, part
            self._changed.notify_all()
        if mine:
            yield from part.stream(self._read)
            return
        while (chunks := self._collect(part)) is not None:
            yield from chunks

    def _collect(self, part: _Part) -> deque[bytes] | None:
        """Wait for bytes that a helper made; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: part.chunks or part.ended)
            if not part.chunks:
                if part.error is not None:
                    raise part.error
                return None
            chunks, part.chunks = part.chunks, deque()
            self._held -= part.held
            part.held = 0
            self._changed.notify_all()
            return chunks

    def _help(self) -> None:
        """Be a helper: take parts until there are no more."""
        if self._gentle:
            give_way()
        while (part := self._take()) is not None:
            try:
                for chunk in part.stream(self._read):
                    if not self._hold(part, chunk):
                        return
            except BaseException as error:  # noqa: BLE001 - raised again where it is the part's turn
                part.error = error
            with self._changed:
                part.ended = True
                self._changed.notify_all()

    def _take(self) -> _Part | None:
        with self._changed:
            while not self._stopped:
                while self._free and self._free[0][2].taken:
                    heapq.heappop(self._free)
                if self._free and self._held < HELD_BYTES:
                    part = heapq.heappop(self._free)[2]
                    part.taken = True
                    return part
                self._changed.wait()
            return None

    def _hold(self, part: _Part, chunk: bytes) -> bool:
        """Keep bytes until it is their turn; False when nobody wants them any more."""
        with self._changed:
            while not self._stopped and self._is_full(part):
                self._changed.wait()
            part.chunks.append(chunk)
            part.held += len(chunk)
            self._held += len(chunk)
            if part is self._turn:
                self._changed.notify_all()
            return not self._stopped

    def _is_full(self, part: _Part) -> bool:
        if part is self._turn:
            return part.held >= _TURN_BYTES
        return self._held >= HELD_BYTES


def _parts(events: Iterator[Event]) -> Iterator[_Part]:
    """Cut a recipe into deflated members and what lies between them."""
    between = _Part(None)
    for event in events:
        if isinstance(event, Begin) and event.coding is Coding.DEFLATED:
            if between.events:
                yield between
            between = _Part(None)
            yield _Part(event.encoder, list(_inside(events)))
        elif not isinstance(event, Begin | End):  # a stored member is its content
            between.events.append(event)
            if len(between.events) == _EVENTS_TOGETHER:
                yield between
                between = _Part(None)
    yield between


def _inside(events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events up to the end of the member that has just begun, inner members included."""
    depth = 0
    for event in events:
        if isinstance(event, Begin):
            depth += 1
        elif isinstance(event, End):
            if depth == 0:
                return
            depth -= 1
        yield event
