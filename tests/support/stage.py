"""A stage for the whole program: mail and download servers on loopback, a config, the command.

The daemon is a real process, started as a user would start it. Everything lies below one directory.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backupd.demo import mails
from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.exports.series import GeneratedExport, series
from backupd.demo.imap import DemoImap

PASSWORD = "canary-password-0815"


class Stage:
    """Servers, files and the command; `imap` may be any server with `port` and `deliver`."""

    def __init__(self, root: Path, authority: Authority, downloads: DownloadServer) -> None:
        self.root = root
        self.ca = authority.write_ca(root / "ca.pem")
        self.downloads = downloads
        self.drop = root / "drop"
        self.drop.mkdir()
        self.credentials = root / "credentials"
        self.credentials.mkdir(mode=0o700)
        self.config = root / "config.toml"
        self.logs: list[Path] = []
        self.set_password(PASSWORD)

    def set_password(self, password: str, name: str = "imap-personal") -> None:
        """Put the mailbox's password where the service manager would put it."""
        (self.credentials / name).write_text(password)

    def configure(self, imap_port: int, imap_ca: Path | None = None, extra: str = "") -> None:
        """Write the configuration."""
        connect_to = ", ".join(f'"{a}" = "{b}"' for a, b in self.downloads.connect_to.items())
        self.config.write_text(f"""
[repository]
path = "{self.root}/repository"
[state]
path = "{self.root}/state"
[mailboxes.personal]
host = "localhost"
port = {imap_port}
ca_file = "{imap_ca or self.ca}"
username = "demo"
authserv_id = "mx.example.org"
drop_folder = "{self.drop}"
[download]
ca_file = "{self.ca}"
connect_to = {{ {connect_to} }}
[schedule]
poll = "2s"
{extra}
""")

    def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run one verb to its end and return its stdout; `code` None accepts every exit code."""
        done = subprocess.run(
            [*self.command(), *arguments],
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=60,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done.returncode, done.stderr)
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run one verb with --json and return what it says."""
        return json.loads(self.run(*arguments, "--json", code=None))

    def events(self) -> list[str]:
        """Return the events of the notice log, oldest first."""
        return [row["event"] for row in self.ledger("SELECT event FROM notices ORDER BY id")]

    def ledger(self, sql: str) -> list[sqlite3.Row]:
        """Read the ledger; empty as long as there is none."""
        try:
            connection = sqlite3.connect(f"file:{self.root}/state/ledger.sqlite?mode=ro", uri=True)
        except sqlite3.OperationalError:
            return []
        try:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []  # the tables are being made
        finally:
            connection.close()

    def command(self) -> list[str]:
        """Return the command line up to the verb."""
        return [sys.executable, "-m", "backupd", "--config", str(self.config)]

    def environment(self) -> dict[str, str]:
        """Return the daemon's environment: credentials as the service manager hands them over."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "HOME": str(self.root),
            "BACKUPD_JOURNAL": "off",
        }

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon for a block; it is ended by SIGTERM if it still runs."""
        log = self.root / f"daemon-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self.command(), "-vv", "run"],
                env=self.environment(),
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(15)

    def log_text(self) -> str:
        """Return what all daemons wrote."""
        return "".join(log.read_text(errors="replace") for log in self.logs)

    def offer(self, export: GeneratedExport, **plan: Any) -> Path:
        """Write an export and serve it; returns the ZIP."""
        from backupd.demo.answers import Plan

        path = self.root / export.file_name
        if not path.exists():
            export.write(path)
        self.downloads.offer(export.file_name, path, Plan(**plan))
        return path

    def ready_mail(
        self, export: GeneratedExport, now: datetime | None = None, **kind: Any
    ) -> bytes:
        """Return a genuine mail for an export, sent now."""
        now = now or datetime.now(UTC)
        url = mails.estuary_url(export.file_name, now)
        return mails.ready(mails.Envelope(date=now, **kind), url)


def exports(count: int = 2, conversations: int = 12, seed: int = 7) -> list[GeneratedExport]:
    """Return a short series of small exports."""
    return list(series(seed=seed, exports=count, conversations=conversations))


def until(true: Callable[[], object], seconds: float = 20, what: str = "it") -> None:
    """Wait until something is so; fail with its name if that takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@contextmanager
def demo_stage(root: Path) -> Iterator[tuple[Stage, DemoImap]]:
    """Set a stage with the embedded IMAP server and a repository that is ready."""
    authority = Authority()
    with DownloadServer(authority) as downloads:
        stage = Stage(root, authority, downloads)
        with DemoImap(authority.server_context("localhost"), "demo", PASSWORD) as imap:
            stage.configure(imap.port)
            stage.run("init")
            yield stage, imap


def just_now() -> datetime:
    """Return the present, aware UTC, a second ago."""
    return datetime.now(UTC) - timedelta(seconds=1)
