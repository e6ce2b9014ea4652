"""Find a credential by its name.

The order is fixed: `$CREDENTIALS_DIRECTORY/NAME` (systemd), the keyring (service `backupd`, user
NAME), the command of `[credentials.NAME]`. A source that does not have the name is passed over, and
so is a keyring that does not exist; a source that has it and fails, is locked or is refused ends
the search with an error, because a weaker one must never step in for it unseen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from backupd.config import CredentialSettings
from backupd.config.values import parse_name
from backupd.credentials.keyring_call import Keyring, KeyringMissing
from backupd.credentials.program import LONGEST_OUTPUT, Programs
from backupd.errors import CredentialError


class CredentialMissing(CredentialError):
    """No source has the credential; a person may be asked instead."""


KEYRING_LIMIT = timedelta(seconds=10)
COMMAND_LIMIT = timedelta(seconds=30)
_SHAPE = f"give it anew: UTF-8 text of one to {LONGEST_OUTPUT} bytes, without NUL"


@dataclass(frozen=True, slots=True)
class Found:
    """A secret, the words for where it came from, and whether a program printed it just now."""

    value: str = field(repr=False)
    source: str
    printed: bool = False


class Credentials:
    """The credentials of this process. Nothing is cached: a changed secret is seen at once.

    Thread-safe. `close` ends calls that are under way, so that a stop need not wait for them.
    """

    def __init__(
        self,
        commands: Mapping[str, CredentialSettings],
        environ: Mapping[str, str],
        keyring_limit: timedelta = KEYRING_LIMIT,
        command_limit: timedelta = COMMAND_LIMIT,
    ) -> None:
        self._commands = commands
        self._environ = environ
        self._command_limit = command_limit.total_seconds()
        self._programs = Programs()
        self._keyring = Keyring(self._programs, keyring_limit.total_seconds(), environ)

    def get(self, name: str) -> str:
        """Return a secret, without its final line end.

        Raises:
            KeyringLocked: the keyring waits for a person; transient.
            CredentialMissing: no source has it.
            CredentialError: the one that should have it failed.
        """
        return self.find(name).value

    def source(self, name: str) -> str:
        """Say which source answers for a credential.

        Raises:
            CredentialError: as `get`.
        """
        return self.find(name).source

    def find(self, name: str) -> Found:
        """Return a secret together with where it comes from.

        Raises:
            CredentialError: as `get`.
        """
        _named(name)
        passed: list[str] = []
        for ask in (self._from_systemd, self._from_keyring, self._from_command):
            answer = ask(name)
            if isinstance(answer, Found):
                return answer
            passed.append(answer)
        raise CredentialMissing(
            f'read credential "{name}": no source has it ({"; ".join(passed)})',
            f"store it with `backupd secret set {name}`, or see docs/configuration.md for systemd "
            "credentials and commands",
        )

    def set(self, name: str, value: str) -> None:
        """Store a secret in the keyring, read back to be sure.

        Raises:
            CredentialError: the name or value cannot be used, or the keyring does not keep it.
        """
        _checked(f'store credential "{_named(name)}"', value)
        self._keyring.set(name, value)

    def require_keyring(self, name: str) -> None:
        """Make sure that `set` has a keyring to store in, before something is made for it.

        Raises:
            CredentialError: there is none, it is locked, refused, or fails.
        """
        self._keyring.get(_named(name))

    def delete(self, name: str) -> None:
        """Delete a secret from the keyring.

        Raises:
            CredentialError: it has none of that name, or fails.
        """
        self._keyring.delete(_named(name))

    def close(self) -> None:
        """End the calls that are under way; they and later ones fail."""
        self._programs.close()

    # Each source returns what it found, or in words why it is passed over.

    def _from_systemd(self, name: str) -> Found | str:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return "not started by systemd with credentials"
        operation = f'read credential "{name}" from systemd'
        try:
            raw = _read_file(Path(directory) / name)
        except FileNotFoundError:
            return "systemd passed none of that name"
        except OSError as error:
            raise CredentialError(
                f"{operation}: {str(error.strerror).lower()}",
                "see LoadCredential= or LoadCredentialEncrypted= in the unit",
            ) from error
        return Found(_text(operation, raw), "systemd")

    def _from_keyring(self, name: str) -> Found | str:
        try:
            held = self._keyring.get(name)
        except KeyringMissing as missing:
            return missing.message.rpartition(": ")[2]
        if held.value is None:
            return f"the keyring ({held.backend}) has none of that name"
        value = _checked(f'read credential "{name}" from the keyring', held.value)
        return Found(value, f"the keyring ({held.backend})")

    def _from_command(self, name: str) -> Found | str:
        settings = self._commands.get(name)
        if settings is None:
            return f"no [credentials.{name}] with a command"
        program = Path(settings.command[0]).name
        operation = f'read credential "{name}" from command "{program}"'
        try:
            ended = self._programs.run(settings.command, b"", self._command_limit, self._environ)
        except OSError as error:
            raise CredentialError(
                f"{operation}: {str(error.strerror).lower()}",
                f"correct `command` in [credentials.{name}]",
            ) from None
        if ended.timed_out:
            raise CredentialError(
                f"{operation}: no end within {self._command_limit:.0f} seconds",
                "the command must print the secret without asking anybody",
            )
        if ended.status != 0:
            raise CredentialError(
                f"{operation}: it ended with status {ended.status}", "run the command by hand"
            )
        return Found(_text(operation, ended.output), f"command ({program})", printed=True)


def _named(name: str) -> str:
    try:
        return parse_name(name)
    except ValueError as error:
        raise CredentialError(
            f"use credential {name[:60]!a}: the name {error}",
            "use the name that stands in the configuration, such as imap-personal",
        ) from None


def _read_file(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "Not a regular file")
        return file.read(LONGEST_OUTPUT + 1)


def _text(operation: str, raw: bytes) -> str:
    """Decode what a source gave, less one final line end; the bytes never get into an error."""
    if len(raw) > LONGEST_OUTPUT:
        raise CredentialError(f"{operation}: longer than {LONGEST_OUTPUT // 1024} KiB", _SHAPE)
    text = _decoded(raw)
    if text is None:
        raise CredentialError(f"{operation}: not UTF-8 text", _SHAPE)
    return _checked(operation, text.removesuffix("\n").removesuffix("\r"))


def _decoded(raw: bytes) -> str | None:
    """Decode, or return None: an error raised here would carry the secret along as its context."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _checked(operation: str, value: str) -> str:
    if not value:
        raise CredentialError(f"{operation}: it is empty", _SHAPE)
    if "\0" in value:
        raise CredentialError(f"{operation}: it holds a NUL character", _SHAPE)
    if len(value) > LONGEST_OUTPUT:
        raise CredentialError(f"{operation}: longer than {LONGEST_OUTPUT // 1024} KiB", _SHAPE)
    return value
