"""Every error backupd raises on purpose, with its exit code and its next step.

The exit codes are a public contract: `docs/exit-codes.md` lists them and a test compares the two.
A foreign exception is translated, with `from`, in the one module that owns the foreign library.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process tells its caller when it ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FINDINGS = 3
    NO_REPOSITORY = 10
    LOCKED = 11
    CREDENTIAL = 12
    MAILBOX = 20
    LINK = 21
    DOWNLOAD = 22
    DAMAGED = 30
    INTERRUPTED = 130


class BackupdError(Exception):
    """Base of all deliberate errors.

    `message` reads *operation object: cause*, in lower case without a final stop, and never holds
    a secret or a whole link. `hint` is one sentence: what to do next; without one it is the
    class's `next_step`, for classes of which every error has the same answer.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    transient: ClassVar[bool] = False
    next_step: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.next_step


class UsageError(BackupdError):
    """The command line asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class ConfigError(BackupdError):
    """The configuration file is wrong; `problems` holds every problem found, one line each."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems


class CredentialError(BackupdError):
    """A credential is missing, its source is refused, or the server refused it."""

    exit_code = ExitCode.CREDENTIAL


class RepositoryMissing(BackupdError):
    """There is no repository at the given place."""

    exit_code = ExitCode.NO_REPOSITORY


class RepositoryLocked(BackupdError):
    """Another process holds the repository's or the daemon's lock."""

    exit_code = ExitCode.LOCKED
    transient = True


class RepositoryDamaged(BackupdError):
    """Bytes in the repository are not what was written."""

    exit_code = ExitCode.DAMAGED
    next_step = (
        "run check --read-data: it names what is damaged, and which snapshots need it; all others"
        " still restore"
    )


class RebuildImpossible(RepositoryDamaged):
    """This machine cannot pack as an export was packed; nothing is damaged, members come back."""

    exit_code = ExitCode.FAILED

    @property
    def cause(self) -> str:
        """The message without its operation."""
        return self.message.partition(": ")[2]


class RepositoryRefused(BackupdError):
    """The repository's format or owner forbids the operation; nothing was touched."""


class StorageFull(BackupdError):
    """The disk has too little room; nothing that was committed is harmed."""

    transient = True
    next_step = "make room on the disk; nothing that was stored is harmed"


class MailboxUnreachable(BackupdError):
    """The mail server cannot be reached or broke off; worth another try."""

    exit_code = ExitCode.MAILBOX
    transient = True


class MailboxRefused(BackupdError):
    """The mail server refused the login; never retried without a change."""

    exit_code = ExitCode.CREDENTIAL


class LinkError(BackupdError):
    """A link is expired, refused, or needs a signed-in session."""

    exit_code = ExitCode.LINK


class DownloadFailed(BackupdError):
    """A download did not end in an accepted ZIP."""

    exit_code = ExitCode.DOWNLOAD
    transient = True
