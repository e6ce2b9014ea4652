"""Add one export: the commit order, from the received file to the proof.

1. the file is hashed; one that is stored already adds nothing. 2. Objects go into sealed, durable
packs in a staging directory under `incoming/`. 3. The packs are linked into `packs/` (I1: durable
before any manifest names them). 4. The manifest is put into `snapshots/`: the commit point. 5. The
index learns the packs, the staging directory goes. 6. The export is rebuilt from the repository
and its SHA-256 compared; a proof is written.

If the rebuilt bytes differ, the file is taken in again, trusting neither guesses nor what is stored
already: every encoder is proved in full, every known object is read. If that fails too, it is kept
whole. The manifest that could not be proven is removed after the better one is in place. The same
way a file that is stored already, but has been damaged since, is healed by adding it again.

Whoever called may ask for 1 to 5 alone and have 6 done later, by `Repository.prove`, while the next
export is stored; if that fails, adding the file again does all this. The received file is removed
only when the proof is there (I4).

A crash before 4 leaves a staging directory; the hard links in it name the packs that step 3 had put
into place, so `incoming` can take back exactly those. A crash after 4 leaves a snapshot that is
whole but unproven: adding the file again proves it.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from backupd.errors import BackupdError, RepositoryDamaged
from backupd.export.archive import Archive, ArchiveRefused, Member, read_member, scan
from backupd.export.layout import Facts, facts
from backupd.store import header, memory
from backupd.store.envelope import Purpose
from backupd.store.fsio import FileSystem, chunks_of, open_file, temporary
from backupd.store.hints import Hints, Page
from backupd.store.incoming import take_back
from backupd.store.index import Index, Pack
from backupd.store.ingest import CHUNK_BYTES, Ingest
from backupd.store.leftover import unread
from backupd.store.memo import Memo
from backupd.store.naming import Kind, key_of
from backupd.store.packs import SealedPack
from backupd.store.paths import STAGING, Paths
from backupd.store.progress import Progress, silent
from backupd.store.proving import is_intact, rebuilds, write_proof
from backupd.store.recipe import Begin, Coding, Event, Ref, encode, needs_encoders
from backupd.store.sealed import canonical
from backupd.store.snapshot import FORMAT, Manifest, Origin, Snapshot, manifest_id
from backupd.store.snapshots import Snapshots
from backupd.store.writer import ObjectWriter


@dataclass(frozen=True, slots=True)
class Added:
    """What an addition did; `new_bytes` is what the repository grew by, caches left out."""

    snapshot: Snapshot
    already_stored: bool
    kept_whole: bool
    new_bytes: int
    seconds: float


class Care(Enum):
    """How much an attempt trusts the ZIP to be what it looks like."""

    QUICK = "quick"
    CAREFUL = "careful"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Source:
    """The received file, opened once, hashed and scanned; `status` is what it was before."""

    path: Path
    file: BinaryIO
    status: os.stat_result
    sha256: str
    size: int
    archive: Archive
    origin: Origin


class Adding:
    """Adds exports to one repository; its user holds the lock."""

    def __init__(
        self,
        paths: Paths,
        files: FileSystem,
        index: Index,
        snapshots: Snapshots,
        progress: Progress | None,
    ) -> None:
        self._paths = paths
        self._files = files
        self._index = index
        self._snapshots = snapshots
        self._envelope = snapshots.envelope
        self._progress = progress or silent

    def add(
        self,
        path: Path,
        origin: Origin,
        attempts: Iterable[Care] = tuple(Care),
        *,
        prove: bool = True,
    ) -> Added:
        """Store a ZIP, or prove that it is stored already; `attempts` are made until one holds.

        Without `prove` a snapshot that is new is left unproven, and so is one that was so before.

        Raises:
            ArchiveRefused: the file breaks a rule; nothing was stored.
            StorageFull, WriteFailed: the repository cannot take it; nothing stored is harmed.
            RepositoryDamaged: what was just written does not read back, even kept whole.
        """
        with open_file(path) as file:  # once: whatever takes its name meanwhile is not read
            before = os.fstat(file.fileno())
            try:
                return self._add(path, file, origin, attempts, prove=prove)
            except (ArchiveRefused, RepositoryDamaged):
                _check_unchanged(path, file, before)
                raise

    def _add(
        self, path: Path, file: BinaryIO, origin: Origin, attempts: Iterable[Care], *, prove: bool
    ) -> Added:
        started = time.monotonic()
        status = os.fstat(file.fileno())
        sha256 = self._hash(file, status.st_size)
        known = self._snapshots.with_sha256(sha256)
        if known is not None and self._holds(known, prove=prove):
            self._remove_twins(known)
            known = self._snapshots.get(known.id) or known
            return Added(known, True, known.kept_whole, 0, time.monotonic() - started)
        source = Source(path, file, status, sha256, status.st_size, scan(file), origin)
        if known is not None:
            attempts = [care for care in attempts if care is not Care.QUICK]
        snapshot = self._store(source, known, attempts, prove=prove)
        seconds = time.monotonic() - started
        return Added(snapshot, False, snapshot.kept_whole, snapshot.stored_bytes, seconds)

    def _hash(self, file: BinaryIO, size: int) -> str:
        digest = hashlib.sha256()
        done = 0
        for chunk in chunks_of(file):
            digest.update(chunk)
            done += len(chunk)
            self._progress("hash", done, size)
        return digest.hexdigest()

    def _holds(self, known: Snapshot, *, prove: bool) -> bool:
        """Return whether a snapshot of the same file is good enough to add nothing."""
        if prove and known.proven_at is None:
            return self._prove(known)
        return is_intact(self._index, self._snapshots, known)

    def _store(
        self, source: Source, unproven: Snapshot | None, attempts: Iterable[Care], *, prove: bool
    ) -> Snapshot:
        for care in attempts:
            try:
                snapshot, streams, pages = self._attempt(source, care)
            except RepositoryDamaged:
                if care is Care.WHOLE:
                    raise
                continue  # damage elsewhere must not keep an export out: the next attempt avoids it
            if unproven is not None and unproven.id != snapshot.id:
                self._remove_manifest(unproven)
            name = bytes.fromhex(snapshot.id)
            found = ((stream, name, n) for n, stream in enumerate(streams))
            Hints(self._index).remember(found, pages)
            memory.trim()  # before the proof takes its share
            if not prove:
                return snapshot
            if self._prove(snapshot):
                return self._snapshots.get(snapshot.id) or snapshot
            unproven = snapshot
        raise RepositoryDamaged(
            f'add "{source.path.name}": what was stored does not read back as it was written',
            "keep the file, check the disk and run check --read-data",
        )

    def _remove_twins(self, kept: Snapshot) -> None:
        """Remove the manifests that an addition replaced but had no time to remove."""
        for twin in self._snapshots.all():
            if twin.sha256 == kept.sha256 and twin.id != kept.id:
                self._remove_manifest(twin)

    def _remove_manifest(self, snapshot: Snapshot) -> None:
        self._files.remove(self._paths.proofs / snapshot.id)
        self._files.sync_directory(self._paths.proofs)  # no proof outlives its manifest
        self._files.remove(self._paths.snapshots / snapshot.id)

    def _attempt(self, source: Source, care: Care) -> tuple[Snapshot, list[bytes], list[Page]]:
        """Store the source; return the snapshot, its members' streams and the pages found."""
        with self._staging() as staging:
            quick = care is Care.QUICK
            writer = ObjectWriter(
                self._files, staging, self._index, self._envelope, distrust=not quick
            )
            try:
                memo = self._memo(source.origin) if quick else None
                ingest = Ingest(writer, memo, self._files, staging)
                events = self._events(ingest, source, care)
                recipe = self._write_recipe(writer, events, source)
                packs = writer.finish()
            finally:
                writer.close()
            manifest = self._manifest(source, care, events, recipe, packs)
            _check_unchanged(source.path, source.file, source.status)
            if needs_encoders(events):
                header.begin_using(self._paths, self._files, header.ENCODERS)
            if packs:  # else a power cut may leave packs in place that nothing here names
                self._files.sync_directory(staging)
            self._publish(packs)
            name = self._commit(manifest)
            self._index.insert(Pack(pack.digest, pack.size, pack.directory) for pack in packs)
        return self._snapshots.load(name), ingest.streams, ingest.pages

    def _memo(self, origin: Origin) -> Memo:
        same = [s.id for s in self._snapshots.all() if s.origin.mailbox == origin.mailbox]
        return Memo(
            Hints(self._index),
            self._snapshots.recipe_or_none,
            self._envelope.object_id,
            same[-1] if same else None,
        )

    def _events(self, ingest: Ingest, source: Source, care: Care) -> list[Event]:
        if care is Care.WHOLE:
            return ingest.whole(chunks_of(source.file))
        done = 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            self._progress("store", done, source.size)

        return ingest.archive(source.file, source.archive, step)

    def _write_recipe(
        self, writer: ObjectWriter, events: list[Event], source: Source
    ) -> tuple[bytes, ...]:
        data = encode(events)
        account = (source.origin.mailbox or "").strip()
        return tuple(
            writer.add(
                Kind.RECIPE,
                data[start : start + CHUNK_BYTES],
                key_of("recipe", account, str(start // CHUNK_BYTES)),
            )
            for start in range(0, len(data), CHUNK_BYTES)
        )

    def _manifest(
        self,
        source: Source,
        care: Care,
        events: list[Event],
        recipe: tuple[bytes, ...],
        packs: list[SealedPack],
    ) -> Manifest:
        found = _facts(source)
        origin, members = source.origin, source.archive.members
        kept = _kept_streams(events)
        unreadable = tuple(f"{name}: a part is no readable conversation" for name in unread(events))
        return Manifest(
            format=FORMAT,
            sha256=source.sha256,
            size=source.size,
            recipe=tuple(name.hex() for name in recipe),
            packs=tuple(pack.digest.hex() for pack in packs),
            stored_bytes=sum(pack.size for pack in packs),
            kept_whole=care is Care.WHOLE,
            file_name=origin.file_name,
            received_at=origin.received_at,
            source=origin.source,
            delivery=origin.delivery,
            mailbox=origin.mailbox,
            account=found.user_digest,
            account_prefix=found.account_prefix,
            exported_at=found.exported_at,
            era=found.era,
            members=len(members),
            conversations=_conversations(events),
            complete=False if unreadable else found.complete,
            incomplete_reasons=(*found.incomplete_reasons, *unreadable),
            unknown_parts=found.unknown_parts,
            encoders=_encoders(events),
            kept_streams=kept,
            kept_stream_bytes=sum(m.compressed_size for m in members if m.name in kept),
            zlib=zlib.ZLIB_RUNTIME_VERSION,
        )

    def _publish(self, packs: Iterable[SealedPack]) -> None:
        for pack in packs:
            self._files.publish(pack.path, self._paths.pack(pack.digest), pack.digest)

    def _commit(self, manifest: Manifest) -> str:
        data = self._envelope.seal(Purpose.MANIFEST, b"", canonical(manifest))
        name = manifest_id(data)
        self._files.write_file(self._paths.snapshots / name, [data], self._paths.incoming)
        return name

    def _prove(self, snapshot: Snapshot) -> bool:
        """Rebuild a snapshot with fresh reads, compare its SHA-256, write the proof."""
        if not rebuilds(self._snapshots, snapshot, self._progress):
            return False
        write_proof(self._paths, self._files, self._envelope, snapshot)
        return True

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Give a directory for unfinished work; it is gone afterwards, unless the disk refuses."""
        name = temporary(self._paths.incoming).name
        staging = self._paths.incoming / f"{STAGING}{name}"
        self._files.make_directory(staging)
        try:
            yield staging
        finally:
            with suppress(BackupdError):  # what stays is collected when writing starts next
                take_back(self._paths, self._files, self._snapshots, staging)


def _check_unchanged(path: Path, file: BinaryIO, before: os.stat_result) -> None:
    """Refuse a file that was written to while it was read: the bytes stored are not those hashed.

    Raises:
        BackupdError: it was; nothing is stored of it.
    """
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise BackupdError(
            f'add "{path.name}": it was changed while it was read',
            "wait until the file is complete, then add it again",
        )


def _facts(source: Source) -> Facts:
    def read(member: Member) -> Iterator[bytes]:
        return read_member(source.file, member)

    return facts(source.origin.file_name or source.path.name, source.archive, read)


def _conversations(events: Iterable[Event]) -> int:
    return sum(1 for event in events if isinstance(event, Ref) and event.conversation)


def _encoders(events: Iterable[Event]) -> tuple[str, ...]:
    found = {e.encoder for e in events if isinstance(e, Begin) and e.encoder is not None}
    return tuple(sorted({encoder.text for encoder in found}))


def _kept_streams(events: Iterable[Event]) -> tuple[str, ...]:
    return tuple(e.name for e in events if isinstance(e, Begin) and e.coding is Coding.STREAM)
