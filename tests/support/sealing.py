"""Encrypted repositories for tests: cheap keys, and ways to change their files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from backupd.store import recovery
from backupd.store.keys import Cost
from backupd.store.repository import Access, NewKeys, Repository

PASSPHRASE = "correct horse battery staple"
RECOVERY = recovery.written(bytes(range(20)))
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CHEAP = Cost(memory_kib=8, passes=1, lanes=1)


def new_keys(passphrase: str = PASSPHRASE) -> NewKeys:
    """Return keys whose guessing costs nothing."""
    return NewKeys(passphrase, RECOVERY, NOW, CHEAP)


def made(path: Path) -> Repository:
    """Make an encrypted repository."""
    return Repository.create(path, keys=new_keys())


def access(passphrase: str = PASSPHRASE, cache: str = "memory") -> Access:
    """Open with a passphrase."""
    return Access(lambda: passphrase, cache=cache)


def by_recovery_key() -> Access:
    """Open with the recovery key."""
    return Access(recovery_key=lambda: RECOVERY, cache="memory")


def opened(path: Path, passphrase: str = PASSPHRASE) -> Repository:
    """Open an encrypted repository."""
    return Repository.open(path, access=access(passphrase))


def handed_over(passphrase: str, directory: Path) -> Path:
    """Make a directory with the repository's credential, as systemd hands it over."""
    directory.mkdir(mode=0o700)
    (directory / "repository").write_text(passphrase)
    return directory


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Write other bytes into a file that never changes."""
    path.chmod(0o600)
    path.write_bytes(change(path.read_bytes()))


def flipped(bit: int) -> Callable[[bytes], bytes]:
    """Return what flips one bit."""

    def flip(data: bytes) -> bytes:
        out = bytearray(data)
        out[bit // 8] ^= 1 << bit % 8
        return bytes(out)

    return flip
