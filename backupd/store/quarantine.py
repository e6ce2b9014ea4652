"""Files that break a rule, kept as received, each with a note that says which.

The name is made from the file's SHA-256, so the same file is kept once. In an encrypted repository
the name is keyed and both files are sealed; `release` gives the received bytes back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from backupd.errors import BackupdError, RepositoryDamaged, UsageError
from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.fsio import (
    FileSystem,
    NewFile,
    chunks_of,
    open_file,
    read_chunks,
    temporary,
)
from backupd.store.paths import Paths
from backupd.store.progress import Progress
from backupd.store.sealed import SealBroken, seal, unseal
from backupd.store.snapshot import Origin

_FILE, _NOTE = ".zip", ".json"
_SEALED_FILE, _SEALED_NOTE = ".sealed", ".note"


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a quarantined file; `name` is that of the file, without its suffix."""

    name: str
    rule: str
    detail: str
    file_name: str | None
    received_at: datetime
    source: str
    delivery: str | None
    mailbox: str | None


class Quarantine:
    """The quarantine of one repository; whoever writes holds the writers' lock."""

    def __init__(self, paths: Paths, files: FileSystem, envelope: Envelope) -> None:
        self._paths = paths
        self._files = files
        self._envelope = envelope

    def keep(
        self, source: Path, rule: str, detail: str, origin: Origin, progress: Progress | None = None
    ) -> Path:
        """Keep a refused file as received and note why; return where.

        `progress` is told ("keep", done, total): each byte is read twice, to be hashed and copied.

        Raises:
            BackupdError: the file was written to meanwhile; nothing is kept.
        """
        with open_file(source) as file:  # once: whatever takes its name meanwhile is not kept
            total = 2 * os.fstat(file.fileno()).st_size
            digest = _hash(_told(chunks_of(file), progress, 0, total))
            name = self._envelope.file_name(digest)
            target = self._paths.quarantine / f"{name}{self._suffix}"
            if not target.exists():
                if source.parent == self._paths.incoming and not self._envelope.encrypted:
                    self._files.publish(source, target, digest)
                else:
                    copied = _told(chunks_of(file), progress, total // 2, total)
                    proven = _same(copied, digest, source)
                    context = name.encode()
                    sealed = self._envelope.seal_stream(Purpose.QUARANTINE, context, proven)
                    self._files.write_file(target, sealed, self._paths.incoming)
        self._note(name, rule, detail, origin)
        return target

    def files(self) -> list[Path]:
        """Return the quarantined files, without their notes."""
        return sorted(self._paths.quarantine.glob(f"*{self._suffix}"))

    def is_intact(self, path: Path) -> bool:
        """Return whether a quarantined file still holds the bytes that were received."""
        digest = hashlib.sha256()
        try:
            for chunk in self._chunks(path):
                digest.update(chunk)
        except Forged:
            return False
        return self._envelope.file_name(digest.digest()) == path.stem

    def damaged_notes(self) -> Iterator[Path]:
        """Yield each note that is not what was written beside its file."""
        for path in sorted(self._paths.quarantine.glob(f"*{self._note_suffix}")):
            try:
                data = self._envelope.unseal(
                    Purpose.REFUSAL, os.fsencode(path.stem), path.read_bytes()
                )
                if unseal(data, _Refusal).name != path.stem:
                    yield path
            except (OSError, Forged, SealBroken):
                yield path

    def lost_files(self) -> Iterator[Path]:
        """Yield each file that is not there although its note is, which is written after it."""
        for note in sorted(self._paths.quarantine.glob(f"*{self._note_suffix}")):
            file = note.with_suffix(self._suffix)
            if not file.exists():
                yield file

    def release(self, selector: str, target: Path) -> int:
        """Write the received bytes to `target`, verified before it gets its name; return the size.

        Raises:
            UsageError: the selector (a beginning of the name) means none or several, or the target
                exists.
            RepositoryDamaged: the bytes are not those received; nothing is left at `target`.
        """
        found = [path for path in self.files() if path.name.startswith(selector)]
        if len(found) != 1 or not selector:
            cause = "it means several" if found else "there is none"
            raise UsageError(
                f'find quarantined file "{selector}": {cause}',
                "give more of the name that import or the notice told",
            )
        if target.exists() or target.is_symlink():
            raise UsageError(f'restore to "{target}": it exists already', "choose another name")
        damaged = RepositoryDamaged(
            f"restore {found[0].name}: its bytes are not those received",
            "bring the file back from another copy of the repository, or download the export again",
        )
        with NewFile(self._files, temporary(target.parent)) as file:
            try:
                for chunk in self._chunks(found[0]):
                    file.write(chunk)
            except Forged as error:
                raise damaged from error
            digest = file.seal(0o600)
            if self._envelope.file_name(digest) != found[0].stem:
                raise damaged
            self._files.publish(file.path, target, digest)
        return file.size

    def _note(self, name: str, rule: str, detail: str, origin: Origin) -> None:
        beside = self._paths.quarantine / f"{name}{self._note_suffix}"
        if beside.exists():
            return
        note = _Refusal(
            name=name,
            rule=rule,
            detail=detail,
            file_name=origin.file_name,
            received_at=origin.received_at,
            source=origin.source,
            delivery=origin.delivery,
            mailbox=origin.mailbox,
        )
        sealed = self._envelope.seal(Purpose.REFUSAL, name.encode(), seal(note))
        self._files.write_file(beside, [sealed], self._paths.incoming)

    def _chunks(self, path: Path) -> Iterator[bytes]:
        context = path.stem.encode()
        return self._envelope.unseal_stream(Purpose.QUARANTINE, context, read_chunks(path))

    @property
    def _suffix(self) -> str:
        return _SEALED_FILE if self._envelope.encrypted else _FILE

    @property
    def _note_suffix(self) -> str:
        return _SEALED_NOTE if self._envelope.encrypted else _NOTE


def _hash(chunks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def _told(
    chunks: Iterable[bytes], progress: Progress | None, done: int, total: int
) -> Iterator[bytes]:
    """Yield chunks and tell how many bytes of `total` are done."""
    for chunk in chunks:
        done += len(chunk)
        if progress is not None:
            progress("keep", done, total)
        yield chunk


def _same(chunks: Iterable[bytes], digest: bytes, source: Path) -> Iterator[bytes]:
    """Yield chunks; raise at the end if they are others than those that were hashed."""
    seen = hashlib.sha256()
    for chunk in chunks:
        seen.update(chunk)
        yield chunk
    if seen.digest() != digest:
        raise BackupdError(
            f'quarantine "{source.name}": it was changed while it was read',
            "wait until the file is complete, then hand it in again",
        )
