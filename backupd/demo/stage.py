"""Where the demo happens: servers on loopback, a configuration, and the real program beside them.

Everything lies in one temporary directory. The program is a child process with an environment of
its own: no configuration, keyring or home directory of the user is within its reach.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.imap import DemoImap
from backupd.demo.report import NotShown

USERNAME = "me@example.org"
PASSWORD = "only-for-this-demo"  # noqa: S105 - of a mailbox that lives for half a minute
AUTHSERV_ID = "mx.example.org"
_VERB_SECONDS = 60
_LOOK_SECONDS = 0.3
_STOP_SECONDS = 10
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one verb of the program ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Stage:
    """The open stage; `open_stage` makes it and takes it down."""

    root: Path
    imap: DemoImap
    downloads: DownloadServer
    daemon: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def drop(self) -> Path:
        """The folder for downloads made in a browser."""
        return self.root / "drop"

    @property
    def log(self) -> Path:
        """What the daemon wrote to stdout and stderr."""
        return self.root / "daemon.log"

    def verb(self, *arguments: str) -> Ended:
        """Run one verb to its end."""
        try:
            done = subprocess.run(
                [*_program(self.root), *arguments],
                capture_output=True,
                text=True,
                encoding="utf-8",
                env=_environment(self.root),
                timeout=_VERB_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotShown(f"backupd {arguments[0]} took more than {_VERB_SECONDS} s") from error
        return Ended(done.returncode, done.stdout, done.stderr)

    def done(self, *arguments: str) -> Ended:
        """Run one verb that has to succeed.

        Raises:
            NotShown: it ended with another exit code than 0.
        """
        ended = self.verb(*arguments)
        if ended.code != 0:
            said = ended.stderr.strip().splitlines()
            raise NotShown(
                f"backupd {arguments[0]} ended with {ended.code}: {said[-1] if said else ''}"
            )
        return ended

    def json(self, verb: str) -> Any:
        """Return what a verb says with `--json`; a verb may mirror a state by its exit code."""
        ended = self.verb(verb, "--json")
        try:
            return json.loads(ended.stdout)
        except ValueError as error:
            raise NotShown(f"backupd {verb} --json ended with {ended.code}, no JSON") from error

    def notices(self, event: str) -> list[dict[str, Any]]:
        """Return the notices of one kind, oldest first."""
        return [notice for notice in self.json("notices") if notice["event"] == event]

    def notice(self, event: str, number: int, seconds: float = 20) -> dict[str, Any]:
        """Wait for the so-many-th notice of a kind."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.notices(event)
            return len(found) >= number

        self.wait(there, f'a notice "{event}"', seconds)
        return found[number - 1]

    def wait(self, held: Callable[[], bool], what: str, seconds: float = 20) -> None:
        """Wait until something holds.

        Raises:
            NotShown: it did not come to that, or the daemon ended meanwhile.
        """
        end = time.monotonic() + seconds
        while not held():
            if self.daemon is not None and self.daemon.poll() is not None:
                raise NotShown(f"the daemon ended by itself with {self.daemon.returncode}")
            if time.monotonic() > end:
                raise NotShown(f"waited {seconds:.0f} s for {what}")
            time.sleep(_LOOK_SECONDS)

    def start_daemon(self) -> subprocess.Popen[bytes]:
        """Start the daemon as a service manager would."""
        with self.log.open("wb") as log:
            self.daemon = subprocess.Popen(
                [*_program(self.root), "run"],
                env=_environment(self.root),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.daemon

    def stop_daemon(self) -> int:
        """End the daemon by SIGTERM and return its exit code; kill it if it does not listen."""
        daemon, self.daemon = self.daemon, None
        if daemon is None:
            return 0
        daemon.send_signal(signal.SIGTERM)
        try:
            return daemon.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            return daemon.wait()


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Start the servers and write the configuration; afterwards nothing of it is left."""
    authority = Authority()
    with (
        tempfile.TemporaryDirectory(prefix="backupd-demo-") as directory,
        DownloadServer(authority) as downloads,
        DemoImap(authority.server_context("localhost"), USERNAME, PASSWORD) as imap,
    ):
        root = Path(directory)
        stage = Stage(root, imap, downloads)
        authority.write_ca(root / "ca.pem")
        stage.drop.mkdir(mode=0o700)
        credentials = root / "credentials"
        credentials.mkdir(mode=0o700)
        (credentials / "imap-personal").write_text(PASSWORD)
        (root / "config.toml").write_text(_configuration(stage))
        try:
            yield stage
        finally:
            stage.stop_daemon()


def _program(root: Path) -> list[str]:
    return [sys.executable, "-m", "backupd", "--config", str(root / "config.toml")]


def _environment(root: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    own = {
        "HOME": str(root),
        "CREDENTIALS_DIRECTORY": str(root / "credentials"),
        "BACKUPD_JOURNAL": "off",  # the demo leaves nothing in the machine's journal
    }
    return {**kept, **own}


def _configuration(stage: Stage) -> str:
    connect_to = ", ".join(
        f'"{host}" = "{here}"' for host, here in stage.downloads.connect_to.items()
    )
    return f"""[repository]
path = "{stage.root}/repository"

[state]
path = "{stage.root}/state"

[mailboxes.personal]
host = "localhost"
port = {stage.imap.port}
ca_file = "{stage.root}/ca.pem"
username = "{USERNAME}"
folders = ["INBOX"]
authserv_id = "{AUTHSERV_ID}"
drop_folder = "{stage.drop}"

[download]
ca_file = "{stage.root}/ca.pem"
connect_to = {{ {connect_to} }}
"""
