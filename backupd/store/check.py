"""Find damage: structure always, every byte on demand, and by rebuilding an export.

Each problem names the file, the object if there is one, and the snapshots that cannot be restored
because of it. Nothing is changed or repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backupd.errors import BackupdError, RebuildImpossible, RepositoryDamaged
from backupd.store.damage import FrameNeeds, Needs
from backupd.store.fsio import hash_file
from backupd.store.index import Frame, Index
from backupd.store.keys import KeyRing
from backupd.store.naming import FRAME_NAME_SIZE, frame_name
from backupd.store.packs import Directory, FrameEntry, PackDamaged, read_directory
from backupd.store.paths import Paths, listing
from backupd.store.pins import Pins
from backupd.store.progress import Progress, silent
from backupd.store.quarantine import Quarantine
from backupd.store.remainders import Remainders
from backupd.store.restore import verified
from backupd.store.snapshot import Snapshot, read_proof
from backupd.store.snapshots import Snapshots

_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; `affects` are the ids of snapshots that cannot be restored."""

    path: str
    object: str | None
    detail: str
    affects: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Say it in one line for a person."""
        which = f", object {self.object[:16]}" if self.object else ""
        names = ", ".join(name[:12] for name in self.affects[:5])
        more = f" and {len(self.affects) - 5} more" if len(self.affects) > 5 else ""
        needed = f"; needed by snapshot {names}{more}" if names else ""
        return f"{self.path}{which}: {self.detail}{needed}"


@dataclass(frozen=True, slots=True)
class Subset:
    """The n-th of `of` parts of all packs, `part` counted from 1."""

    part: int
    of: int

    def holds(self, name: bytes) -> bool:
        """Return whether a pack belongs to this part."""
        return int.from_bytes(name[:8], "big") % self.of == self.part - 1


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check saw. `drilled` are the snapshots that were rebuilt and hashed equal.

    `impossible` are those that this machine cannot rebuild, undamaged as they are.
    """

    problems: tuple[Problem, ...]
    snapshots: int
    packs: int
    objects: int
    bytes_read: int
    drilled: tuple[str, ...]
    impossible: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class _Finding:
    """A problem before it is traced: `lost` are the objects and frames that cannot be read."""

    path: Path
    object: bytes | None
    detail: str
    lost: frozenset[bytes] = frozenset()


class Check:
    """One run over a repository."""

    def __init__(
        self,
        paths: Paths,
        index: Index,
        snapshots: Snapshots,
        quarantine: Quarantine,
        keys: KeyRing | None,
        refresh: Callable[[], None],
        progress: Progress | None,
    ) -> None:
        self._refresh = refresh
        self._paths = paths
        self._index = index
        self._snapshots = snapshots
        self._envelope = snapshots.envelope
        self._quarantine = quarantine
        self._keys = keys
        self._progress = progress or silent
        self._findings: list[_Finding] = []
        self._problems: list[Problem] = []
        self._impossible: list[Problem] = []
        self._directories: dict[bytes, Directory] = {}
        self._bytes = 0  # all begun anew by each look

    def run(self, *, read_data: bool, subset: Subset | None, drill: bool) -> CheckReport:
        """Check structure; with `read_data` every byte, or those of a subset; maybe drill.

        Where problems are found while others add or remove something, all is looked at again: what
        was missing because of that is no damage, and what is damaged is found again.
        """
        for _ in range(_LOOKS):
            before = self._paths.state()
            report = self._run(read_data=read_data, subset=subset, drill=drill)
            if report.ok or self._paths.state() == before:
                break
        return report

    def _run(self, *, read_data: bool, subset: Subset | None, drill: bool) -> CheckReport:
        self._findings, self._problems, self._directories = [], [], {}
        self._bytes = 0
        ids = self._paths.snapshot_ids()  # first: what comes later may not be indexed here yet
        self._refresh()
        names = sorted(self._paths.pack_names())
        for number, name in enumerate(names, 1):
            self._structure(name)
            self._progress("structure", number, len(names))
        self._indexed()
        chosen = [name for name in names if subset is None or subset.holds(name)]
        for number, name in enumerate(chosen if read_data else (), 1):
            self._read(name)
            self._progress("read", number, len(chosen))
        if read_data:
            self._read_quarantine()
        self._lost_quarantine()
        self._foreign_files()
        needs = self._manifests(ids)
        self._trace(needs | self._remainders())
        drilled = self._drill() if drill else ()
        objects = sum(len(f.objects) for d in self._directories.values() for f in d.frames)
        return CheckReport(
            tuple(self._problems), len(needs), len(names), objects, self._bytes, drilled,
            tuple(self._impossible),
        )  # fmt: skip

    def _structure(self, name: bytes) -> None:
        path = self._paths.pack(name)
        try:
            directory, size = read_directory(path, self._envelope)
        except FileNotFoundError:
            return  # taken back by a writer meanwhile; if a snapshot needs it, that is said there
        except (OSError, PackDamaged) as error:
            lost = frozenset(self._index.names_in(name))
            self._findings.append(_Finding(path, None, f"pack damaged: {error}", lost))
            return
        self._bytes += size - sum(frame.length for frame in directory.frames)
        self._directories[name] = directory

    def _indexed(self) -> None:
        """Compare the index with the packs, and look for prefixes that are nowhere."""
        for name, directory in self._directories.items():
            path = self._paths.pack(name)
            if not path.exists():
                continue  # pruned meanwhile
            for entry in directory.frames:
                if not all(self._resolves(part) for part in entry.prefix):
                    detail = f"the frame at {entry.offset} needs older bytes that are in no pack"
                    self._findings.append(_Finding(path, None, detail, self._lost(path, entry)))
            if not self._index.agrees(name, directory):
                self._problem(self._paths.index, f"differs from pack {name.hex()}: run rebuild")

    def _resolves(self, name: bytes) -> bool:
        if len(name) == FRAME_NAME_SIZE:
            return self._index.frame_named(name) is not None
        return self._index.locate(name) is not None

    def _read(self, name: bytes) -> None:
        path = self._paths.pack(name)
        try:
            whole = hash_file(path) == name
            self._bytes += path.stat().st_size
        except FileNotFoundError:
            return  # pruned meanwhile; if a snapshot needs what it held, that is said there
        except OSError as error:
            detail = f"cannot be read: {error.strerror}"
            lost = frozenset(self._index.names_in(name))
            self._findings.append(_Finding(path, None, detail, lost))
            return
        before = len(self._findings)
        directory = self._directories.get(name)
        with self._snapshots.reader() as reader:
            for entry in directory.frames if directory else ():
                try:
                    self._verify(path, entry, reader.frame(_frame(path, entry)))
                except RepositoryDamaged as error:
                    if not path.exists():
                        return
                    lost = self._lost(path, entry)
                    self._findings.append(_Finding(path, None, error.message, lost))
        if not whole and directory and len(self._findings) == before:
            self._problem(path, "its bytes do not match its name")

    def _verify(self, path: Path, entry: FrameEntry, data: bytes) -> None:
        offset = 0
        for item in entry.objects:
            if self._envelope.object_id(data[offset : offset + item.length]) != item.id:
                lost = self._lost(path, entry)
                self._findings.append(_Finding(path, item.id, "object has other bytes", lost))
            offset += item.length

    def _manifests(self, ids: list[str]) -> dict[str, frozenset[bytes]]:
        """Read every manifest, proof and recipe; return what each snapshot needs."""
        needs: dict[str, frozenset[bytes]] = {}
        for name in ids:
            path = self._paths.snapshots / name
            try:
                snapshot = self._snapshots.load(name)
            except RepositoryDamaged as error:
                if not path.exists():
                    continue  # replaced by a better one meanwhile
                self._problems.append(
                    Problem(self._relative(path), None, error.message, affects=(name,))
                )
                continue
            needs[name] = self._needs(snapshot, path)
            self._proof(name)
        return needs

    def _needs(self, snapshot: Snapshot, path: Path) -> frozenset[bytes]:
        recipe = frozenset(bytes.fromhex(part) for part in snapshot.recipe)
        try:
            ids = frozenset(self._snapshots.recipe(snapshot).ids())
        except RepositoryDamaged as error:
            if path.exists():  # else it was forgotten meanwhile
                self._findings.append(_Finding(path, None, f"recipe: {error.message}", recipe))
            return recipe
        self._locate(path, recipe | ids)
        return recipe | ids

    def _locate(self, path: Path, names: frozenset[bytes]) -> None:
        lost = [name for name in names if self._index.locate(name) is None]
        if lost:
            self._refresh()
        for name in lost:
            if self._index.locate(name) is None and path.exists():
                detail = "needs an object that is in no pack"
                self._findings.append(_Finding(path, name, detail, frozenset((name,))))

    def _remainders(self) -> dict[str, frozenset[bytes]]:
        """Read every remainder and pin; return what each remainder needs."""
        needs: dict[str, frozenset[bytes]] = {}
        remainders = Remainders(self._paths, self._envelope)
        for name in self._paths.remainder_ids():
            path = self._paths.remainders / name
            try:
                needs[name] = frozenset(remainders.load(name).record.objects())
            except RepositoryDamaged as error:
                self._problem(path, error.message)
            else:
                self._locate(path, needs[name])
        for path, cause in Pins(self._paths, self._envelope).damaged():
            self._problem(path, cause)
        return needs

    def _proof(self, name: str) -> None:
        path = self._paths.proofs / name
        if path.exists() and read_proof(name, path.read_bytes(), self._envelope) is None:
            self._problem(path, "proof damaged: remove it and add the export again, or drill")

    def _trace(self, snapshots: dict[str, frozenset[bytes]]) -> None:
        needs = Needs(self._frames(), snapshots) if self._findings else None
        for finding in self._findings:
            name = finding.object.hex() if finding.object else None
            affects = needs.affected(finding.lost) if needs else ()
            path = self._relative(finding.path)
            self._problems.append(Problem(path, name, finding.detail, affects))

    def _frames(self) -> Iterator[FrameNeeds]:
        for name, directory in self._directories.items():
            path = self._paths.pack(name)
            for entry in directory.frames:
                here = self._lost(path, entry)
                objects = tuple(item.id for item in entry.objects if item.id in here)
                yield FrameNeeds(
                    frame_name(item.id for item in entry.objects), entry.prefix, objects
                )

    def _lost(self, path: Path, entry: FrameEntry) -> frozenset[bytes]:
        """Return what is lost with a frame: itself and the objects that are read from it."""
        ids = [item.id for item in entry.objects]
        name = frame_name(ids)
        places = [(i, place.frame) for i in ids if (place := self._index.locate(i)) is not None]
        named = self._index.frame_named(name)
        homes = [*places, (name, named)] if named is not None else places
        return frozenset(
            name for name, frame in homes if (frame.pack, frame.offset) == (path, entry.offset)
        )

    def _read_quarantine(self) -> None:
        for path in self._quarantine.files():
            self._bytes += path.stat().st_size
            if not self._quarantine.is_intact(path):
                self._problem(path, "its bytes do not match its name")
        for path in self._quarantine.damaged_notes():
            self._problem(path, "note damaged: the file that it speaks of is checked apart")

    def _lost_quarantine(self) -> None:
        for path in self._quarantine.lost_files():
            self._problem(path, "missing; if it was removed on purpose, remove its note, too")

    def _foreign_files(self) -> None:
        found = sorted(path for path in self._paths.packs.rglob("*") if not path.is_dir())
        packs = {self._paths.pack(name) for name in self._paths.pack_names()}
        others = [*listing(self._paths.snapshots), *listing(self._paths.proofs)]
        ids = set(self._paths.snapshot_ids())
        foreign = [path for path in found if path not in packs]
        foreign += [path for path in others if path.name not in ids]
        known = set(self._paths.remainder_ids())
        foreign += [p for p in listing(self._paths.remainders) if p.name not in known]
        for path in foreign:
            if path.exists():
                self._problem(path, "no file of a repository")
        for path in self._keys.damaged() if self._keys else ():
            self._problem(path, "damaged, or no key of this repository: it opens nothing")

    def _drill(self) -> tuple[str, ...]:
        """Rebuild every export from the repository and compare its SHA-256."""
        done = []
        for snapshot in self._snapshots.all():
            try:
                for chunk in verified(self._snapshots, snapshot, self._progress):
                    self._bytes += len(chunk)
            except BackupdError as error:
                if self._snapshots.is_forgotten(snapshot):
                    continue
                path = self._paths.snapshots / snapshot.id
                lacking = isinstance(error, RebuildImpossible)
                found = self._impossible if lacking else self._problems
                found.append(Problem(self._relative(path), None, error.message, (snapshot.id,)))
            else:
                done.append(snapshot.id)
        return tuple(done)

    def _problem(self, path: Path, detail: str) -> None:
        self._problems.append(Problem(self._relative(path), None, detail))

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._paths.root))


def _frame(path: Path, entry: FrameEntry) -> Frame:
    name = frame_name(item.id for item in entry.objects)
    return Frame(
        name, path, entry.kind, entry.codec, entry.offset, entry.length, entry.raw_length,
        entry.checksum, entry.prefix, 0,
    )  # fmt: skip
