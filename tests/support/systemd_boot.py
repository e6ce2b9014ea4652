"""A real systemd as PID 1 of a private machine, with backupd installed at /opt/backupd.

The machine is an overlay over this one in its own namespaces (mount, pid, network, uts, ipc,
cgroup): nothing here is changed, no service of this machine runs there, and it has loopback only.
Needs root, util-linux and an overlay file system; it is up in about a second.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import needs, unavailable

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_suffix(".sh")
HOME = Path("/opt/backupd")
PYTHON = HOME / "venv" / "bin" / "python3"
BOOT_SECONDS = 30
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine; `pid` is its PID 1 as seen from outside."""

    pid: int

    def path(self, inside: str | Path) -> Path:
        """Return the path from outside of a file inside (not across links to absolute paths)."""
        return Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def command(self, *words: str | Path) -> list[str]:
        """Return the command line that runs `words` inside."""
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "--", "env", "-i"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [*enter, path, "LANG=C.UTF-8", "HOME=/root", *map(str, words)]

    def run(self, *words: str | Path, given: str = "", check: bool = True) -> str:
        """Run a command inside; return its standard output. `check`: fail unless it exits 0."""
        done = subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, timeout=60
        )
        if check and done.returncode:
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def talk(self, *words: str | Path) -> Iterator[Callable[[str], str]]:
        """Run a command inside for a block that answers each line with one line."""
        with subprocess.Popen(
            self.command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def ask(line: str) -> str:
                print(line, file=process.stdin, flush=True)
                answer = process.stdout.readline()
                assert answer, f"{words} has ended"
                return answer

            yield ask
            process.stdin.close()

    def write(self, inside: str | Path, text: str, mode: int = 0o644) -> None:
        """Write a file inside, with its directories."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def start(self, unit: str) -> None:
        """Start a unit; if that fails, fail with all that the unit and the manager said."""
        try:
            self.run("systemctl", "start", unit)
        except AssertionError as error:
            state = self.run("systemctl", "status", "--no-pager", "--lines=0", unit, check=False)
            raise AssertionError(f"{error}{state}\n{self.journal(unit)}") from None

    def journal(self, unit: str) -> str:
        """Return what the unit and the manager wrote about it so far."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def wait_for(self, unit: str, text: str, seconds: float = 10) -> None:
        """Wait until a text is in the journal of a unit."""
        end = time.monotonic() + seconds
        while text not in (seen := self.journal(unit)):
            if time.monotonic() > end:
                raise AssertionError(f"{unit} did not say {text!r}:\n{seen}")
            time.sleep(0.05)

    def wait(self, unit: str, name: str, value: str, seconds: float = 20) -> None:
        """Wait until a property of a unit has a value."""
        end = time.monotonic() + seconds
        while (seen := self.show(unit, name)) != value:
            if time.monotonic() > end:
                raise AssertionError(f"{unit}: {name} is {seen}, not {value}\n{self.journal(unit)}")
            time.sleep(0.05)


@contextlib.contextmanager
def booted(work: Path) -> Iterator[Machine]:
    """Boot a machine with backupd installed, power it off at the end; skip if that cannot be."""
    needs("systemctl", "systemd-analyze", "unshare")
    if os.geteuid() != 0:
        unavailable("run as root: booting systemd needs namespaces and mounts")
    group = f"backupd-test-{os.getpid()}-{next(_numbers)}"
    (work / "binds").write_text("".join(f"{a} {b}\n" for a, b in _binds()))
    with (work / "console").open("wb") as console:
        outer = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", SCRIPT, "outer", work, group],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        machine = _wait_for_boot(outer, work / "console")
        _install(machine)
        yield machine
        _power_off(machine, outer)
    finally:
        outer.kill()  # and with it, by --kill-child, everything inside
        outer.wait()
        _remove_group(work, group)


def _wait_for_boot(outer: subprocess.Popen[bytes], console: Path) -> Machine:
    end = time.monotonic() + BOOT_SECONDS
    state = "none"
    while time.monotonic() < end and outer.poll() is None:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            if children and Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                machine = Machine(int(children[0]))
                state = machine.run("systemctl", "is-system-running", check=False).strip()
                if state in ("running", "degraded"):
                    return machine
        time.sleep(0.05)
    unavailable(f"boot systemd here (state: {state}): {console.read_text().strip()[-300:]}")
    raise AssertionError("unavailable returned")


def _power_off(machine: Machine, outer: subprocess.Popen[bytes]) -> None:
    os.kill(machine.pid, signal.SIGRTMIN + 3)  # halt; PID 1 of a namespace then simply ends
    with contextlib.suppress(subprocess.TimeoutExpired):
        outer.wait(10)


def _remove_group(work: Path, group: str) -> None:
    """Remove the cgroup, whose processes may take a moment to be gone, in a namespace's mount."""
    remove = """mount -t cgroup2 none "$1/cgroup" && cd "$1/cgroup" && for i in $(seq 50); do
        find "$2" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -d "$2" ] || break
        sleep 0.1
    done"""
    private = ["unshare", "--mount", "--propagation", "private"]
    subprocess.run([*private, "sh", "-c", remove, "sh", work, group], check=False)


def _binds() -> Iterator[tuple[Path, Path]]:
    """What of this machine is seen inside under other names: packages, and Python if needed.

    A service with ProtectHome= does not see a Python that lives below a home directory.
    """
    yield Path(sysconfig.get_path("purelib")), HOME / "packages"
    yield CHECKOUT, HOME / "source"
    if _is_own_python():
        yield Path(sys.base_prefix), HOME / "python"


def _is_own_python() -> bool:
    return not Path(sys.base_prefix).is_relative_to("/usr")


def _install(machine: Machine) -> None:
    """Put the package and its environment to where the unit expects them."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = (HOME / "python" if _is_own_python() else Path(sys.base_prefix)) / "bin"
    libraries = HOME / "venv" / "lib" / version / "site-packages"
    machine.write(HOME / "venv" / "pyvenv.cfg", f"home = {base}\nversion = {version[6:]}\n")
    machine.write(libraries / "packages.pth", f"{HOME / 'packages'}\n")
    shutil.copytree(CHECKOUT / "backupd", machine.path(libraries / "backupd"))
    machine.run("chmod", "-R", "a+rX", HOME / "venv")
    if _is_own_python():
        # The service cannot see the directory that its own libpython was built for, and would
        # take the system's, of another release.
        machine.write("/etc/ld.so.conf.d/000-backupd.conf", f"{HOME / 'python' / 'lib'}\n")
        machine.run("ldconfig")
    machine.path(PYTHON).parent.mkdir()
    machine.path(PYTHON).symlink_to(base / version)
    script = f"#!{PYTHON}\nfrom backupd.__main__ import main\nraise SystemExit(main())\n"
    machine.write(PYTHON.with_name("backupd"), script, 0o755)
    machine.path("/usr/local/bin/backupd").symlink_to(PYTHON.with_name("backupd"))
    for source, target in UNIT_FILES:
        machine.write(target, (CHECKOUT / "systemd" / source).read_text())
    if not has_user_namespaces(machine):
        drop_in = "/etc/systemd/system/backupd.service.d/here.conf"
        machine.write(drop_in, "[Service]\nPrivateUsers=no\n")
    machine.run("systemd-sysusers", "/usr/lib/sysusers.d/backupd.conf")
    machine.run("systemctl", "daemon-reload")


def has_user_namespaces(machine: Machine) -> bool:
    """Say whether PrivateUsers= can work: the kernel forbids it to whatever runs in a chroot."""
    return subprocess.run(machine.command("unshare", "--user", "true")).returncode == 0


UNIT_FILES = (
    ("backupd.service", "/etc/systemd/system/backupd.service"),
    ("backupd-browser.service", "/etc/systemd/system/backupd-browser.service"),
    ("backupd-browser.socket", "/etc/systemd/system/backupd-browser.socket"),
    ("sysusers.d/backupd.conf", "/usr/lib/sysusers.d/backupd.conf"),
    ("user/backupd.service", "/etc/systemd/user/backupd.service"),
)
