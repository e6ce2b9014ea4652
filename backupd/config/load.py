"""Find and read the configuration file.

Bounds: 256 KiB and 4,096 characters a line, because the time tomllib takes grows with the square
of a line's dots and brackets; a file beyond them is refused.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs

from backupd.config.build import build
from backupd.config.problems import Report
from backupd.config.schema import Settings
from backupd.errors import ConfigError

SYSTEM_FILE = Path("/etc/backupd/config.toml")
SYSTEM_STATE = Path("/var/lib/backupd")

_LONGEST_FILE = 256 * 1024
_LONGEST_LINE = 4096


def locate(flag: str | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file to use: flag, then `BACKUPD_CONFIG`, then the usual places.

    The usual places are the user's file, unless this is root, then the system file.

    Raises:
        ConfigError: none was named and none is there.
    """
    named = flag or environ.get("BACKUPD_CONFIG")
    if named:
        return Path(named)
    places = [*_user_files(environ), SYSTEM_FILE]
    for place in places:
        with suppress(PermissionError):  # a home of somebody else's, as under sudo or setpriv
            if place.is_file():
                return place
    raise ConfigError(
        f"find configuration: none at {' or '.join(map(str, places))}",
        hint=f"make one with `backupd config generate > {places[0]}`, or name it with --config",
    )


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the file at `path`; `environ` gives the default places only, never a setting.

    Raises:
        ConfigError: the file cannot be read, or is wrong; `problems` lists everything wrong.
    """
    text = _read(path)
    report = Report(path, text)
    return build(_parse(path, text), _default_state(path, environ), report)


def example_text() -> str:
    """Return the complete, commented example of a configuration file."""
    return (resources.files("backupd.config") / "backupd.example.toml").read_text("utf-8")


def _default_state(path: Path, environ: Mapping[str, str]) -> Path:
    """Return the state directory: what systemd made for us, else the usual place.

    The system's configuration has the system's state, whoever asks.
    """
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if Path(first).is_absolute():
        return Path(first)
    if path == SYSTEM_FILE or os.geteuid() == 0:
        return SYSTEM_STATE
    return platformdirs.user_state_path("backupd")


def _user_files(environ: Mapping[str, str]) -> list[Path]:
    if os.geteuid() == 0:
        return []
    base = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():  # the specification: a relative path is to be ignored
        home = environ.get("HOME", "")
        if not Path(home).is_absolute():
            return []
        base = Path(home) / ".config"
    return [base / "backupd" / "config.toml"]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(
            f'read configuration "{path}": {str(cause).lower()}',
            hint="name the file with --config, or make one with `backupd config generate`",
        ) from error
    if len(raw) > _LONGEST_FILE:
        raise ConfigError(
            f'read configuration "{path}": larger than 256 KiB', hint="name another with --config"
        )
    text = raw.decode("utf-8-sig", "surrogateescape")
    bad = re.search("[\ud800-\udfff]", text)
    if bad is not None:  # not by the decoder's error: it would carry the file's content along
        problem = f"{path}:{text.count(chr(10), 0, bad.start()) + 1}: not UTF-8 text"
        raise ConfigError(f'read configuration "{path}": 1 problem', (problem,))
    return text


def _parse(path: Path, text: str) -> dict[str, Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > _LONGEST_LINE:
            problem = f"{path}:{number}: a line of more than {_LONGEST_LINE} characters"
            raise ConfigError(f'read configuration "{path}": 1 problem', (problem,))
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        cause = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not readable as TOML"
        place = re.search(r"\(at line (\d+), column \d+\)$", cause)
        where = f"{path}:{place[1]}" if place else str(path)
        problem = f"{where}: not valid TOML: {_plain(cause)}"
        raise ConfigError(
            f'read configuration "{path}": 1 problem', (problem,), "correct the line named above"
        ) from None


def _plain(cause: str) -> str:
    """Drop what the parser quotes of the file: it may be part of a secret."""
    bare = re.sub(r"\s*\(at [^()]*\)$", "", cause)
    return re.sub(r"(['\"]).*\1", "a character or name", bare, flags=re.S).lower()
