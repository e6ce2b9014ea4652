"""Snapshot manifests: one small JSON file per stored export; its rename is the commit point.

The file's name is the SHA-256 of its bytes, which are canonical JSON (sorted keys, no spaces,
ASCII), sealed if the repository is encrypted, so a manifest proves itself. Beside it a proof may
stand in `proofs/`, written after the export was rebuilt from the repository and hashed equal (I4).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from backupd.store.envelope import Envelope, Forged, Purpose
from backupd.store.sealed import SealBroken, unseal

FORMAT = 1


class ManifestDamaged(Exception):
    """The bytes are not the manifest of that name."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an export came from; `source` is "mail", "drop" or "import"."""

    file_name: str | None
    received_at: datetime
    source: str
    delivery: str | None = None
    mailbox: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot's file says. Times are aware UTC; hashes and ids are lower-case hex."""

    format: int
    sha256: str
    size: int
    recipe: tuple[str, ...]
    packs: tuple[str, ...]
    stored_bytes: int
    kept_whole: bool
    file_name: str | None
    received_at: datetime
    source: str
    delivery: str | None
    mailbox: str | None
    account: str | None
    account_prefix: str | None
    exported_at: datetime | None
    era: str
    members: int
    conversations: int
    complete: bool | None
    incomplete_reasons: tuple[str, ...]
    unknown_parts: tuple[str, ...]
    encoders: tuple[str, ...]
    kept_streams: tuple[str, ...]
    kept_stream_bytes: int = 0
    zlib: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Says that a snapshot was rebuilt and hashed equal."""

    format: int
    snapshot: str
    sha256: str
    proven_at: datetime
    zlib: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One stored export. `account` is the digest of the user id that the export names.

    `packs` are the packs that storing it added, `stored_bytes` what they and the manifest take;
    `encoders` says which deflate parameters give its members back, `kept_streams` which members
    no known encoder gives back (they are kept as compressed, exact but large) and
    `kept_stream_bytes` what those take.
    """

    id: str
    sha256: str
    size: int
    origin: Origin
    account: str | None
    account_prefix: str | None
    exported_at: datetime | None
    era: str
    members: int
    conversations: int
    complete: bool | None
    incomplete_reasons: tuple[str, ...]
    unknown_parts: tuple[str, ...]
    kept_whole: bool
    kept_streams: tuple[str, ...]
    encoders: tuple[str, ...]
    recipe: tuple[str, ...]
    packs: tuple[str, ...]
    stored_bytes: int
    proven_at: datetime | None
    kept_stream_bytes: int = 0

    @property
    def received_at(self) -> datetime:
        """When the export was received."""
        return self.origin.received_at


def manifest_id(data: bytes) -> str:
    """Return the id of the manifest with these bytes."""
    return hashlib.sha256(data).hexdigest()


def read_manifest(name: str, data: bytes, envelope: Envelope) -> Manifest:
    """Return the manifest whose file is called `name`.

    Raises:
        ManifestDamaged: the bytes are others than those that got the name, or cannot be read.
    """
    if manifest_id(data) != name:
        raise ManifestDamaged("its bytes do not match its name")
    try:
        plain = envelope.unseal(Purpose.MANIFEST, b"", data)
        manifest = msgspec.json.decode(plain, type=Manifest)
    except Forged as error:
        raise ManifestDamaged(str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ManifestDamaged("it cannot be read") from error
    if manifest.format != FORMAT:
        raise ManifestDamaged(f"format {manifest.format} is not known")
    return manifest


def read_proof(name: str, data: bytes, envelope: Envelope) -> Proof | None:
    """Return the proof of the snapshot `name`, or None if the bytes prove nothing."""
    try:
        proof = unseal(envelope.unseal(Purpose.PROOF, name.encode(), data), Proof)
    except (Forged, SealBroken):
        return None
    return proof if proof.format == FORMAT and proof.snapshot == name else None


def snapshot_of(name: str, manifest: Manifest, size: int, proof: Proof | None) -> Snapshot:
    """Return the value that the rest of the program works with; `size` is the manifest file's."""
    proven = proof if proof and proof.sha256 == manifest.sha256 else None
    return Snapshot(
        id=name,
        sha256=manifest.sha256,
        size=manifest.size,
        origin=Origin(
            manifest.file_name,
            _utc(manifest.received_at),
            manifest.source,
            manifest.delivery,
            manifest.mailbox,
        ),
        account=manifest.account,
        account_prefix=manifest.account_prefix,
        exported_at=_utc(manifest.exported_at) if manifest.exported_at else None,
        era=manifest.era,
        members=manifest.members,
        conversations=manifest.conversations,
        complete=manifest.complete,
        incomplete_reasons=manifest.incomplete_reasons,
        unknown_parts=manifest.unknown_parts,
        kept_whole=manifest.kept_whole,
        kept_streams=manifest.kept_streams,
        encoders=manifest.encoders,
        recipe=manifest.recipe,
        packs=manifest.packs,
        stored_bytes=manifest.stored_bytes + size,
        proven_at=_utc(proven.proven_at) if proven else None,
        kept_stream_bytes=manifest.kept_stream_bytes,
    )


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)
