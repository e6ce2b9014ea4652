"""Whose export is whose, when several ChatGPT accounts come to one repository. Pure.

An account is the person that `user.json` names; the beginning of its exports' file names is the
same for all of them. So a snapshot whose export names nobody belongs to the account that its file
name has brought so far, if that was one only. Nothing here decides where anything is stored: each
account's history is computed from its own snapshots whatever is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.config import AccountSettings
from backupd.store.repository import Snapshot

SHOWN = 12
"""So many signs of an id or a file name's beginning tell accounts apart and give little away."""


@dataclass(frozen=True, slots=True)
class Account:
    """One ChatGPT account, as the repository knows it.

    `id` is the digest of the user id, else the beginning of its file names; "" stands for all
    exports that name nobody. `name` is its table in [accounts]. `received_at` is when its newest
    export came, `current_to` how far its conversations are backed up: a back-fill brings old ones.
    """

    id: str
    name: str | None
    prefix: str | None
    snapshots: int
    received_at: datetime
    current_to: datetime

    @property
    def label(self) -> str:
        """Name the account for a person."""
        return self.name or self.id[:SHOWN] or "unknown"


@dataclass(frozen=True, slots=True)
class Stranger:
    """An export of an account that was not expected: `expected` came under its file name so far.

    None there: nothing is known but that the account has not been seen before.
    """

    account: Account
    expected: Account | None


class Accounts:
    """The accounts of some snapshots, and what the configuration calls them."""

    def __init__(self, snapshots: Sequence[Snapshot], named: Iterable[AccountSettings]) -> None:
        self._snapshots = snapshots
        self._named = tuple(named)
        self._owners = _owners(snapshots)
        groups: dict[str, list[Snapshot]] = {}
        for snapshot in snapshots:
            groups.setdefault(self._id(snapshot), []).append(snapshot)
        self._known = {id_: self._account(id_, mine) for id_, mine in groups.items()}

    def __iter__(self) -> Iterator[Account]:
        """Iterate over the accounts by label; exports that name nobody come last."""
        return iter(sorted(self._known.values(), key=lambda one: (not one.id, one.label)))

    def of(self, snapshot: Snapshot) -> Account:
        """Return the account of one of the snapshots."""
        return self._known[self._id(snapshot)]

    def foreign_prefixes(self, snapshot: Snapshot) -> frozenset[str]:
        """Return the beginnings of file names that are known to be other accounts' than its."""
        if snapshot.account is None:
            return frozenset()
        return frozenset(
            prefix for prefix, owners in self._owners.items() if snapshot.account not in owners
        )

    def stranger(self, snapshot: Snapshot) -> Stranger | None:
        """Say whether a snapshot's account is wrong for its file name, or new.

        Said of the first snapshot that shows it, whenever that is asked; never of the first
        account of all, unless others are configured.
        """
        mine = self.of(snapshot)
        others = [one for one in self._snapshots if one.id != snapshot.id]
        if not mine.id or any(
            one.account_prefix == snapshot.account_prefix
            for one in others
            if self._id(one) == mine.id
        ):
            return None
        for other in others:
            same_name = other.account_prefix == snapshot.account_prefix is not None
            if same_name and self._id(other) != mine.id:
                return Stranger(mine, self.of(other))
        expects = self._named or any(self._id(one) for one in others)
        return Stranger(mine, None) if mine.snapshots == 1 and expects and not mine.name else None

    def _id(self, snapshot: Snapshot) -> str:
        prefix = snapshot.account_prefix or ""
        owners = self._owners.get(prefix, frozenset())
        return snapshot.account or (next(iter(owners)) if len(owners) == 1 else prefix)

    def _account(self, id_: str, mine: Sequence[Snapshot]) -> Account:
        prefixes = [one.account_prefix for one in mine if one.account_prefix]
        return Account(
            id=id_,
            name=self._name(prefixes),
            prefix=prefixes[-1] if prefixes else None,
            snapshots=len(mine),
            received_at=max(one.received_at for one in mine),
            current_to=max(map(_current_to, mine)),
        )

    def _name(self, prefixes: Sequence[str]) -> str | None:
        """Return the table that knows the newest file name; the longest prefix decides."""
        for prefix in reversed(prefixes):
            fitting = [one for one in self._named if prefix.startswith(one.prefix.lower())]
            if fitting:
                return max(fitting, key=lambda one: len(one.prefix)).name
        return None


@dataclass(frozen=True, slots=True)
class Overdue:
    """No export came for too long; `label` is None where there is only one account, or none."""

    id: str
    label: str | None
    since: datetime
    ever: bool


def overdue(
    accounts: Accounts,
    named: Iterable[AccountSettings],
    patience: timedelta,
    watching_since: datetime | None,
    now: datetime,
) -> tuple[Overdue, ...]:
    """Return the accounts whose newest export is older than `patience`, or than their own.

    Exports that name nobody count for the only account there is, else for none. Without any
    snapshot it is `watching_since` that counts.
    """
    known = [one for one in accounts if one.id]
    unknown = [one for one in accounts if not one.id]
    if not known and not unknown:
        late = watching_since is not None and now - watching_since >= patience
        return (Overdue("", None, watching_since, ever=False),) if late and watching_since else ()
    alone = len(known) <= 1
    own = {one.name: one.remind_after for one in named}
    found = []
    for one in known or unknown:
        since = max(other.current_to for other in ([one, *unknown] if alone else [one]))
        if now - since >= (own.get(one.name or "") or patience):
            found.append(Overdue(one.id, None if alone else one.label, since, ever=True))
    return tuple(found)


def _owners(snapshots: Iterable[Snapshot]) -> dict[str, frozenset[str]]:
    """Return, for each beginning of file names, the accounts whose exports came under it."""
    found: dict[str, set[str]] = {}
    for snapshot in snapshots:
        if snapshot.account_prefix and snapshot.account:
            found.setdefault(snapshot.account_prefix, set()).add(snapshot.account)
    return {prefix: frozenset(owners) for prefix, owners in found.items()}


def _current_to(snapshot: Snapshot) -> datetime:
    """Return how new a snapshot's conversations are; what came by itself was made just before."""
    if snapshot.origin.source != "import" or snapshot.exported_at is None:
        return snapshot.received_at
    return min(snapshot.exported_at, snapshot.received_at)
