"""Find out what must stay of snapshots that are to be forgotten.

Only objects that no other snapshot and no remainder holds are at risk. Of these stay:

* of a conversation that the account's newest export lacks, or its newest complete one: one slice
  of every state that has different turns, and the newest slice;
* of every other conversation: the newest slice, the head and the latest content by the rules of
  `export.versions` (a poorer export never stands for a richer one);
* what stands in a conversations file and cannot be read as a conversation;
* every asset whose bare id any slice shows that stays, be it in a snapshot or in a remainder.

Wherever the rules could not tell, the answer is to keep. The catalog is not asked: it is derived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from backupd.export.conversations import Conversation, ConversationUnreadable, parse
from backupd.export.versions import Fingerprint, fingerprint, observe
from backupd.store.contents import AssetMember, Contents, contents
from backupd.store.index import Index
from backupd.store.remainders import (
    FORMAT,
    Forgotten,
    KeptAsset,
    KeptConversation,
    KeptSlice,
    Record,
    Remainder,
    Why,
)
from backupd.store.snapshot import Snapshot
from backupd.store.snapshots import Snapshots


class _Identity(msgspec.Struct):
    """The part of a slice that names its conversation."""

    conversation_id: str | None = None
    id: str | None = None


_identity = msgspec.json.Decoder(_Identity)


@dataclass(slots=True)
class _Slices:
    """What was learnt from slices: whose they are, their states, what shows an asset."""

    owner: dict[bytes, str] = field(default_factory=dict)
    states: dict[bytes, Fingerprint] = field(default_factory=dict)
    shown: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def learn(self, name: bytes, conversation: Conversation) -> None:
        """Remember a slice's state."""
        self.owner[name] = conversation.id
        self.states[name] = fingerprint(conversation)

    def show(self, conversation: Conversation) -> None:
        """Remember which assets a conversation shows."""
        for turn in conversation.turns:
            for asset in turn.assets:
                self.shown[asset.partition("#")[0]].add(conversation.id)


class Remaining:
    """Answers for one repository; reads only."""

    def __init__(self, index: Index, snapshots: Snapshots, remainders: Sequence[Remainder]) -> None:
        self._index = index
        self._snapshots = snapshots
        self._remainders = remainders
        self._held = {name for each in remainders for name in each.record.objects()}

    def of(self, everything: Sequence[Snapshot], forgotten: set[str], now: datetime) -> Record:
        """Return what must stay when the snapshots with these ids go.

        `everything` are all snapshots, the oldest first.

        Raises:
            RepositoryDamaged: a recipe or a conversation that matters cannot be read.
        """
        going = [snapshot for snapshot in everything if snapshot.id in forgotten]
        safe = set(self._held)
        for snapshot in everything:
            if snapshot.id not in forgotten:
                safe.update(self._snapshots.recipe(snapshot).ids())
        numbers = {snapshot.id: number for number, snapshot in enumerate(going)}
        kept: list[KeptConversation] = []
        assets: list[KeptAsset] = []
        pieces: set[bytes] = set()
        for account in sorted({account_of(snapshot) for snapshot in going}):
            mine = [snapshot for snapshot in everything if account_of(snapshot) == account]
            found = _Account(self, account, mine, numbers, safe)
            kept += found.conversations()
            assets += found.assets()
            pieces |= found.pieces
        return Record(
            format=FORMAT,
            forgotten_at=now,
            snapshots=tuple(map(_facts, going)),
            conversations=tuple(kept),
            assets=tuple(assets),
            pieces=tuple(sorted(name.hex() for name in pieces)),
        )

    def contents(self, snapshot: Snapshot) -> Contents:
        """Return what a snapshot holds."""
        with self._snapshots.reader() as reader:
            return contents(self._snapshots.recipe(snapshot), reader.read)

    def read(self, names: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield (id, bytes) of objects, quickest order."""
        with self._snapshots.reader() as reader:
            for name in self._index.sort(names):
                yield name, reader.read(name)

    def held_slices(self, account: str) -> Iterator[bytes]:
        """Yield the slices of an account that remainders keep."""
        for each in self._remainders:
            for conversation in each.record.conversations:
                if conversation.account == account:
                    yield from (bytes.fromhex(state.object) for state in conversation.slices)


class _Account:
    """The snapshots of one account, the oldest first."""

    def __init__(
        self,
        remaining: Remaining,
        name: str,
        snapshots: Sequence[Snapshot],
        numbers: Mapping[str, int],
        safe: set[bytes],
    ) -> None:
        self._remaining = remaining
        self._name = name
        self._snapshots = snapshots
        self._numbers = numbers
        self._safe = safe
        self._contents = [remaining.contents(snapshot) for snapshot in snapshots]
        self._slices = _Slices()
        going = self._going()
        self.pieces = {i for _, each in going for i in each.pieces if i not in safe}
        self._at_risk = {i for _, each in going for i in each.slices if i not in safe}
        self._loose = self._loose_assets()
        self._learn()
        self._seen = self._occurrences()
        self._found = self._find()

    def conversations(self) -> list[KeptConversation]:
        """Return the conversations of which something must stay, by id."""
        return self._found

    def _find(self) -> list[KeptConversation]:
        found = ((name, *self._required(name)) for name in sorted(self._affected()))
        kept = [(name, why, needed & self._at_risk) for name, why, needed in found]
        return [self._kept(*each) for each in kept if each[2]]

    def assets(self) -> list[KeptAsset]:
        """Return the assets that must stay, one for each content."""
        self._look_at_what_stays()
        found: dict[tuple[bytes, ...], KeptAsset] = {}
        for number, asset in self._loose:
            by = {name for each in asset.known_as for name in self._slices.shown.get(each, ())}
            if by:
                found[asset.objects] = KeptAsset(
                    account=self._name,
                    name=asset.name,
                    snapshot=number,
                    compressed=asset.compressed,
                    objects=tuple(name.hex() for name in asset.objects),
                    shown_by=tuple(sorted(by)),
                )
        return list(found.values())

    def _going(self) -> list[tuple[int, Contents]]:
        """Return (number, contents) of the snapshots to be forgotten, the oldest first."""
        pairs = zip(self._snapshots, self._contents, strict=True)
        return [(self._numbers[s.id], c) for s, c in pairs if s.id in self._numbers]

    def _loose_assets(self) -> list[tuple[int, AssetMember]]:
        return [
            (number, asset)
            for number, each in self._going()
            for asset in each.assets
            if not self._safe.issuperset(asset.objects)
        ]

    def _affected(self) -> set[str]:
        owner = self._slices.owner
        return {owner[name] for name in self._at_risk if name in owner}

    def _learn(self) -> None:
        """Parse the slices at risk, then every other slice of the same conversations."""
        for name, data in self._remaining.read(self._at_risk):
            try:
                self._slices.learn(name, parse(data))
            except ConversationUnreadable:
                self.pieces.add(name)
        wanted = self._affected()
        if not wanted:
            return
        others = {i for each in self._contents for i in each.slices} - self._at_risk
        for name, data in self._remaining.read(others):
            if _owner(data) in wanted:
                try:
                    self._slices.learn(name, parse(data))
                except ConversationUnreadable:
                    continue  # it stays in a snapshot; as a state it counts for nothing

    def _required(self, conversation: str) -> tuple[Why, set[bytes]]:
        """Return why a conversation's slices must stay, and which."""
        seen = self._seen[conversation]
        states = self._slices.states
        newest = {len(self._snapshots) - 1}
        newest.update([n for n, s in enumerate(self._snapshots) if s.complete is not False][-1:])
        last_of = {states[name].digest: name for _, name in seen}
        held = {states[name].digest for _, name in seen if name in self._safe}
        latest = seen[-1][1]
        if not newest <= {number for number, _ in seen}:
            return Why.GONE, {n for d, n in last_of.items() if d not in held} | {latest}
        known = observe(None, states[seen[0][1]]).known
        for _, name in seen[1:]:
            known = observe(known, states[name]).known
        heads = {known.head.digest, known.latest.digest}
        return Why.NEWEST, {last_of[digest] for digest in heads - held} | {latest}

    def _occurrences(self) -> dict[str, list[tuple[int, bytes]]]:
        """Return (position of the snapshot, slice) of each conversation's states, in order."""
        found: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for number, each in enumerate(self._contents):
            for name in each.slices:
                if name in self._slices.owner:
                    found[self._slices.owner[name]].append((number, name))
        return found

    def _kept(self, name: str, why: Why, needed: set[bytes]) -> KeptConversation:
        places: dict[bytes, list[int]] = {}
        for number, each in self._going():
            for piece in needed.intersection(each.slices):
                places.setdefault(piece, []).append(number)
        states = [
            KeptSlice(object=piece.hex(), snapshots=tuple(where))
            for piece, where in sorted(places.items(), key=lambda item: (item[1], item[0]))
        ]
        return KeptConversation(account=self._name, id=name, why=why.value, slices=tuple(states))

    def _look_at_what_stays(self) -> None:
        """Note the assets that slices show which stay, wherever they stay."""
        if not self._loose:
            return
        staying = {
            bytes.fromhex(state.object) for each in self.conversations() for state in each.slices
        }
        for snapshot, each in zip(self._snapshots, self._contents, strict=True):
            if snapshot.id not in self._numbers:
                staying.update(each.slices)
        staying.update(self._remaining.held_slices(self._name))
        for _, data in self._remaining.read(staying):
            try:
                self._slices.show(parse(data))
            except ConversationUnreadable:
                continue  # nobody can tell what it shows


def account_of(snapshot: Snapshot) -> str:
    """Return the name under which a snapshot's history is kept; "" where nobody can tell."""
    return snapshot.account or snapshot.account_prefix or ""


def _owner(data: bytes) -> str | None:
    try:
        found = _identity.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            return parse(data).id
        except ConversationUnreadable:
            return None
    return found.conversation_id or found.id


def _facts(snapshot: Snapshot) -> Forgotten:
    return Forgotten(
        id=snapshot.id,
        sha256=snapshot.sha256,
        size=snapshot.size,
        account=snapshot.account,
        account_prefix=snapshot.account_prefix,
        exported_at=snapshot.exported_at,
        received_at=snapshot.received_at,
        complete=snapshot.complete,
        era=snapshot.era,
        file_name=snapshot.origin.file_name,
    )
