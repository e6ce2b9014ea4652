"""Credentials: the order of the sources, what each refuses, and no secret in any error."""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from backupd.config import CredentialSettings
from backupd.credentials import Credentials
from backupd.errors import CredentialError, ExitCode

CANARY = "CANARY-1f9a"


def environ(**more: str) -> dict[str, str]:
    """Return an environment without a session bus: the keyring is the failing one."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}


def command(*argv: str) -> dict[str, CredentialSettings]:
    return {"imap-x": CredentialSettings(command=argv)}


def script(text: str) -> dict[str, CredentialSettings]:
    return command(sys.executable, "-c", text)


def systemd(directory: Path, content: bytes | None = None) -> dict[str, str]:
    if content is not None:
        (directory / "imap-x").write_bytes(content)
    return environ(CREDENTIALS_DIRECTORY=str(directory))


def refused(credentials: Credentials, name: str = "imap-x") -> str:
    """Return why there is no credential; the canary must not be in it."""
    with pytest.raises(CredentialError) as caught:
        credentials.get(name)
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not any(CANARY in f"{one!r} {vars(one) if one else ''}" for one in chain)
    assert caught.value.exit_code == ExitCode.CREDENTIAL
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"a\nb\n", "a\nb"),
        ("pä\r\n".encode(), "pä"),
    ],
)
def test_systemd_answers_first(tmp_path: Path, content: bytes, value: str) -> None:
    credentials = Credentials(command("false"), systemd(tmp_path, content))

    assert credentials.get("imap-x") == value
    assert credentials.source("imap-x") == "systemd"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (CANARY.encode() + b"\xff", "not UTF-8"),
        (CANARY.encode() + b"\0", "NUL"),
        (CANARY.encode() * 10_000, "longer than 64 KiB"),
    ],
)
def test_a_systemd_credential_that_cannot_be_used_is_no_reason_for_a_weaker_source(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    credentials = Credentials(command("echo", "other"), systemd(tmp_path, content))

    assert reason in refused(credentials)


def test_a_directory_in_place_of_a_credential_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "imap-x").mkdir()

    assert "from systemd" in refused(Credentials(command("echo", "other"), systemd(tmp_path)))


def test_the_command_answers_where_nothing_else_has_the_name(tmp_path: Path) -> None:
    credentials = Credentials(command("printf", "s3cret\\n"), systemd(tmp_path))

    assert credentials.get("imap-x") == "s3cret"
    assert credentials.source("imap-x") == "command (printf)"


def test_the_command_runs_without_a_shell() -> None:
    assert Credentials(command("echo", "$HOME; id"), environ()).get("imap-x") == "$HOME; id"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"import sys; sys.exit('{CANARY}')", "status 1"),
        (f"print('{CANARY}'); raise SystemExit(3)", "status 3"),
        ("", "it is empty"),
        (f"print('{CANARY}' * 100_000)", "command"),
        (f"import sys; sys.stdout.buffer.write(b'{CANARY}' + bytes([255]))", "not UTF-8"),
        (f"print('{CANARY}', flush=True); import time; time.sleep(60)", "no end within 1 seconds"),
    ],
    ids=["stderr", "status", "empty", "endless", "binary", "hung"],
)
def test_a_failing_command_says_how_and_shows_nothing(code: str, reason: str) -> None:
    limit = timedelta(seconds=1)

    assert reason in refused(Credentials(script(code), environ(), command_limit=limit))


def test_what_a_hung_command_started_is_ended_with_it() -> None:
    """A grandchild that holds stdout open must not hold the caller."""
    limit = timedelta(seconds=0.5)
    credentials = Credentials(command("sh", "-c", "sleep 60 & sleep 60"), environ(), limit, limit)
    start = time.monotonic()
    refused(credentials)

    assert time.monotonic() - start < 10


def test_a_command_that_does_not_exist_says_so() -> None:
    assert "no such file" in refused(Credentials(command("/no/such/program"), environ()))


def test_without_any_source_the_error_names_all_that_were_asked(tmp_path: Path) -> None:
    message = refused(Credentials({}, systemd(tmp_path)))

    assert "systemd passed none of that name" in message
    assert "keyring.backends.fail.Keyring" in message
    assert "no [credentials.imap-x]" in message


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x\n", "x\0", "x" * 200, "é"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    credentials = Credentials({}, systemd(tmp_path))

    for act in (credentials.get, credentials.source, credentials.delete):
        with pytest.raises(CredentialError, match="the name must be"):
            act(name)
    with pytest.raises(CredentialError, match="the name must be"):
        credentials.set(name, "value")


@pytest.mark.parametrize(
    "backend",
    [
        "keyring.backends.null.Keyring",
        "keyring.backends.fail.Keyring",
        "keyrings.alt.file.PlaintextKeyring",
    ],
)
def test_backends_that_keep_nothing_or_in_the_clear_are_refused_by_name(backend: str) -> None:
    """Even though a command could answer: a refused source is an error, not one to pass over."""
    credentials = Credentials(command("echo", "x"), environ(PYTHON_KEYRING_BACKEND=backend))

    assert f'"{backend}" is refused' in refused(credentials)
    with pytest.raises(CredentialError, match="is refused"):
        credentials.set("imap-x", CANARY)


def test_a_backend_refused_in_the_users_configuration_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "python_keyring"
    place.mkdir()
    backend = "keyring.backends.null.Keyring"
    (place / "keyringrc.cfg").write_text(f"[backend]\ndefault-keyring={backend}\n")
    credentials = Credentials({}, environ(XDG_CONFIG_HOME=str(tmp_path)))

    assert f'"{backend}" is refused' in refused(credentials)


def test_code_from_a_keyring_path_is_never_run(tmp_path: Path) -> None:
    place = tmp_path / "python_keyring"
    place.mkdir()
    (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (place / "keyringrc.cfg").write_text(
        f"[backend]\ndefault-keyring=evil.Keyring\nkeyring-path={place}\n"
    )
    message = refused(
        Credentials({}, environ(XDG_CONFIG_HOME=str(tmp_path), PYTHONPATH=str(place)))
    )

    assert '"evil.Keyring" cannot be used' in message
    assert not (tmp_path / "ran").exists()


def test_an_empty_chain_is_no_keyring() -> None:
    chain = "keyring.backends.chainer.ChainerBackend"
    credentials = Credentials({}, environ(PYTHON_KEYRING_BACKEND=chain))

    assert "there is no keyring here" in refused(credentials)
    with pytest.raises(CredentialError, match="there is no keyring here"):
        credentials.set("imap-x", "value")


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 70_000])
def test_a_value_that_no_source_could_give_back_is_not_stored(value: str) -> None:
    with pytest.raises(CredentialError, match="store credential"):
        Credentials({}, environ()).set("imap-x", value)


def test_close_ends_a_call_that_is_under_way() -> None:
    credentials = Credentials(script("import time; time.sleep(60)"), environ())
    errors: list[CredentialError] = []

    def ask() -> None:
        with pytest.raises(CredentialError) as caught:
            credentials.get("imap-x")
        errors.append(caught.value)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.5)  # long enough for the program to be running, in all but the slowest run
    credentials.close()
    asking.join(10)

    assert not asking.is_alive()
    assert len(errors) == 1
