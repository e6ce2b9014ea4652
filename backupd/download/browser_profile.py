"""The browser's profiles on disk: what is kept of them between two uses, and for how long.

Chromium writes the address of all it opens into its profile, and a signed URL must not be on disk
(I6). So it works on a copy in memory, and only what signs in is carried back: the cookies and two
files of settings. A use that is killed carries nothing back: the profile is then as it was.

    STATE/PROFILE/Cookies …     0600, in a directory of 0700
    STATE/PROFILE/known.json    what `session test` says, see `browser_talk.Known`; no secret
    STATE/PROFILE/lock          held while the profile is in use
    STATE/incoming-…/           Chromium's download, removed when it is handed over
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from backupd.download.browser_talk import Failed, Known

_KEPT = {
    "Cookies": "Default/Cookies",
    "Preferences": "Default/Preferences",
    "Local State": "Local State",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,140}", re.ASCII)
_NOBODY = Known(cookies=0, has_session=False, until=None, mark="")
_LONGEST_NOTE = 4096
_NO_CERTUTIL = Failed(
    "missing", "ca_file needs certutil for Chromium", "apt-get install libnss3-tools"
)


class Unusable(Exception):
    """A profile cannot be used; `reply` says why."""

    def __init__(self, reply: Failed) -> None:
        super().__init__(reply.detail)
        self.reply = reply


class Profile:
    """One profile; open it to use it."""

    def __init__(self, state: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise Unusable(Failed("missing", "the profile has a name that no profile has"))
        self._state = state
        self._home = state / name

    def known(self) -> Known:
        """Return what was seen when it was last used."""
        try:
            with (self._home / "known.json").open("rb") as file:
                return msgspec.json.decode(file.read(_LONGEST_NOTE), type=Known)
        except (OSError, msgspec.MsgspecError):
            return _NOBODY

    @contextmanager
    def opened(self, environ: Mapping[str, str]) -> Iterator[Workplace]:
        """Lend a working copy; whatever happens to it, it is removed at the end.

        Raises:
            Unusable: it is in use, or there is no place to work.
        """
        with ExitStack() as stack:
            try:
                place = self._prepared(stack, environ)
            except BlockingIOError:
                raise Unusable(Failed("network", "the browser is in use")) from None
            except OSError as error:
                cause = (error.strerror or "failed").lower()
                failed = Failed("missing", f"the browser has no place to work: {cause}")
                raise Unusable(failed) from None
            yield place

    def _prepared(self, stack: ExitStack, environ: Mapping[str, str]) -> Workplace:
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = stack.enter_context((self._home / "lock").open("wb"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        memory = _memory(environ) or self._state
        work = stack.enter_context(_room(memory, f"backupd-{self._digest()}-"))
        incoming = stack.enter_context(_room(self._state, f"incoming-{self._digest()}-"))
        place = Workplace(self._home, work, incoming)
        place.fill()
        return place

    def _digest(self) -> str:
        """Name the profile briefly: a socket that Chromium makes has 107 bytes for its path."""
        return hashlib.sha256(os.fsencode(self._home)).hexdigest()[:8]


class Workplace:
    """A working copy of a profile: `work` in memory where possible, `incoming` on disk."""

    def __init__(self, home: Path, work: Path, incoming: Path) -> None:
        self._home = home
        self.work = work
        self.incoming = incoming
        self.profile = work / "profile"

    def fill(self) -> None:
        """Copy what is kept."""
        (self.profile / "Default").mkdir(mode=0o700, parents=True)
        for kept, used in _KEPT.items():
            with suppress(FileNotFoundError):
                shutil.copyfile(self._home / kept, self.profile / used)

    def carry_back(self, known: Known) -> None:
        """Keep what a browser that has closed well left; each file is whole at any crash."""
        for kept, used in _KEPT.items():
            with suppress(FileNotFoundError):
                _replace(self._home / kept, (self.profile / used).read_bytes())
        _replace(self._home / "known.json", msgspec.json.encode(known))

    def trust(self, ca: str | None) -> None:
        """Let Chromium trust a private authority: it looks below HOME, which is `work`.

        Raises:
            Unusable: the program that writes such a list is missing, or refuses.
        """
        if ca is None:
            return
        program = shutil.which("certutil")
        if program is None:
            raise Unusable(_NO_CERTUTIL)
        store = self.work / ".pki" / "nssdb"
        store.mkdir(mode=0o700, parents=True)
        place = ("-d", f"sql:{store}")
        for number, certificate in enumerate(_certificates(ca)):
            add = ("-A", *place, "-n", f"ca-{number}", "-t", "C,,", "-a")
            first = () if number else (("-N", *place, "--empty-password"),)
            for words in (*first, add):
                _certutil(program, words, certificate)


@contextmanager
def _room(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory for one use, and remove it with what killed uses left under that name."""
    for left in parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _certificates(ca: str) -> list[str]:
    return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", ca, re.DOTALL)


def _certutil(program: str, words: tuple[str, ...], given: str) -> None:
    done = subprocess.run(
        [program, *words], input=given, text=True, capture_output=True, timeout=30, check=False
    )
    if done.returncode:
        raise Unusable(Failed("missing", "ca_file: certutil does not take its certificates"))


def _memory(environ: Mapping[str, str]) -> Path | None:
    """Return a directory that lies in memory and is open to us alone, or None."""
    named = (environ.get("RUNTIME_DIRECTORY", "").split(":")[0], environ.get("XDG_RUNTIME_DIR", ""))
    for text in (*named, "/dev/shm"):  # noqa: S108 - a fresh directory of our own is made in it
        if text and os.access(text, os.W_OK | os.X_OK):
            return Path(text)
    return None


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
