"""Long texts on a terminal: made harmless, and through the pager where they do not fit."""

from __future__ import annotations

import shutil
import sys

import click

# Joiners that emoji and some scripts need; they move nothing.
_JOINERS = "\u200c\u200d"


def harmless(text: str) -> str:
    """Return chat text that cannot steer a terminal: controls and direction marks as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" or one in _JOINERS else ascii(one)[1:-1]
        for one in text
    )


def one_line(text: str) -> str:
    """Return chat text as one harmless line."""
    return harmless(" ".join(text.split()))


def page(text: str) -> None:
    """Write a text to stdout, through the pager if it is longer than the terminal."""
    fits = text.count("\n") + 1 < shutil.get_terminal_size().lines
    if fits or not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(text)
    else:
        click.echo_via_pager(text if text.endswith("\n") else text + "\n")
