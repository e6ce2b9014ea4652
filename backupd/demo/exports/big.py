"""One very large export, made while it is written: nothing of it is ever held as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from backupd.demo.exports.container import Shape, ZipWriter
from backupd.demo.exports.conversations import Style, new_conversation
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.encode import one_line
from backupd.demo.exports.members import array, chat_html
from backupd.demo.exports.render import render_2025
from backupd.demo.exports.series import export_name, make_account
from backupd.demo.exports.values import Options

_EXPORTED_AT = datetime(2025, 11, 2, 9, 12, 44, tzinfo=UTC)
# The two years of conversations an export of any size is spread over, newest first.
_SPAN = 2 * 365 * 86_400.0


def write_big(path: Path, megabytes: int = 1024, *, seed: int = 1, chat: bool = False) -> str:
    """Write a ZIP whose conversations.json has that many MB, and return a fitting export name.

    With `chat` a chat.html of the same conversations follows; otherwise it is left out. Takes
    about a minute for each GB and the memory of a few conversations.
    """
    account = make_account(seed)
    with path.open("wb") as file, ZipWriter(file, _EXPORTED_AT, Shape()) as writer:
        user = {"id": account.user_id, "email": account.email}
        writer.add("user.json", (one_line(user).encode("ascii"),))
        writer.add("conversations.json", array(_texts(seed, megabytes)))
        if chat:
            writer.add("chat.html", chat_html(_texts(seed, megabytes), "{}", ", "))
    return export_name(account, _EXPORTED_AT, "2025")


def _texts(seed: int, megabytes: int) -> Iterator[str]:
    """Yield conversations as JSON, newest first, until they make up the asked size."""
    left = megabytes * 1_000_000
    style = Style(rich=True, options=Options(asset_share=0.0))
    when, step = _EXPORTED_AT.timestamp(), _SPAN / (megabytes * 40 + 1)
    number = 0
    while left > 0:
        when -= step
        dice = Dice(f"big/{seed}/{number}")
        text = one_line(render_2025(new_conversation(dice, style, round(when, 6), when + 3600)))
        left -= len(text) + 2
        number += 1
        yield text
