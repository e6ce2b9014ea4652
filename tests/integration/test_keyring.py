"""The real Secret Service: gnome-keyring on a session bus of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backupd.credentials import keyring_call
from tests.support import FULL, needs

UNLOCKED = "printf PASS | gnome-keyring-daemon --unlock --components=secrets"
LOCKED = "gnome-keyring-daemon --start --components=secrets"
CANARY = "CANARY pä\nline 2"

SCRIPT = """
import json, os, sys, time
from datetime import timedelta
from backupd.credentials import Credentials
from backupd.errors import CredentialError
limit, steps = json.load(sys.stdin)
given = {} if limit is None else {"keyring_limit": timedelta(seconds=limit)}
credentials = Credentials({}, os.environ, **given)
told = []
for verb, *rest in steps:
    start = time.monotonic()
    try:
        answer = getattr(credentials, verb)("imap-x", *rest)
    except CredentialError as error:
        answer = {"error": error.message, "hint": error.hint, "transient": error.transient}
    told.append({"answer": answer, "seconds": time.monotonic() - start})
print(json.dumps(told))
"""


def session(
    home: Path, daemon: str, steps: list[list[str]], limit: float | None = None, **more: str
) -> list[dict[str, Any]]:
    """Run `steps` against a fresh session bus with the keyring of `home`; return their answers."""
    needs("gnome-keyring-daemon", "dbus-run-session")
    runtime = home / "run"
    runtime.mkdir(exist_ok=True, mode=0o700)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_RUNTIME_DIR": str(runtime),
        "LANG": "C",
        **more,
    }
    line = f'{daemon} >/dev/null 2>&1; exec "$@"'
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", line, "sh", sys.executable, "-c", SCRIPT],
        input=json.dumps([limit, steps]),
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_set_get_source_delete(tmp_path: Path) -> None:
    steps = [["get"], ["set", CANARY], ["get"], ["source"], ["delete"], ["delete"]]
    missing, stored, got, source, deleted, again = (
        one["answer"] for one in session(tmp_path, UNLOCKED, steps)
    )

    assert "has none of that name" in missing["error"]
    assert stored is None
    assert got == CANARY
    assert source == "the keyring (keyring.backends.SecretService.Keyring)"
    assert deleted is None
    assert "has none of that name" in again["error"]


def test_a_secret_outlives_the_session(tmp_path: Path) -> None:
    session(tmp_path, UNLOCKED, [["set", "kept"]])
    (got,) = session(tmp_path, UNLOCKED, [["get"]])

    assert got["answer"] == "kept"


def test_a_locked_keyring_is_named_and_worth_another_try(tmp_path: Path) -> None:
    session(tmp_path, UNLOCKED, [["set", CANARY]])
    (got,) = session(tmp_path, LOCKED, [["get"]])

    assert "the keyring is locked" in got["answer"]["error"]
    assert 'unlock the default keyring, usually called "Login"' in got["answer"]["hint"]
    assert got["answer"]["transient"] is True
    assert got["seconds"] < 10


@pytest.mark.parametrize(("limit", "seconds"), [(2.0, 2.0), *([(None, 10.0)] if FULL else [])])
def test_a_prompt_that_nobody_answers_ends_at_the_limit(
    tmp_path: Path, limit: float | None, seconds: float
) -> None:
    """K2: the unlock dialog is there and waits; the call must not. The full run proves the 10 s."""
    session(tmp_path, UNLOCKED, [["set", CANARY]])
    services = tmp_path / "data" / "dbus-1" / "services"
    services.mkdir(parents=True)
    (services / "prompter.service").write_text(
        "[D-BUS Service]\nName=org.gnome.keyring.SystemPrompter\n"
        f"Exec=/bin/sh -c 'exec sleep {seconds + 5} >/dev/null 2>&1'\n"
    )
    (got,) = session(tmp_path, LOCKED, [["get"]], limit)

    assert f"no answer within {seconds:.0f} seconds" in got["answer"]["error"]
    assert 'usually called "Login"' in got["answer"]["hint"]
    assert seconds <= got["seconds"] < seconds + 5


def test_a_plaintext_member_of_the_chain_is_refused(tmp_path: Path) -> None:
    """With two usable backends keyring makes a chain; one bad member spoils it."""
    package = tmp_path / "site" / "weak"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from keyring.backend import KeyringBackend\n"
        "class PlaintextKeyring(KeyringBackend):\n"
        "    priority = 0.5\n"
        "    def get_password(self, service, username): return None\n"
        "    def set_password(self, service, username, password): pass\n"
    )
    info = tmp_path / "site" / "weak-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weak\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[keyring.backends]\nweak = weak\n")
    child = Path(keyring_call.__file__).with_name("keyring_child.py")
    needs("gnome-keyring-daemon", "dbus-run-session")
    line = f'{UNLOCKED} >/dev/null 2>&1; exec "$@"'
    start = f"import sys, runpy; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
    start += f"runpy.run_path({str(child)!r}, run_name='__main__')"
    done = subprocess.run(
        ["dbus-run-session", "--", "sh", "-c", line, "sh", sys.executable, "-c", start],
        input=json.dumps({"do": "get", "service": "backupd", "name": "imap-x"}),
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_RUNTIME_DIR": str(tmp_path),
        },
        check=False,
    )

    assert json.loads(done.stdout) == {"kind": "refused", "detail": "weak.PlaintextKeyring"}
