"""Prove a snapshot: rebuild the export from the repository and compare its SHA-256 (I4).

The proof covers all that a restore does: packs, frames, transforms, deflate. It runs in threads of
low priority and needs no lock until its result is written, so the next export can be stored
meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

from backupd.errors import RepositoryDamaged
from backupd.store import ahead
from backupd.store.envelope import Envelope, Purpose
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.index import Frame, Index
from backupd.store.naming import ID_SIZE
from backupd.store.paths import Paths
from backupd.store.progress import Progress
from backupd.store.sealed import seal
from backupd.store.snapshot import FORMAT, Proof, Snapshot
from backupd.store.snapshots import Snapshots


def rebuilds(snapshots: Snapshots, snapshot: Snapshot, progress: Progress | None) -> bool:
    """Return whether fresh reads give back exactly the export's bytes."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, "backupd-proof", initializer=ahead.give_way) as thread:
        try:
            return thread.submit(_rebuilds, snapshots, snapshot, progress, stop).result()
        finally:
            stop.set()  # whoever interrupts the wait ends the work


def _rebuilds(
    snapshots: Snapshots, snapshot: Snapshot, progress: Progress | None, stop: threading.Event
) -> bool:
    digest = hashlib.sha256()
    done = 0
    try:
        with snapshots.reader() as reader:
            for chunk in ahead.rebuild(snapshots.recipe(snapshot), reader.read, gentle=True):
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress("prove", done, snapshot.size)
                if stop.is_set():
                    return False
    except RepositoryDamaged:
        return False
    return digest.hexdigest() == snapshot.sha256


def write_proof(paths: Paths, files: FileSystem, envelope: Envelope, snapshot: Snapshot) -> None:
    """Note that a snapshot was proven just now; whoever calls holds the lock.

    Nothing is noted of a snapshot that was forgotten meanwhile.
    """
    if not (paths.snapshots / snapshot.id).exists():
        return
    with NewFile(files, temporary(paths.incoming)) as file:
        proof = Proof(
            format=FORMAT,
            snapshot=snapshot.id,
            sha256=snapshot.sha256,
            proven_at=file.made_at,
            zlib=zlib.ZLIB_RUNTIME_VERSION,
        )
        sealed = envelope.seal(Purpose.PROOF, snapshot.id.encode(), seal(proof))
        file.write(sealed)
        file.seal()
        files.replace(file.path, paths.proofs / snapshot.id)


def is_intact(index: Index, snapshots: Snapshots, snapshot: Snapshot) -> bool:
    """Return whether every byte that a snapshot needs is as it was when it was proven.

    Compares checksums of stored bytes and decodes nothing: much faster than rebuilding.
    """
    try:
        wanted = list(snapshots.recipe(snapshot).ids())
        wanted += map(bytes.fromhex, snapshot.recipe)
        with snapshots.reader() as reader:
            seen: dict[Frame, None] = {}
            while wanted:
                frame = _frame_of(index, wanted.pop())
                if frame is not None and frame not in seen:
                    seen[frame] = None
                    wanted += frame.prefix
                elif frame is None:
                    return False
            for frame in sorted(seen, key=lambda frame: (frame.pack, frame.offset)):
                reader.verify(frame)
    except RepositoryDamaged:
        return False
    return True


def _frame_of(index: Index, name: bytes) -> Frame | None:
    if len(name) != ID_SIZE:
        return index.frame_named(name)
    place = index.locate(name)
    return place.frame if place else None
