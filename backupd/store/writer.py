"""Take objects in: find out what is new, group it, choose what it is compressed against.

The choices cost or save space, never correctness:

* an object that is known already is not written again;
* one that is a new version of something joins a group that is compressed against the earlier
  versions of its members (groups beat single deltas); chains longer than the depth below start
  anew, so that reading stays bounded;
* other text is compressed against the base: the largest frame that needs no other.

A writer that distrusts the repository reads what is known before it relies on it, writes again what
does not read back, and compresses against nothing old: that heals a damaged repository.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backupd.errors import RepositoryDamaged
from backupd.store.fsio import FileSystem
from backupd.store.index import Index
from backupd.store.naming import Kind, frame_name, object_id
from backupd.store.packing import Packing
from backupd.store.packs import ObjectEntry, SealedPack

GROUP_BYTES = 1 << 20
NEW_TEXT_BYTES = 4 << 20
MAX_PREFIX = 24 << 20
_DEPTH = {Kind.RECIPE: 32}
_DEPTH_OF_OTHERS = 24
_BASED = frozenset({Kind.CONVERSATION, Kind.HTML})


@dataclass(slots=True)
class _Group:
    """Objects that will share a frame, and the older objects that it is compressed against."""

    prefix: dict[bytes, None] = field(default_factory=dict)
    objects: list[ObjectEntry] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    size: int = 0
    prefix_size: int = 0


class ObjectWriter:
    """Takes objects in and hands their names out; `finish` leaves sealed packs in `staging`."""

    def __init__(
        self, files: FileSystem, staging: Path, index: Index, *, distrust: bool = False
    ) -> None:
        self._index = index
        self._distrust = distrust
        self._packing = Packing(files, staging, index)
        self._groups: dict[tuple[Kind, bool], _Group] = {}
        self._waiting: dict[bytes, bytes] = {}
        self._heads: dict[tuple[Kind, bytes], bytes] = {}
        self._bases: dict[Kind, tuple[bytes, int]] = {}

    def add(self, kind: Kind, data: bytes, key: bytes = b"", like: bytes | None = None) -> bytes:
        """Store an object unless it is known; return its name.

        `key` names the thing that this is a version of; `like` is an object that it resembles more
        than the last version of that key.
        """
        name = object_id(data)
        if key:
            like = like or self.head(kind, key)
            self._heads[kind, key] = name
        if name in self._waiting or self._is_stored(name):
            return name
        earlier = self._usable(kind, like)
        group = self._groups.setdefault((kind, earlier is not None), _Group())
        if earlier is not None and earlier[0] not in group.prefix:
            group.prefix[earlier[0]] = None
            group.prefix_size += earlier[1]
        group.objects.append(ObjectEntry(name, len(data), key))
        group.data.append(data)
        group.size += len(data)
        self._waiting[name] = data
        self._launch_if_full(kind, group, changed=earlier is not None)
        return name

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

    def _usable(self, kind: Kind, earlier: bytes | None) -> tuple[bytes, int] | None:
        """Return an earlier version and its length, if compressing against it is sensible."""
        if earlier is None or self._distrust:
            return None
        if earlier in self._waiting:
            self._flush()
        place = self._packing.settle(earlier)
        if place is None or place.length > MAX_PREFIX:
            return None
        if place.frame.depth >= _DEPTH.get(kind, _DEPTH_OF_OTHERS):
            return None
        return earlier, place.length

    def _launch_if_full(self, kind: Kind, group: _Group, *, changed: bool) -> None:
        limit = NEW_TEXT_BYTES if kind in _BASED and not changed else GROUP_BYTES
        if group.size >= limit or group.prefix_size >= 2 * limit:
            self._launch(kind, changed=changed)

    def _flush(self) -> None:
        for kind, changed in list(self._groups):
            self._launch(kind, changed=changed)

    def _launch(self, kind: Kind, *, changed: bool) -> None:
        group = self._groups.pop((kind, changed))
        names = [item.id for item in group.objects]
        prefix = tuple(group.prefix)
        if not changed and kind in _BASED:
            prefix = self._base(kind, frame_name(names), group.size)
        self._packing.submit(kind, b"".join(group.data), prefix, tuple(group.objects))
        for name in names:
            del self._waiting[name]

    def _base(self, kind: Kind, name: bytes, size: int) -> tuple[bytes, ...]:
        """Return the prefix of a new frame; without a base as large, the frame becomes the base."""
        if self._distrust:
            return ()
        known = self._bases.get(kind) or self._index.base(kind)
        if known is not None and known[1] >= min(size, GROUP_BYTES):
            return (known[0],)
        self._bases[kind] = (name, size)
        return ()
