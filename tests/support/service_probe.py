"""Stands in for the daemon in a unit: says READY=1, reports what it sees, obeys files.

In `$STATE_DIRECTORY`: `report` is written at start; `hang` stops the signs of life; a number in
`exit` ends the process with that code.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from backupd.systemd import service_manager

STATE = Path(os.environ["STATE_DIRECTORY"])


def report() -> dict[str, object]:
    """Return what the process sees of its confinement and its credentials."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"))
    return {
        "uid": os.getuid(),
        "status": {name: status[name].strip() for name in ("CapEff", "NoNewPrivs", "Seccomp")},
        "umask": oct(os.umask(0o077)),
        "mode": oct(STATE.stat().st_mode & 0o777),
        "read_only": [place for place in ("/etc", "/opt", "/srv", "/usr") if is_read_only(place)],
        "keylog": "SSLKEYLOGFILE" in os.environ,
        "credentials": {path.name: path.read_text() for path in sorted(credentials.glob("[!.]*"))},
    }


def is_read_only(place: str) -> bool:
    """Say whether the file system at `place` refuses writes, whoever asks."""
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def main() -> None:
    """Live until told otherwise."""
    manager = service_manager()
    (STATE / "report").write_text(json.dumps(report()))
    manager.ready("probe is up")
    while not (STATE / "hang").exists():
        if (STATE / "exit").exists():
            raise SystemExit(int((STATE / "exit").read_text()))
        manager.alive()
        time.sleep(0.02)
    time.sleep(600)


if __name__ == "__main__":
    main()
