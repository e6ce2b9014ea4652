"""The command in a process of its own that the kernel holds to a bound of memory and of time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEMORY = 1 << 30
"""Bytes of address space: a process that wants more gets a MemoryError."""
CPU_SECONDS = 30
"""Seconds of processor time: a process that takes more is killed."""

_CHILD = """
import json, resource, sys
memory, seconds = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
from backupd.cli.app import run
code = run(sys.argv[4:])
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
used = resource.getrusage(resource.RUSAGE_SELF)
with open(sys.argv[3], "w") as report:
    json.dump({"code": int(code), "peak": peak, "cpu": used.ru_utime + used.ru_stime}, report)
"""


@dataclass(frozen=True, slots=True)
class Bounded:
    """How it ended: exit code, both streams, peak resident MiB, processor seconds."""

    code: int
    out: str
    err: str
    peak: int
    cpu: float


def bounded(
    directory: Path, *arguments: str, memory: int = MEMORY, seconds: int = CPU_SECONDS
) -> Bounded:
    """Run `backupd` with these arguments; fails the test if the bounds ended it.

    `directory` is its home; a file `credentials/repository` there holds the passphrase.
    """
    report = directory / "bounded.json"
    report.unlink(missing_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(memory), str(seconds), str(report), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={
            **kept,
            "HOME": str(directory),
            "CREDENTIALS_DIRECTORY": str(directory / "credentials"),
            "BACKUPD_JOURNAL": "off",
        },
    )
    assert report.exists(), (done.returncode, done.stderr[-2000:])
    values = json.loads(report.read_text())
    return Bounded(values["code"], done.stdout, done.stderr, values["peak"], values["cpu"])
