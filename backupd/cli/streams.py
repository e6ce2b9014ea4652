"""The standard streams, whatever they lead to: a closed pipe, a full disk, nothing at all."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TextIO

import click

from backupd.errors import ExitCode

_STAND_INS: list[TextIO] = []
_OF_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EIO)


def prepare() -> None:
    """Make both outputs take any character, and stand in for a stream that the caller closed."""
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - open for good
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open for good
            _STAND_INS.append(getattr(sys, name))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a title may hold any character


def is_closed(stream: TextIO) -> bool:
    """Say whether the caller closed a stream, so that what is written to it goes nowhere."""
    return stream in _STAND_INS


def finish(code: int) -> int:
    """Write what is left; return `code`, or that of a failure if stdout does not take it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return give_up(error)
    return code


def is_of_output(error: OSError) -> bool:
    """Say whether an error that nobody translated comes from writing to a standard stream.

    It then names no file; the rooms translate what their own files do.
    """
    return error.filename is None and error.errno in _OF_OUTPUT


def give_up(error: OSError) -> int:
    """End the output for good: silently if its reader has left, else with the reason."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # the interpreter's last flush must not fail
    if not isinstance(error, BrokenPipeError):
        click.echo(f"error: write output: {(error.strerror or 'failed').lower()}", err=True)
    return ExitCode.FAILED
