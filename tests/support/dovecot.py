"""A private Dovecot (2.3 or 2.4) on loopback, with a certificate of its own authority.

`Dovecot()` is a context manager. Each test takes an account of its own from `account()`, so one
server can serve a module. As root Dovecot runs its parts as its own users, who must be able to
walk to the mail: the directory is therefore made outside of pytest's private ones.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme
from imapclient import IMAPClient

from backupd.config import MailboxSettings
from tests.support import needs

ACCOUNTS = 60
PASSWORD = "correct horse"
_SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_COMMON = """
base_dir = {home}/run
state_dir = {home}/state
instance_name = backupd-test
log_path = {home}/dovecot.log
auth_failure_delay = 0
listen = 127.0.0.1
default_internal_user = {internal}
default_login_user = {login}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
mailbox_list_index = yes
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""

_V23 = """
protocols = imap
ssl = yes
ssl_cert = <{home}/tls.crt
ssl_key = <{home}/tls.key
disable_plaintext_auth = yes
auth_mechanisms = plain login {mechanisms}
mail_location = sdbox:~/sdbox
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {home}/users
}}
{oauth}
userdb {{
  driver = passwd-file
  args = {home}/users
}}
"""

_V24 = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols {{
  imap = yes
}}
ssl = yes
ssl_server_cert_file = {home}/tls.crt
ssl_server_key_file = {home}/tls.key
auth_mechanisms {{
  plain = yes
  login = yes
{mechanisms}
}}
{oauth}
mail_driver = sdbox
mail_path = ~/sdbox
passdb passwd-file {{
  passwd_file_path = {home}/users
  default_password_scheme = PLAIN
}}
userdb passwd-file {{
  passwd_file_path = {home}/users
}}
"""

_OAUTH_V23 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/oauth2.conf.ext
}}
"""
_OAUTH_FILE = """
introspection_url = {url}
introspection_mode = auth
username_attribute = username
active_attribute = active
active_value = true
"""
_OAUTH_V24 = """
oauth2 {{
  introspection_mode = auth
  introspection_url = {url}
  username_attribute = username
  active_attribute = active
  active_value = true
}}
passdb oauth2 {{
  mechanisms_filter = xoauth2 oauthbearer
}}
"""


@dataclass(frozen=True)
class Account:
    """One account of a running Dovecot."""

    server: Dovecot
    username: str
    password: str = PASSWORD

    def settings(self, **changes: Any) -> MailboxSettings:
        """Return the settings that lead to this account."""
        values: dict[str, Any] = {
            "name": "test",
            "host": "localhost",
            "port": self.server.imaps,
            "ca_file": self.server.ca,
            "username": self.username,
            "connect_timeout": 5.0,
            "read_timeout": 10.0,
        }
        return MailboxSettings(**{**values, **changes})

    def client(self) -> IMAPClient:
        """Return a logged-in client; use it as a context."""
        context = ssl.create_default_context(cafile=str(self.server.ca))
        client = IMAPClient("localhost", self.server.imaps, ssl_context=context, timeout=10)
        client.login(self.username, self.password)
        return client

    def deliver(self, raw: bytes, folder: str = "INBOX", at: datetime | None = None) -> None:
        """Append a mail."""
        with self.client() as client:
            client.append(folder, raw, msg_time=at)

    def doveadm(self, *arguments: str) -> None:
        """Run a doveadm command that names the account with `-u`."""
        self.server.doveadm(*arguments[:2], "-u", self.username, *arguments[2:])

    def kick(self) -> None:
        """Have the server end the account's connections with a BYE."""
        self.server.doveadm("kick", self.username)


class Dovecot:
    """A running server; `imaps` and `imap` are its ports, `ca` its authority's certificate.

    With `introspection`, an address, it takes access tokens by `mechanisms` and asks there.
    """

    extra = ""
    """Lines that a subclass adds to the configuration."""

    def __init__(
        self, introspection: str = "", mechanisms: tuple[str, ...] = ("xoauth2", "oauthbearer")
    ) -> None:
        self._introspection = introspection
        self._mechanisms = mechanisms if introspection else ()
        self.imaps = self.imap = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0

    def __enter__(self) -> Dovecot:
        needs("dovecot")
        self.home = Path(tempfile.mkdtemp(prefix="backupd-dovecot-"))
        self.home.chmod(0o755)
        self.ca = self.home / "ca.pem"
        for _ in range(3):
            self._start()
            if self._answers():
                return self
            self.crash()
        log = (self.home / "dovecot.log").read_text(errors="replace")[-2000:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"Dovecot did not come up:\n{log}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.crash()
        shutil.rmtree(self.home, ignore_errors=True)

    def account(self) -> Account:
        """Return an account that no other test has used."""
        self._next += 1
        return Account(self, f"user{self._next}")

    def signal(self, number: int) -> None:
        """Send a signal to the server's processes, all of which are children of the first."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in (self._process.pid, *map(int, children.read_text().split())):
            with suppress(ProcessLookupError):  # a child that has just ended
                os.kill(pid, number)

    def crash(self) -> None:
        """End all processes at once: an ordinary stop lets connections live on for 10 seconds."""
        if self._process is not None:
            if self._process.poll() is None:
                self.signal(signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def restart(self) -> None:
        """Start again on the same ports."""
        self._run()
        assert self._answers()

    def doveadm(self, *arguments: str) -> None:
        """Run a doveadm command."""
        program = shutil.which("doveadm", path=_SEARCH_PATH) or "doveadm"
        command = [program, "-c", str(self.home / "dovecot.conf"), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=20)

    def _start(self) -> None:
        self.imaps, self.imap = _free_ports(2)
        for name in ("run", "state", "mail"):
            (self.home / name).mkdir(exist_ok=True)
        user, internal, login, group = _users()
        os.chown(self.home / "mail", user.pw_uid, user.pw_gid)
        accounts = (
            f"user{n}:{{PLAIN}}{PASSWORD}:{user.pw_uid}:{user.pw_gid}::{self.home}/mail/user{n}::"
            for n in range(1, ACCOUNTS + 1)
        )
        (self.home / "users").write_text("\n".join(accounts) + "\n")
        _write_certificate(self.home)
        version = _version()
        new = version >= (2, 4)
        values = {"internal": internal, "login": login, "group": group, **self._oauth(new=new)}
        text = (_V24 if new else _V23) + _COMMON
        text = text.format(home=self.home, imap=self.imap, imaps=self.imaps, **values)
        (self.home / "dovecot.conf").write_text(text + self.extra)
        self._run()

    def _oauth(self, *, new: bool) -> dict[str, str]:
        """Return what the configuration says of access tokens."""
        if not self._introspection:
            return {"mechanisms": "", "oauth": ""}
        place = {"home": self.home, "url": self._introspection}
        if new:
            lines = "\n".join(f"  {name} = yes" for name in self._mechanisms)
            return {"mechanisms": lines, "oauth": _OAUTH_V24.format(**place)}
        (self.home / "oauth2.conf.ext").write_text(_OAUTH_FILE.format(**place))
        return {"mechanisms": " ".join(self._mechanisms), "oauth": _OAUTH_V23.format(**place)}

    def _run(self) -> None:
        command = [_program(), "-F", "-c", str(self.home / "dovecot.conf")]
        with (self.home / "console.log").open("ab") as console:
            self._process = subprocess.Popen(command, stdout=console, stderr=console)

    def _answers(self) -> bool:
        """Wait until the server greets, for at most ten seconds."""
        assert self._process is not None
        end = time.monotonic() + 10
        while time.monotonic() < end and self._process.poll() is None:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", self.imap), timeout=1) as probe,
            ):
                if probe.recv(4) == b"* OK":
                    return True
            time.sleep(0.02)
        return False


def _program() -> str:
    return shutil.which("dovecot", path=_SEARCH_PATH) or "dovecot"


def _version() -> tuple[int, ...]:
    output = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
    return tuple(int(number) for number in output.stdout.split()[0].split(".")[:2])


def _users() -> tuple[pwd.struct_passwd, str, str, str]:
    """Return who owns the mail, and the names of Dovecot's internal user, login user and group."""
    me = pwd.getpwuid(os.getuid())
    if me.pw_uid != 0:
        group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True)
        return me, me.pw_name, me.pw_name, group.stdout.strip()
    return pwd.getpwnam("dovecot"), "dovecot", "dovenull", "dovecot"


def _write_certificate(home: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(home / "ca.pem"))
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(home / "tls.key"))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (home / "tls.crt").write_bytes(chain)
    (home / "tls.key").chmod(0o600)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
