"""File systems in an image file: mounted by a loop device, and cut off from power on request.

`cut` shuts the file system down without flushing its log (EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN):
what was not made durable is gone, exactly as after pulling the plug; mounting replays the journal.
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import needs

SIZES = {"ext4": 64 << 20, "xfs": 300 << 20}
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_NEW_MOUNTS, _NEW_USERS = 0x00020000, 0x10000000


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
    """Let a copy be mounted beside its original: xfs refuses the same UUID twice.

    ext4 writes its journal every five seconds unless told otherwise: on a slow machine that would
    make durable what the program did not.
    """
    with image.open("rb") as file:
        return "loop,nouuid" if file.read(4) == b"XFSB" else "loop,commit=300"


def cut(place: Path) -> None:
    """Pull the plug: nothing that is not durable survives the next mounting."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


@contextmanager
def private_mounts() -> Iterator[ProcessPoolExecutor]:
    """Give a process with mounts of its own for a block; skip where that is not allowed.

    Nobody else sees them, and none is left however the process ends. What is to be done there must
    be a function of a module, its arguments plain values.
    """
    needs("mount")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backupd.store.repository", "tests.support.operations"])
    with ProcessPoolExecutor(1, mp_context=context) as apart:
        refusal = apart.submit(_leave_the_mounts_of_others).result(60)
        if refusal:
            pytest.skip(f"this machine gives no mounts of its own: {refusal}")
        yield apart


def _leave_the_mounts_of_others() -> str | None:
    """Enter a new mount namespace, without being root a new user namespace too; or say why not."""
    library = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if library.unshare(_NEW_MOUNTS):
        if library.unshare(_NEW_MOUNTS | _NEW_USERS):
            return os.strerror(ctypes.get_errno())
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    try:
        system("mount", "--make-rprivate", "/")
    except OSError as error:
        return str(error)
    return None


@contextmanager
def small_disk(size: int, files: int, place: Path) -> Iterator[Path]:
    """Mount a memory file system of `size` bytes and so many files for a block.

    Only to be called in the process of `private_mounts`.
    """
    place.mkdir(exist_ok=True)
    options = f"size={size},nr_inodes={files},mode=700"
    system("mount", "-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        system("umount", place)
