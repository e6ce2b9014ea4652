"""Take objects in: find out what is new, group it, choose what it is compressed against.

The choices cost or save space, never correctness:

* an object that is known already is not written again;
* one that is a new version of something is compressed against the earlier version, together with
  others whose versions go back to the same frame (groups beat single deltas, and what one frame led
  to is read together, where groups at random would make a tree that needs everything at once);
  chains longer than the depth below start anew, so that reading stays bounded;
* other text is compressed against the base: the largest frame that needs no other. Frames but for
  the base are not large, because reading one object decodes its whole frame.

What waits for company is bounded: the group that began first goes when it becomes too much.

A writer that distrusts the repository reads what is known before it relies on it, writes again what
does not read back, and compresses against nothing old: that heals a damaged repository.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backupd.errors import RepositoryDamaged
from backupd.store.envelope import Envelope
from backupd.store.fsio import FileSystem
from backupd.store.index import Frame, Index, Place
from backupd.store.naming import ID_SIZE, Kind, frame_name
from backupd.store.packing import Packing
from backupd.store.packs import ObjectEntry, SealedPack

GROUP_BYTES = 1 << 20
BASE_BYTES = 4 << 20
NEW_TEXT_BYTES = 2 << 20
WAITING_BYTES = 24 << 20
MAX_PREFIX = 24 << 20
_DEPTH = {Kind.RECIPE: 32}
_DEPTH_OF_OTHERS = 24
_BASED = frozenset({Kind.CONVERSATION, Kind.HTML})

_Address = tuple[Path, int]
_Where = tuple[Kind, _Address | None]
"""A kind, and the frame that the earlier versions go back to, if there are such."""


@dataclass(slots=True)
class _Group:
    """Objects that will share a frame, and the older objects that it is compressed against."""

    kind: Kind
    changed: bool
    prefix: dict[bytes, None] = field(default_factory=dict)
    objects: list[ObjectEntry] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    size: int = 0
    prefix_size: int = 0


class ObjectWriter:
    """Takes objects in and hands their names out; `finish` leaves sealed packs in `staging`."""

    def __init__(
        self,
        files: FileSystem,
        staging: Path,
        index: Index,
        envelope: Envelope,
        *,
        distrust: bool = False,
    ) -> None:
        self._index = index
        self._distrust = distrust
        self._packing = Packing(files, staging, index, envelope)
        self._object_id = envelope.object_id
        self._groups: dict[_Where, _Group] = {}
        self._waiting_size = 0
        self._roots: dict[_Address, _Address] = {}
        self._waiting: dict[bytes, bytes] = {}
        self._heads: dict[tuple[Kind, bytes], bytes] = {}
        self._bases: dict[Kind, tuple[bytes, int] | None] = {}

    def add(self, kind: Kind, data: bytes, key: bytes = b"", like: bytes | None = None) -> bytes:
        """Store an object unless it is known; return its name.

        `key` names the thing that this is a version of; `like` is an object that it resembles more
        than the last version of that key.
        """
        name = self._object_id(data)
        if key:
            like = like or self.head(kind, key)
            self._heads[kind, key] = name
        if name in self._waiting or self._is_stored(name):
            return name
        earlier = self._usable(kind, like)
        place = (kind, self._root(earlier.frame) if earlier else None)
        group = self._groups.setdefault(place, _Group(kind, earlier is not None))
        if earlier is not None and like is not None and like not in group.prefix:
            group.prefix[like] = None
            group.prefix_size += earlier.length
        group.objects.append(ObjectEntry(name, len(data), key))
        group.data.append(data)
        group.size += len(data)
        self._waiting[name] = data
        self._waiting_size += len(data)
        if group.size >= self._limit(group) or group.prefix_size >= 2 * GROUP_BYTES:
            self._launch(place)
        while self._waiting_size > WAITING_BYTES:
            self._launch(next(iter(self._groups)))
        return name

    def name_of(self, data: bytes) -> bytes:
        """Return the name that these bytes have as an object."""
        return self._object_id(data)

    def read(self, name: bytes) -> bytes:
        """Return the bytes of any object, whether just added or known before."""
        waiting = self._waiting.get(name)
        return self._packing.read(name) if waiting is None else waiting

    def head(self, kind: Kind, key: bytes) -> bytes | None:
        """Return the newest object of a key, counting those just added."""
        return self._heads.get((kind, key)) or self._index.head(kind, key)

    def finish(self) -> list[SealedPack]:
        """Write what is left and seal the last pack; return all packs in order."""
        self._flush()
        return self._packing.finish()

    def close(self) -> None:
        """Give up threads and files; what is not sealed is left to be collected."""
        self._packing.close()

    def _is_stored(self, name: bytes) -> bool:
        if not self._packing.knows(name):
            return False
        if self._distrust:
            try:
                self._packing.read(name)
            except RepositoryDamaged:
                return False
        return True

    def _usable(self, kind: Kind, earlier: bytes | None) -> Place | None:
        """Return where an earlier version lies, if compressing against it is sensible."""
        if earlier is None or self._distrust:
            return None
        if earlier in self._waiting:
            self._flush()
        place = self._packing.settle(earlier)
        if place is None or place.length > MAX_PREFIX:
            return None
        return place if place.frame.depth < _DEPTH.get(kind, _DEPTH_OF_OTHERS) else None

    def _root(self, frame: Frame) -> _Address:
        """Return the frame that a line of versions began with."""
        here = (frame.pack, frame.offset)
        if here not in self._roots:
            first = frame.prefix[0] if frame.prefix else b""
            place = self._packing.settle(first) if len(first) == ID_SIZE else None
            self._roots[here] = self._root(place.frame) if place else here
        return self._roots[here]

    def _limit(self, group: _Group) -> int:
        if group.changed or group.kind not in _BASED:
            return GROUP_BYTES
        return NEW_TEXT_BYTES if self._known_base(group.kind) else BASE_BYTES

    def _flush(self) -> None:
        for place in list(self._groups):
            self._launch(place)

    def _launch(self, place: _Where) -> None:
        group = self._groups.pop(place)
        names = [item.id for item in group.objects]
        prefix = tuple(group.prefix)
        if not group.changed and group.kind in _BASED:
            prefix = self._base(group.kind, frame_name(names), group.size)
        data = b"".join(group.data)
        self._packing.submit(group.kind, data, prefix, tuple(group.objects))
        self._waiting_size -= group.size
        for name in names:
            del self._waiting[name]

    def _known_base(self, kind: Kind) -> tuple[bytes, int] | None:
        if kind not in self._bases:
            self._bases[kind] = None if self._distrust else self._index.base(kind)
        return self._bases[kind]

    def _base(self, kind: Kind, name: bytes, size: int) -> tuple[bytes, ...]:
        """Return the prefix of a new frame; without a base as large, the frame becomes the base."""
        if self._distrust:
            return ()
        known = self._known_base(kind)
        if known is not None and known[1] >= min(size, GROUP_BYTES):
            return (known[0],)
        self._bases[kind] = (name, size)
        return ()
