"""A person's answer about deliveries whose mail nothing proves. Each is one durable transaction."""

from __future__ import annotations

from datetime import datetime

from backupd.errors import UsageError
from backupd.ledger.db import Database
from backupd.ledger.deliveries import Deliveries, stamp
from backupd.ledger.delivery import Delivery, State

APPROVED = "approved by a person"
"""The proof of a delivery that a person let through."""
REJECTED = "turned down by a person"


class Approvals:
    """The deliveries of one ledger that wait for a person's approval."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._deliveries = Deliveries(database)

    def waiting(self) -> list[Delivery]:
        """Return those that wait, nearest deadline first."""
        return [delivery for delivery in self._deliveries.pending() if delivery.is_unproven]

    def find(self, selector: str) -> Delivery:
        """Return the one that waits under this id, or under a unique beginning of it.

        Raises:
            UsageError: none does, or several do.
        """
        waiting = self.waiting()
        found = [delivery for delivery in waiting if selector and delivery.id.startswith(selector)]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(delivery.id for delivery in waiting) or "none"
        problem = "several begin like this" if found else "no such delivery waits for approval"
        raise UsageError(
            f'find delivery "{selector[:40]}": {problem}', f"name one of those that wait: {ids}"
        )

    def approve(self, delivery: Delivery, now: datetime) -> bool:
        """Let a delivery go on, due at once; False if it does not wait any more."""
        with self._db.transaction() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET state = ?, proof = ?, outcome = NULL, next_attempt_at = ?,"
                " updated_at = ? WHERE id = ? AND state = ? AND proof IS NULL",
                (
                    *(State.PROVEN.value, APPROVED, stamp(now), stamp(now)),
                    *(delivery.id, State.NEEDS_YOU.value),
                ),
            )
        return changed.rowcount == 1

    def reject(self, delivery: Delivery, now: datetime) -> bool:
        """End a delivery and erase its link; False if it does not wait any more."""
        with self._db.transaction():
            if not self._deliveries.get(delivery.id).is_unproven:
                return False
            self._deliveries.refused(delivery.id, REJECTED, now)
        return True

    def has_stored(self, account: str) -> bool:
        """Say whether an export of this account, by its file name, was stored before."""
        found = self._db.row(
            "SELECT 1 FROM deliveries WHERE account = ? AND state = ?",
            (account, State.STORED.value),
        )
        return found is not None
