"""Due deliveries are fetched, judged and stored (commit order, steps 3 to 7).

One delivery at a time, nearest deadline first. An attempt that fails is followed by another one
while the link may live; what only a person can cure is told at once, with the time left.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from backupd import notice
from backupd.download import fetch as download
from backupd.download.plan import next_attempt
from backupd.download.way import Errand
from backupd.errors import BackupdError, RepositoryLocked, StorageFull
from backupd.intake.deadline import LAST_CHANCE, TRANSFER, wall_pause
from backupd.intake.rooms import Rooms
from backupd.intake.sessions import remember
from backupd.intake.storing import Quarantined, store
from backupd.intake.ways import attempt
from backupd.ledger.delivery import OVER, Delivery, State
from backupd.mail.gate import LinkRefused
from backupd.mail.link import Link, parse_link
from backupd.store.repository import Origin

log = logging.getLogger(__name__)

PROGRESS = 1 << 16
"""An attempt that brought so many bytes before it broke off is continued at once."""
RESUME_PAUSE = timedelta(seconds=1)
STORE_RETRY = timedelta(minutes=1)
"""A file that is safe but could not be stored yet is tried again this soon."""
QUIET_ATTEMPTS = 3
"""So many failed attempts are made before a person hears of a network or server fault."""


class Fetcher:
    """Works off due deliveries; `alive` is called while long work goes on."""

    def __init__(self, rooms: Rooms, cancel: threading.Event, alive: Callable[[], None]) -> None:
        self._rooms = rooms
        self._cancel = cancel
        self._alive = alive
        self._random = random.SystemRandom()

    def recover(self) -> None:
        """Make deliveries that a previous process left in mid-air due again."""
        now = self._rooms.clock()
        for delivery in self._rooms.deliveries.pending():
            if delivery.state is State.FETCHING:
                self._rooms.deliveries.interrupted(delivery.id, now)
            elif delivery.state is State.FETCHED and not _part_is_there(delivery):
                self._rooms.deliveries.retry(delivery.id, now, "part-missing", "", now)
            elif delivery.state is State.FETCHED:
                self._rooms.deliveries.postpone(delivery.id, now, now)

    def wanted(self) -> set[Path]:
        """Return the files in the repository's `incoming` that pending deliveries still need."""
        parts = {d.part for d in self._rooms.deliveries.pending() if d.part is not None}
        return parts | {part.with_suffix(".json") for part in parts}

    def tidy(self) -> None:
        """Remove what unfinished work left in the repository, unless others are at work there."""
        try:
            self._rooms.repository.collect(self.wanted())
        except BackupdError as error:
            log.info("unfinished work is left alone: %s", error.message)

    def run_due(self) -> int:
        """Attempt every due delivery once; returns how many were attempted."""
        done = 0
        for delivery in self._rooms.deliveries.due(self._rooms.clock()):
            if self._cancel.is_set():
                break
            self._alive()
            self._attempt_safely(delivery)
            done += 1
        return done

    def _attempt_safely(self, delivery: Delivery) -> None:
        """Attempt one delivery so that its failure, whatever it is, does not hold up the others."""
        try:
            self._attempt(delivery)
        except BackupdError as error:
            log.error("delivery %s: %s", delivery.id, error.message)  # noqa: TRY400
            self._failed(delivery, type(error).__name__, error.message)
        except Exception as error:
            log.exception("delivery %s failed", delivery.id)
            self._failed(delivery, type(error).__name__, "internal error")
            self._rooms.tell(notice.internal_error(part="fetch", kind=type(error).__name__))

    def _failed(self, delivery: Delivery, kind: str, detail: str) -> None:
        """Plan another attempt after a failure that has no outcome of its own, and tell (I7)."""
        now = self._rooms.clock()
        delivery = self._rooms.deliveries.get(delivery.id)
        if delivery.state is State.FETCHED:
            file = delivery.file_name
            self._rooms.deliveries.postpone(delivery.id, now + STORE_RETRY, now)
            self._rooms.tell(
                notice.not_stored(source="mail", reason=detail, delivery=delivery.id, file=file)
            )
        elif delivery.state is State.FETCHING:
            self._retry(delivery, kind, detail, now)

    def _attempt(self, delivery: Delivery) -> None:
        if delivery.state is State.FETCHED and _part_is_there(delivery):
            self._store(delivery)
            return
        try:
            link = _link(delivery, self._rooms.clock())
        except LinkRefused as refused:
            self._refused(delivery, str(refused))
            return
        if link is not None:  # else it was used or is dead: nothing is left to try
            self._fetch(delivery, link)

    def _fetch(self, delivery: Delivery, link: Link) -> None:
        """Make one attempt and draw the consequence; the ledger may have moved on meanwhile."""
        part = delivery.part or self._rooms.repository.incoming / f"{delivery.id}.part"
        before = _size(part)
        self._rooms.deliveries.fetching(delivery.id, part, self._rooms.clock())
        errand = Errand(
            link=link,
            part=part,
            limits=self._limits(),
            network=self._network(),
            now=self._rooms.clock,
            cancel=self._cancel,
            progress=lambda _done, _total: self._alive(),
        )
        heard = partial(remember, self._rooms, self._rooms.ways.choice(link.file_name))
        outcome = attempt(self._rooms.ways.to(link), errand, heard)
        tried, delivery = delivery.link, self._rooms.deliveries.get(delivery.id)
        if delivery.state is not State.FETCHING:
            download.discard(part)  # a person handed the file in meanwhile
        elif delivery.link != tried and not isinstance(outcome, download.Fetched):
            self._go_on(delivery, outcome, timedelta(0))
        elif isinstance(outcome, download.NetworkFailed) and _size(part) - before >= PROGRESS:
            self._go_on(delivery, outcome, RESUME_PAUSE)
        else:
            self._settle(delivery, outcome)

    def _go_on(self, delivery: Delivery, outcome: download.Outcome, pause: timedelta) -> None:
        now = self._rooms.clock()
        at = now + pause
        self._rooms.deliveries.retry(delivery.id, at, outcome.kind, outcome.detail, now)

    def _limits(self) -> download.Limits:
        settings = self._rooms.settings.download
        return download.Limits(max_size=settings.max_size, min_rate=settings.min_rate)

    def _network(self) -> download.Network:
        settings = self._rooms.settings.download
        return download.Network(settings.ca_file, settings.connect_to)

    def _settle(self, delivery: Delivery, outcome: download.Outcome) -> None:
        now = self._rooms.clock()
        match outcome:
            case download.Fetched():
                again = delivery.sha256 == outcome.sha256
                self._rooms.deliveries.fetched(delivery.id, outcome.sha256, outcome.size, now)
                self._store(self._rooms.deliveries.get(delivery.id), last_word=again)
            case download.Cancelled():
                self._rooms.deliveries.interrupted(delivery.id, now)
            case (
                download.SignInNeeded()
                | download.SessionRefused()
                | download.SessionMissing()
                | download.WrongAccount()
                | download.Challenged()
                | download.TooBig()
            ):
                self._needs_you(delivery, outcome.kind, outcome.detail, now)
            case download.Expired(certain=True):
                self.expire(delivery, outcome.detail)
            case download.LinkRefused():
                self._refused(delivery, outcome.detail)
            case download.RateLimited():
                self._retry(delivery, outcome.kind, outcome.detail, now, outcome.retry_after)
            case download.DiskFull():
                self._retry(delivery, outcome.kind, outcome.detail, now)
                self._tell_disk(delivery, outcome.missing, now)
            case _:
                self._retry(delivery, outcome.kind, outcome.detail, now)

    def _retry(
        self,
        delivery: Delivery,
        kind: str,
        detail: str,
        now: datetime,
        retry_after: timedelta | None = None,
    ) -> None:
        at = self._next(delivery, now, retry_after)
        if at is None:
            self.expire(delivery, detail)
            return
        with self._rooms.database.transaction():
            self._rooms.deliveries.retry(delivery.id, at, kind, detail, now)
            if delivery.attempts >= QUIET_ATTEMPTS and kind != download.DiskFull.kind:
                self._rooms.tell(
                    notice.download_failed(
                        delivery=delivery.id,
                        kind=kind,
                        detail=detail,
                        attempts=delivery.attempts,
                        next_attempt=at - now,
                        time_left=time_left(delivery, now),
                    )
                )

    def _needs_you(self, delivery: Delivery, kind: str, detail: str, now: datetime) -> None:
        at = self._next(delivery, now, None)
        if at is None:
            self.expire(delivery, detail)
            return
        with self._rooms.database.transaction():
            self._rooms.deliveries.needs_you(
                delivery.id, max(at, now + wall_pause(delivery, now)), kind, detail, now
            )
            self._rooms.tell(
                notice.sign_in_needed(
                    delivery=delivery.id,
                    host=delivery.host or "",
                    file_name=delivery.file_name,
                    kind=kind,
                    time_left=time_left(delivery, now),
                    deadline=delivery.deadline,
                    drop_folder=self._drop_folder(delivery),
                    credential=self._credential(delivery),
                )
            )

    def _tell_disk(self, delivery: Delivery, missing: int, now: datetime) -> None:
        self._rooms.tell(
            notice.disk_low(
                delivery=delivery.id, missing=missing, time_left=time_left(delivery, now)
            )
        )

    def last_chance(self, delivery: Delivery, now: datetime) -> Delivery:
        """Have a link whose time is over tried at once, and for a while; given once."""
        log.info("delivery %s: the link's time is over, it is tried once more", delivery.id)
        return self._rooms.deliveries.last_chance(delivery.id, now + LAST_CHANCE, now)

    def _next(
        self, delivery: Delivery, now: datetime, retry_after: timedelta | None
    ) -> datetime | None:
        """Plan the next attempt; None only if one was made after the link's time was over."""
        over = delivery.give_up_at is not None and now >= delivery.give_up_at
        if over and delivery.alarm < OVER:
            delivery = self.last_chance(delivery, now)
        deadline = delivery.deadline or now
        give_up_at = delivery.give_up_at or deadline
        return next_attempt(
            now,
            delivery.created_at,
            deadline,
            give_up_at,
            delivery.attempts,
            retry_after,
            self._random,
        )

    def expire(self, delivery: Delivery, detail: str) -> None:
        """End a delivery whose link is dead, and tell what to do."""
        with self._rooms.database.transaction():
            self._rooms.deliveries.expired(delivery.id, detail, self._rooms.clock())
            self._rooms.tell(
                notice.expired(delivery=delivery.id, attempts=delivery.attempts, reason=detail)
            )
        self._forget_part(delivery)

    def _refused(self, delivery: Delivery, detail: str) -> None:
        with self._rooms.database.transaction():
            self._rooms.deliveries.refused(delivery.id, detail, self._rooms.clock())
            self._rooms.tell(
                notice.mail_refused(
                    mailbox=delivery.mailbox or "",
                    sender=delivery.sender,
                    reason=detail,
                    delivery=delivery.id,
                )
            )
        self._forget_part(delivery)

    def _store(self, delivery: Delivery, *, last_word: bool = True) -> None:
        """Store a fetched file; `last_word` is False while another download may cure damage."""
        if delivery.part is None:
            return
        now = self._rooms.clock()
        try:
            result = store(
                self._rooms,
                delivery.part,
                _origin(delivery, now),
                delivery,
                lambda _stage, _done, _total: self._alive(),
            )
        except RepositoryLocked:
            self._rooms.deliveries.postpone(delivery.id, now + STORE_RETRY, now)
            return
        except StorageFull as error:
            log.error("store delivery %s: %s", delivery.id, error.message)  # noqa: TRY400
            self._rooms.deliveries.postpone(delivery.id, now + STORE_RETRY, now)
            self._tell_disk(delivery, delivery.size or 0, now)
            return
        self._forget_part(delivery)
        if isinstance(result, Quarantined) and last_word:
            self._rooms.deliveries.quarantined(delivery.id, result.rule, now)
        elif isinstance(result, Quarantined):
            self._retry(delivery, "damaged-zip", result.rule, now)

    def _forget_part(self, delivery: Delivery) -> None:
        if delivery.part is not None:
            download.discard(delivery.part)

    def _credential(self, delivery: Delivery) -> str | None:
        return self._rooms.ways.choice(delivery.file_name or "").credential

    def _drop_folder(self, delivery: Delivery) -> str | None:
        return self._rooms.drop_folder(delivery.mailbox)


def _link(delivery: Delivery, now: datetime) -> Link | None:
    """Rebuild the link of a delivery, with the times that were worked out from its mail.

    Its end is that of the attempt, which begins now.
    """
    known = (delivery.link, delivery.mail_at, delivery.deadline, delivery.give_up_at)
    url, mail_at, deadline, give_up_at = known
    if url is None or mail_at is None or deadline is None or give_up_at is None:
        return None
    ends = max(give_up_at, now + TRANSFER)
    return replace(parse_link(url, mail_at, mail_at), deadline=deadline, give_up_at=ends)


def time_left(delivery: Delivery, now: datetime) -> timedelta:
    """Return how long the link is expected to live; never negative."""
    return max((delivery.deadline or now) - now, timedelta(0))


def _origin(delivery: Delivery, now: datetime) -> Origin:
    return Origin(
        file_name=delivery.file_name,
        received_at=now,
        source="mail",
        delivery=delivery.id,
        mailbox=delivery.mailbox,
    )


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _part_is_there(delivery: Delivery) -> bool:
    return delivery.part is not None and delivery.part.is_file()
