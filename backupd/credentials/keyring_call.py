"""Ask the keyring, by a child process with a time limit (see `keyring_child`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from backupd.credentials.program import Programs
from backupd.errors import CredentialError

SERVICE = "backupd"
_CHILD = Path(__file__).with_name("keyring_child.py")
_PLACES = {
    "keyring.backends.SecretService.Keyring": 'the default keyring, usually called "Login"',
    "keyring.backends.libsecret.Keyring": 'the default keyring, usually called "Login"',
    "keyring.backends.kwallet.DBusKeyring": "KWallet",
}
_ELSEWHERE = (
    "install a real keyring (gnome-keyring or KWallet), or provide the credential by systemd "
    "(LoadCredentialEncrypted=)"
)


class KeyringLocked(CredentialError):
    """The keyring waits for a person; worth another try once it is unlocked."""

    transient: ClassVar[bool] = True


class KeyringMissing(CredentialError):
    """There is no keyring on this machine or in this session."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a keyring answered: the secret, None if it has none, and the backend's name."""

    value: str | None = field(repr=False)
    backend: str


class Keyring:
    """The keyring of this session; each call takes `limit` seconds at most. Thread-safe."""

    def __init__(self, programs: Programs, limit: float, environ: Mapping[str, str]) -> None:
        self._programs = programs
        self._limit = limit
        self._environ = environ

    def get(self, name: str) -> Held:
        """Look a credential up.

        Raises:
            KeyringMissing: there is none to ask.
            KeyringLocked: it waits for a person.
            CredentialError: its backend is refused, or it failed.
        """
        answer = self._ask(f'read credential "{name}"', do="get", name=name)
        value = answer.get("value")
        return Held(value if isinstance(value, str) else None, str(answer["detail"]))

    def set(self, name: str, value: str) -> None:
        """Store a credential and read it back.

        Raises:
            CredentialError: as `get`, or the keyring did not keep it.
        """
        self._ask(f'store credential "{name}"', do="set", name=name, value=value)

    def delete(self, name: str) -> None:
        """Delete a credential.

        Raises:
            CredentialError: as `get`, or there is none of that name.
        """
        self._ask(f'delete credential "{name}"', do="delete", name=name)

    def _ask(self, operation: str, **request: str) -> dict[str, Any]:
        given = json.dumps({"service": SERVICE, **request}).encode("ascii")
        # -I: neither the working directory nor PYTHON* variables decide which code runs.
        argv = (sys.executable, "-I", str(_CHILD))
        try:
            ended = self._programs.run(argv, given, self._limit, self._environ)
        except OSError as error:
            raise CredentialError(
                f"{operation}: start the keyring call: {error.strerror}",
                "see whether this user may start more processes and open more files",
            ) from None
        backend, answer = _read(ended.output)
        if ended.timed_out:
            raise _locked(operation, backend, f"no answer within {self._limit:.0f} seconds")
        kind, detail = answer.get("kind"), str(answer.get("detail", ""))
        if kind != "ok":
            raise _failure(operation, str(kind), detail, backend)
        return answer


def _read(output: bytes) -> tuple[str, dict[str, Any]]:
    """Return the backend, which the child names first, and its answer, as far as it got."""
    lines: list[dict[str, Any]] = [{}, {}]
    for index, line in enumerate(output.split(b"\n")[:2]):
        try:
            found = json.loads(line)
        except ValueError:
            break
        lines[index] = found if isinstance(found, dict) else {}
    if "kind" in lines[0]:
        return "", lines[0]
    return str(lines[0].get("backend", "")), lines[1]


def _locked(operation: str, backend: str, cause: str) -> KeyringLocked:
    place = _PLACES.get(backend, "the keyring")
    return KeyringLocked(
        f"{operation}: the keyring is locked ({cause})",
        f"unlock {place}, for example by logging in to the desktop; a service without a desktop "
        "gets its credentials from systemd (LoadCredentialEncrypted=)",
    )


def _failure(operation: str, kind: str, detail: str, backend: str) -> CredentialError:
    match kind:
        case "locked":
            return _locked(operation, backend, "nobody unlocked it")
        case "none":
            return KeyringMissing(
                f"{operation}: there is no keyring here (only keyring.backends.fail.Keyring)",
                _ELSEWHERE,
            )
        case "refused":
            return CredentialError(
                f'{operation}: keyring backend "{detail}" is refused: it keeps secrets in the '
                "clear or not at all",
                _ELSEWHERE,
            )
        case "misconfigured":
            return CredentialError(
                f'{operation}: keyring backend "{detail}" cannot be used',
                "correct PYTHON_KEYRING_BACKEND or keyringrc.cfg, or remove the setting",
            )
        case "not-kept":
            return CredentialError(
                f'{operation}: keyring backend "{detail}" did not do it, as reading back shows',
                _ELSEWHERE,
            )
        case "absent":
            return CredentialError(
                f"{operation}: the keyring has none of that name",
                "see `backupd secret test NAME` for where a credential comes from",
            )
    return CredentialError(
        f"{operation}: the keyring failed ({detail or 'no answer'})",
        "see whether the desktop's keyring program works",
    )
