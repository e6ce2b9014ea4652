"""The world around a daemon that downloads by a browser, run inside a booted machine.

As `service_world`, but the site wants a session: the first line on stdin is answered with where the
servers are, each further one makes an export available to who is signed in, delivers the mail that
says so, and is answered with the export's SHA-256.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from backupd.demo import mails
from backupd.demo.certificates import Authority
from backupd.demo.exports import series
from tests.support.browser_site import interstitial, signed_in, site
from tests.support.dovecot import Dovecot
from tests.support.https import HOSTS, Server
from tests.support.service_world import tell


def main() -> None:
    """Serve until stdin ends."""
    authority = Authority()
    with (
        tempfile.TemporaryDirectory() as name,
        Dovecot() as dovecot,
        Server(authority.server_context(*HOSTS)) as server,
    ):
        work = Path(name)
        account = dovecot.account()
        ca = authority.write_ca(work / "ca.pem").read_text() + dovecot.ca.read_text()
        sys.stdin.readline()
        tell(
            port=dovecot.imaps,
            username=account.username,
            password=account.password,
            connect_to=server.connect_to,
            ca=ca,
        )
        for export, _ in zip(series(1, "2026", 3, 20), sys.stdin, strict=False):
            data = export.write(work / export.file_name).read_bytes()
            server.play(site(data, signed_in, interstitial))
            now = datetime.now(UTC)
            url = mails.estuary_url(export.file_name, now)
            account.deliver(mails.ready(mails.Envelope(now), url), at=now)
            tell(sha256=hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    main()
