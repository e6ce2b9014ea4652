"""Remainders: what stays of forgotten snapshots. Small files, named by their hash, never changed.

A remainder names objects that no snapshot may need any more and that must stay: the newest version
of each conversation, every version of one that is gone upstream, and the assets they show. It is
durable before the first manifest that it replaces is removed, and `prune` takes what it names for
needed. Nothing ever removes one. In an encrypted repository it
is sealed, and its name is the hash of the sealed bytes, as a manifest's is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from backupd.errors import RepositoryDamaged
from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.fsio import FileSystem
from backupd.store.paths import Paths
from backupd.store.sealed import canonical
from backupd.store.snapshot import manifest_id

FORMAT = 1


class Why(StrEnum):
    """Why a conversation of a forgotten snapshot stays."""

    GONE = "gone"
    NEWEST = "newest"


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a snapshot that was forgotten, as its manifest had them."""

    id: str
    sha256: str
    size: int
    account: str | None
    account_prefix: str | None
    exported_at: datetime | None
    received_at: datetime
    complete: bool | None
    era: str
    file_name: str | None


class KeptSlice(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a conversation: an object, and which of the forgotten snapshots had it."""

    object: str
    snapshots: tuple[int, ...]


class KeptConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation some of whose states would be lost; oldest state first."""

    account: str
    id: str
    why: str
    slices: tuple[KeptSlice, ...]


class KeptAsset(msgspec.Struct, frozen=True, kw_only=True):
    """A member that conversations show. Its content is its objects' bytes, put together; where
    `compressed`, they are its raw deflate stream. `snapshot` is the newest forgotten one with it.
    """

    account: str
    name: str
    snapshot: int
    compressed: bool
    objects: tuple[str, ...]
    shown_by: tuple[str, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a remainder's file says. Numbers of snapshots count in `snapshots`, from 0.

    `pieces` are objects of conversations files that could not be read as conversations.
    """

    format: int
    forgotten_at: datetime
    snapshots: tuple[Forgotten, ...]
    conversations: tuple[KeptConversation, ...]
    assets: tuple[KeptAsset, ...]
    pieces: tuple[str, ...]

    @property
    def keeps_nothing(self) -> bool:
        """Whether there is nothing that must stay."""
        return not (self.conversations or self.assets or self.pieces)

    def objects(self) -> Iterator[bytes]:
        """Yield every object that must stay; some perhaps more than once."""
        for conversation in self.conversations:
            for state in conversation.slices:
                yield bytes.fromhex(state.object)
        for asset in self.assets:
            yield from map(bytes.fromhex, asset.objects)
        yield from map(bytes.fromhex, self.pieces)


@dataclass(frozen=True, slots=True)
class Remainder:
    """One remainder of the repository."""

    id: str
    record: Record

    def slices(self) -> Iterator[bytes]:
        """Yield the objects that are states of conversations."""
        for conversation in self.record.conversations:
            for state in conversation.slices:
                yield bytes.fromhex(state.object)


@dataclass(frozen=True, slots=True)
class ForgottenSnapshot:
    """What is still known of a snapshot that was forgotten.

    `slices` are the states of conversations that it had and that stay; `gone` are those of them
    whose conversations were gone upstream when it was forgotten.
    """

    id: str
    account: str | None
    account_prefix: str | None
    exported_at: datetime | None
    received_at: datetime
    complete: bool | None
    slices: tuple[bytes, ...]
    gone: frozenset[bytes]


def forgotten(remainders: Iterable[Remainder]) -> list[ForgottenSnapshot]:
    """Return the forgotten snapshots of which conversations stay, each once."""
    facts: dict[str, Forgotten] = {}
    slices: dict[str, dict[bytes, None]] = defaultdict(dict)
    gone: dict[str, set[bytes]] = defaultdict(set)
    for record in (each.record for each in remainders):
        for conversation in record.conversations:
            for state in conversation.slices:
                for snapshot in (record.snapshots[number] for number in state.snapshots):
                    name = bytes.fromhex(state.object)
                    facts[snapshot.id] = snapshot
                    slices[snapshot.id][name] = None
                    if conversation.why == Why.GONE:
                        gone[snapshot.id].add(name)
    return [
        ForgottenSnapshot(
            id=name,
            account=each.account,
            account_prefix=each.account_prefix,
            exported_at=each.exported_at,
            received_at=each.received_at,
            complete=each.complete,
            slices=tuple(slices[name]),
            gone=frozenset(gone[name]),
        )
        for name, each in facts.items()
    ]


class Remainders:
    """The remainders of one repository; whoever adds one holds the writers' lock."""

    def __init__(self, paths: Paths, envelope: Envelope) -> None:
        self._paths = paths
        self._envelope = envelope

    def all(self) -> list[Remainder]:
        """Return all remainders, the oldest first.

        Raises:
            RepositoryDamaged: one is not what was written.
        """
        found = [self.load(name) for name in self._paths.remainder_ids()]
        return sorted(found, key=lambda each: (each.record.forgotten_at, each.id))

    def load(self, name: str) -> Remainder:
        """Return the remainder with this id.

        Raises:
            RepositoryDamaged: it is not what was written.
        """
        try:
            data = (self._paths.remainders / name).read_bytes()
            if manifest_id(data) != name:
                raise _damaged(name, "its bytes do not match its name")
            plain = self._envelope.unseal(Purpose.REMAINDER, b"", data)
            record = msgspec.json.decode(plain, type=Record)
        except Forged as error:
            raise _damaged(name, str(error)) from error
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _damaged(name, "it cannot be read") from error
        if record.format != FORMAT:
            raise _damaged(name, f"format {record.format} is not known")
        return Remainder(name, record)

    def add(self, files: FileSystem, record: Record) -> Remainder:
        """Write a remainder, durable when this returns."""
        data = self._envelope.seal(Purpose.REMAINDER, b"", canonical(record))
        name = manifest_id(data)
        files.make_directory(self._paths.remainders)
        files.write_file(self._paths.remainders / name, [data], self._paths.incoming)
        return Remainder(name, record)


def _damaged(name: str, cause: str) -> RepositoryDamaged:
    return RepositoryDamaged(
        f"read remainder {name}: {cause}", "copy the file from another copy of the repository"
    )
