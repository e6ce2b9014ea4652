"""Secrets by name: from systemd, from the keyring, from a command; never from TOML, env or argv."""

from __future__ import annotations

from backupd.credentials.keyring_call import KeyringLocked
from backupd.credentials.lookup import CredentialMissing, Credentials, Found

__all__ = ["CredentialMissing", "Credentials", "Found", "KeyringLocked"]
