"""The world around the daemon, run inside a booted machine: a Dovecot and a download server.

The first line on stdin is answered with where they are, as JSON. Each further one makes an export
available, delivers the mail that says so, and is answered with the export's SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from backupd.demo import mails
from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.exports import series
from tests.support.dovecot import Dovecot


def main() -> None:
    """Serve until stdin ends."""
    authority = Authority()
    with tempfile.TemporaryDirectory() as name, Dovecot() as dovecot:
        work = Path(name)
        account = dovecot.account()
        ca = authority.write_ca(work / "ca.pem").read_text() + dovecot.ca.read_text()
        with DownloadServer(authority) as downloads:
            sys.stdin.readline()
            tell(
                port=dovecot.imaps,
                username=account.username,
                password=account.password,
                connect_to=downloads.connect_to,
                ca=ca,
            )
            for export, _ in zip(series(1, "2023", 3, 20), sys.stdin, strict=False):
                path = export.write(work / export.file_name)
                downloads.offer(export.file_name, path)
                now = datetime.now(UTC)
                url = mails.azure_url(export.file_name, now)
                account.deliver(mails.ready(mails.Envelope(now), url), at=now)
                tell(sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def tell(**facts: object) -> None:
    """Write one line."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
