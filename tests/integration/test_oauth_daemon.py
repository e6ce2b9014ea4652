"""The daemon with a mailbox that is signed in to by OAuth2: refused, signed in anew, working."""

from __future__ import annotations

import signal
from pathlib import Path

from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from tests.support.dovecot import Dovecot
from tests.support.stage import Stage, exports, just_now, until
from tests.support.token_server import TOKEN_MARK, TokenServer


def test_a_refused_sign_in_is_told_once_and_a_new_one_brings_the_mailbox_back(
    tmp_path: Path,
) -> None:
    authority = Authority()
    with (
        TokenServer() as tokens,
        Dovecot(tokens.introspection) as dovecot,
        DownloadServer(authority) as downloads,
    ):
        account = dovecot.account()
        tokens.account, tokens.rotate = account.username, True
        stage = Stage(tmp_path, authority, downloads)
        ca = tokens.write_ca(tmp_path / "mail-ca.pem", dovecot.ca)
        stage.configure(dovecot.imaps, ca)
        sign_in(stage, tokens, account.username)
        stage.set_password("worthless")
        stage.run("init")
        (export,) = exports(1)
        stage.offer(export)

        with stage.daemon() as daemon:
            until(lambda: "mailbox_refused" in stage.events(), 20, "the refusal")
            assert len(tokens.grants("refresh_token")) == 1
            assert tokens.logins == []

            stage.set_password(tokens.new_refresh_token())
            daemon.send_signal(signal.SIGHUP)
            until(lambda: "mailbox_recovered" in stage.events(), 20, "the recovery")
            account.deliver(stage.ready_mail(export), at=just_now())
            until(lambda: "stored" in stage.events(), 30, "the export")
            command_line = Path(f"/proc/{daemon.pid}/cmdline").read_bytes()

        assert stage.events().count("mailbox_refused") == 1
        doctor = stage.run("doctor", code=None)
        assert "logged in at localhost" in doctor
        used = [form["refresh_token"] for form in tokens.grants("refresh_token")]
        assert len(set(used)) == len(used) >= 3
        (told,) = stage.ledger("SELECT body FROM notices WHERE event = 'mailbox_refused'")
        assert "secret set imap-personal --oauth" in told["body"]
        shown = command_line.decode() + stage.log_text() + doctor
        assert TOKEN_MARK not in shown
        for path in (tmp_path / "state").rglob("*"):
            assert path.is_dir() or TOKEN_MARK.encode() not in path.read_bytes(), path


def sign_in(stage: Stage, tokens: TokenServer, username: str) -> None:
    """Make the stage's mailbox one that is signed in to."""
    keys = "\n".join(f'{key} = "{value}"' for key, value in tokens.settings().items())
    text = stage.config.read_text()
    stage.config.write_text(text.replace('username = "demo"', f'username = "{username}"\n{keys}'))
