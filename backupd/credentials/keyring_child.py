"""The program that talks to the keyring: a request on stdin, the answer on stdout.

It runs as a child process, by its path, so that a keyring that waits for a person can be ended:
a thread blocked in D-Bus cannot, and its prompt would stay on the screen. It imports the standard
library and keyring only. Request and answer are a line of JSON each; before the answer, and before
anything can block, comes a line that names the backend. A secret never stands in argv or the
environment, and of a failure only the kind and the class of the error are told.

Rules (K1, K3, K4 of the keyring's known pitfalls): the backend that a person chose is judged by
its name before it is loaded, `keyring-path` (code from a directory) is not honoured, and backends
that keep nothing or keep it in the clear are refused, members of a chain too.
"""

from __future__ import annotations

import configparser
import importlib
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_REFUSED = re.compile(r"keyring\.backends\.(null|fail)\.|plain_?text|uncrypted|unencrypted", re.I)
_CHAIN = "keyring.backends.chainer.ChainerBackend"


class _End(Exception):
    """The answer is known: `kind` and `detail`."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    try:
        answer = _answer(request)
    except _End as end:
        answer = {"kind": end.kind, "detail": end.detail}
    except Exception as error:  # noqa: BLE001  # a backend may raise anything; only the class is told
        answer = {"kind": _kind(error), "detail": type(error).__name__}
    print(json.dumps(answer))
    return 0


def _answer(request: dict[str, str]) -> dict[str, str | None]:
    backend = _backend()
    print(json.dumps({"backend": _name(backend)}), flush=True)
    service, name = request["service"], request["name"]
    if request["do"] == "set":
        backend.set_password(service, name, request["value"])
        if backend.get_password(service, name) != request["value"]:
            raise _End("not-kept", _name(backend))
    elif request["do"] == "delete":
        if backend.get_password(service, name) is None:
            raise _End("absent")
        backend.delete_password(service, name)
        if backend.get_password(service, name) is not None:
            raise _End("not-kept", _name(backend))
    else:
        return {
            "kind": "ok",
            "detail": _name(backend),
            "value": backend.get_password(service, name),
        }
    return {"kind": "ok", "detail": _name(backend)}


def _backend() -> KeyringBackend:
    """Return the backend to use: the chosen one, else the best there is."""
    chosen = os.environ.get("PYTHON_KEYRING_BACKEND") or _configured()
    if chosen:
        _refuse([chosen])
        backend = _load(chosen)
    else:
        backend = _best()
    names = _members(backend)
    if names == [_CHAIN]:
        _end("none")  # an empty chain takes everything and keeps nothing
    _refuse(names)
    return backend


def _configured() -> str:
    """Return the backend that keyring's own configuration file names, or nothing."""
    from keyring.util.platform_ import config_root

    parser = configparser.RawConfigParser()
    try:
        parser.read(Path(config_root()) / "keyringrc.cfg", encoding="utf-8")
        return parser.get("backend", "default-keyring", fallback="").strip()
    except (configparser.Error, UnicodeDecodeError):
        _end("misconfigured", "keyringrc.cfg")


def _load(name: str) -> KeyringBackend:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
        _ = found.priority  # raises RuntimeError where the backend cannot work
        backend: KeyringBackend = found()
    except (ImportError, AttributeError, ValueError, TypeError, RuntimeError):
        _end("misconfigured", name)
    return backend


def _best() -> KeyringBackend:
    from keyring.backend import get_all_keyring

    backends = [one for one in get_all_keyring() if one.priority > 0]
    if not backends:
        _end("none")
    return max(backends, key=lambda one: one.priority)


def _members(backend: KeyringBackend) -> list[str]:
    """Return the backend's name, or its members' names if it is a chain."""
    names = [_name(backend)]
    if names == [_CHAIN]:
        names += [_name(member) for member in getattr(backend, "backends", ())]
    return names


def _name(backend: KeyringBackend) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _refuse(names: Iterable[str]) -> None:
    for name in names:
        if _REFUSED.search(name + "."):
            _end("refused", name)


def _kind(error: Exception) -> str:
    """Tell a locked keyring from other failures; a prompt that cannot be shown is a lock too."""
    names = {kind.__name__ for kind in type(error).__mro__}
    locked = names & {"KeyringLocked", "LockedException", "PromptDismissedException", "InitError"}
    return "locked" if locked else "failed"


def _end(kind: str, detail: str = "") -> NoReturn:
    raise _End(kind, detail)


if __name__ == "__main__":
    sys.exit(main())
