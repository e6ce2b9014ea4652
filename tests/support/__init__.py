"""What several test modules share."""

from __future__ import annotations

import os
import shutil

import pytest

FULL = os.environ.get("BACKUPD_FULL") == "1"
"""Whether tests with sizes and counts of their own take the large ones: `./dev test --full`."""

_PACKAGES = {
    "Xvfb": "xvfb",
    "certutil": "libnss3-tools",
    "dovecot": "dovecot-imapd",
    "gnome-keyring-daemon": "gnome-keyring",
    "dbus-run-session": "dbus-daemon",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "strace": "strace",
    "unshare": "util-linux",
    "systemctl": "systemd",
    "systemd-analyze": "systemd",
}
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def needs(*programs: str) -> None:
    """Skip the calling test, naming the line that installs what it needs; under CI=true, fail."""
    missing = [program for program in programs if shutil.which(program, path=_PATH) is None]
    if missing:
        unavailable("apt-get install " + " ".join(_PACKAGES.get(name, name) for name in missing))


def unavailable(remedy: str) -> None:
    """Skip the calling test with `remedy`; under CI=true, fail instead."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed under CI: {remedy}", pytrace=False)
    pytest.skip(remedy)
