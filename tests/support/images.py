"""File systems in an image file: mounted by a loop device, and cut off from power on request.

`cut` shuts the file system down without flushing its log (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN):
what was not made durable is gone, exactly as after pulling the plug; mounting replays the journal.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import needs

SIZES = {"ext4": 64 << 20, "xfs": 300 << 20}
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


def system(*command: str | Path) -> None:
    """Run a system tool; its words are part of the error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise OSError(f"{command[0]}: {words}")


def require(kind: str, scratch: Path) -> None:
    """Skip the calling test, with the reason, where images of this kind cannot be mounted.

    A missing program is a missing tool. No root, no loop device or a kernel without the file system
    or its shutdown is a property of the machine: a plain skip, under CI too.
    """
    needs("mkfs.ext4" if kind == "ext4" else "mkfs.xfs", "losetup", "mount", "strace")
    if os.geteuid() != 0:
        pytest.skip("mounting an image needs root")
    try:
        image = make(kind, scratch / f"probe-{kind}")
        with mounted(image, scratch / f"probe-{kind}-mount") as place:
            (place / "x").write_text("x")
            cut(place)
        image.unlink()
    except OSError as error:
        pytest.skip(f"this machine cannot mount and shut down {kind}: {error}")


def make(kind: str, image: Path) -> Path:
    """Make an empty file system of this kind in a sparse file."""
    with image.open("wb") as file:
        file.truncate(SIZES[kind])
    if kind == "xfs":
        system("mkfs.xfs", "-q", image)
    else:
        system("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    return image


def copy_image(image: Path, target: Path) -> Path:
    """Copy an image that is not mounted, holes kept."""
    system("cp", "--sparse=always", image, target)
    return target


Mount = AbstractContextManager[Path]


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount an image at `place` for a block."""
    place.mkdir(exist_ok=True)
    system("mount", "-o", _options(image), image, place)
    try:
        yield place
    finally:
        system("umount", place)


def _options(image: Path) -> str:
    """Let a copy be mounted beside its original: xfs refuses the same UUID twice."""
    with image.open("rb") as file:
        return "loop,nouuid" if file.read(4) == b"XFSB" else "loop"


def cut(place: Path) -> None:
    """Pull the plug: nothing that is not durable survives the next mounting."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


@contextmanager
def small_disk(size: int, place: Path) -> Iterator[Path]:
    """Mount a memory file system of `size` bytes for a block; skip where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    place.mkdir(exist_ok=True)
    try:
        system("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place)
    except OSError as error:
        pytest.skip(f"this machine cannot mount a small disk: {error}")
    try:
        yield place
    finally:
        system("umount", place)
