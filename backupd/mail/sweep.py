"""One folder, searched once: which mails are new, which are handed over, where the cursor stands.

- The server searches, then headers are fetched, then only the bodies that matter.
- A mail that was handed over before, under whatever UID, is known by its Message-ID and costs no
  body; without a sane Message-ID it is known by its bytes.
- A mail is handed over before the cursor passes it. One whose header or body did not come holds
  the cursor back and is asked for again at each pass, as long as the server still lists it.
- One that cannot be judged yet holds the cursor back too, without being counted as a fault.
- A mail beyond 5 MiB is told and passed over.
- A search covers mails that were dealt with: this process looks at none of them twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from enum import Enum

from backupd.mail.cursor import advance, plan
from backupd.mail.mailbox import FolderState, Session, Summary
from backupd.mail.message import MAX_BYTES, MessageRefused, parse, worth_fetching
from backupd.mail.sink import NotNow, Sink

log = logging.getLogger(__name__)

PATIENCE = 3


class _Outcome(Enum):
    HANDED_OVER = "handed over"
    PASSED = "passed"
    LATER = "later"
    UNDECIDED = "undecided"


_WAITING = (_Outcome.LATER, _Outcome.UNDECIDED)


class Sweep:
    """Searches the folders of one mailbox; remembers which mails gave trouble in this process."""

    def __init__(self, mailbox: str, sink: Sink, clock: Callable[[], datetime]) -> None:
        self._mailbox = mailbox
        self._sink = sink
        self._clock = clock
        self._searched: dict[str, FolderState] = {}
        self._misses: dict[tuple[str, int, int], int] = {}
        self._told: set[tuple[str, int, int]] = set()
        self._done: dict[str, set[tuple[int, int]]] = {}

    def folder(self, session: Session, folder: str) -> int:
        """Search `folder` and hand over what is new; return how many mails that were.

        Raises:
            FolderMissing, MailboxUnreachable: nothing is lost, the cursor has not moved.
        """
        state = session.examine(folder)
        cursor = self._sink.cursor(self._mailbox, folder)
        searched = plan(cursor, state.uidvalidity, state.uidnext, self._clock().date())
        if searched.rolled:
            log.info("mailbox %s: the UIDs of a folder changed: searching again", self._mailbox)
        done = self._done.get(folder, set())
        uids = [uid for uid in session.search(searched) if (state.uidvalidity, uid) not in done]
        self._searched[folder] = state
        outcomes = dict.fromkeys(uids, _Outcome.LATER)
        for summary in session.summaries(uids):
            outcomes[summary.uid] = self._mail(session, folder, state, summary)
        self._done[folder] = {one for one in done if one[1] >= searched.first_uid} | {
            (state.uidvalidity, uid) for uid, outcome in outcomes.items() if outcome not in _WAITING
        }
        for uid, outcome in outcomes.items():
            if outcome is _Outcome.LATER:
                self._miss(folder, state, uid)
        later = [uid for uid, outcome in outcomes.items() if outcome in _WAITING]
        reached = advance(searched, state.uidvalidity, state.uidnext, uids, later)
        if reached != cursor:
            self._sink.advance(self._mailbox, folder, reached)
        return sum(outcome is _Outcome.HANDED_OVER for outcome in outcomes.values())

    def is_behind(self, session: Session, folder: str) -> bool:
        """Open `folder` and tell whether something came since `folder` searched it.

        What comes from now on is announced to this connection, which keeps the folder open.
        """
        return session.examine(folder) != self._searched.get(folder)

    def _mail(
        self, session: Session, folder: str, state: FolderState, summary: Summary
    ) -> _Outcome:
        key = self._new_key(summary.header)
        if key is None:
            return _Outcome.PASSED
        size = summary.size or 0
        raw = session.body(summary.uid) if size <= MAX_BYTES else None
        if max(size, len(raw or b"")) > MAX_BYTES:
            self._tell(folder, state, summary.uid, f"the mail is larger than {MAX_BYTES} bytes")
            return _Outcome.PASSED
        if raw is None:
            return _Outcome.LATER
        if not key and self._sink.known(self._mailbox, _key(raw)):
            return _Outcome.PASSED
        received_at = summary.received_at or self._clock()
        try:
            self._sink.found(
                self._mailbox, folder, state.uidvalidity, summary.uid, raw, received_at
            )
        except NotNow as reason:
            log.info("mailbox %s: a mail waits: %s", self._mailbox, reason.message)
            return _Outcome.UNDECIDED
        return _Outcome.HANDED_OVER

    def _new_key(self, header: bytes) -> str | None:
        """Return a candidate's Message-ID, "" if it has no sane one, None if it is no candidate."""
        try:
            message = parse(header)
        except MessageRefused:
            return ""
        if not worth_fetching(message):
            return None
        if message.message_id is None:
            return ""
        known = self._sink.known(self._mailbox, message.message_id)
        return None if known else message.message_id

    def _miss(self, folder: str, state: FolderState, uid: int) -> None:
        """Count a mail that did not come; tell of it once, when it has not come three times."""
        place = (folder, state.uidvalidity, uid)
        self._misses[place] = self._misses.get(place, 0) + 1
        if self._misses[place] >= PATIENCE:
            self._tell(folder, state, uid, "the server lists the mail but does not hand it out")

    def _tell(self, folder: str, state: FolderState, uid: int, reason: str) -> None:
        place = (folder, state.uidvalidity, uid)
        if place not in self._told:
            self._told.add(place)
            self._sink.unreadable(self._mailbox, folder, uid, reason)


def _key(raw: bytes) -> str:
    try:
        return parse(raw).message_key
    except MessageRefused as refused:
        return refused.message_key
