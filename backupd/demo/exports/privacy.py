"""The archive of the privacy portal: a ZIP that holds an ordinary export as a ZIP, and other files.

Source: two reports of 2026 that list such an archive.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from backupd.demo.exports.container import ZipWriter
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.encode import one_line
from backupd.demo.exports.members import State

_PIECE = 1 << 18
_REPORT = "<html><head><title>Your data</title></head><body><h1>Your data</h1></body></html>"


def write_archive(state: State, file: BinaryIO, inner: Callable[[BinaryIO], None]) -> None:
    """Write the outer ZIP; `inner` writes the ordinary export to a file it is given."""
    mark = Dice(f"privacy/{state.account.prefix}/{state.exported_at.isoformat()}").hex(12)
    with (
        tempfile.TemporaryFile() as conversations,
        tempfile.TemporaryFile() as files,
        ZipWriter(file, state.exported_at) as writer,
    ):
        inner(conversations)
        with ZipWriter(files, state.exported_at) as library:
            library.add("files.json", (b"[]",))
        writer.add("report.html", (_REPORT.encode(),))
        writer.add("Financial/invoices.json", (b"[]",))
        profile = {"email": state.account.email, "id": state.account.user_id}
        writer.add("User Profile/profile.json", (one_line(profile).encode("ascii"),))
        activity = "User Online Activity"
        writer.add(f"{activity}/Conversations_{mark}-chatgpt-0001.zip", _pieces(conversations))
        writer.add(f"{activity}/Files_{mark}-files-0001.zip", _pieces(files))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece
