"""Access tokens on a real Dovecot that asks a real OAuth server about them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backupd.config import MailboxSettings
from backupd.credentials import Credentials
from backupd.errors import CredentialError, MailboxRefused, MailboxUnreachable
from backupd.intake.mailkeys import MailKey, mail_key, remember_end
from backupd.intake.signin import try_sign_in
from backupd.ledger.db import Database, LedgerFailed, open_database
from backupd.ledger.messages import Messages
from backupd.ledger.notices import NoticeLog
from backupd.mail.mailbox import probe
from backupd.mail.watcher import Pace, Watcher
from backupd.notice import Notice
from tests.support.dovecot import Account, Dovecot
from tests.support.mail_sink import MemorySink
from tests.support.token_server import CLIENT_SECRET, TOKEN_MARK, TokenServer

QUICK = Pace(settle=0.3, rest=0.2, retry=0.05, retry_most=0.2)


@pytest.fixture(scope="module")
def server() -> Iterator[TokenServer]:
    with TokenServer() as running:
        yield running


@pytest.fixture(scope="module")
def dovecot(server: TokenServer) -> Iterator[Dovecot]:
    with Dovecot(server.introspection) as running:
        yield running


@dataclass
class World:
    """A mailbox that is signed in to, with credentials as systemd gives them."""

    server: TokenServer
    settings: MailboxSettings
    credentials: Credentials
    directory: Path
    messages: Messages
    log: NoticeLog
    database: Database
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    told: list[Notice] = field(default_factory=list)

    def clock(self) -> datetime:
        return self.now

    def tell(self, notice: Notice) -> None:
        if self.log.append(notice, (), self.now):
            self.told.append(notice)

    def key(self, settings: MailboxSettings | None = None) -> MailKey:
        return mail_key(
            settings or self.settings, self.credentials, self.messages, self.clock, self.tell
        )

    def store(self, secret: str, name: str = "imap-test") -> None:
        (self.directory / name).write_text(secret)

    def watcher(self, sink: MemorySink) -> Watcher:
        key = self.key()
        poll = timedelta(seconds=1)
        return Watcher(
            "test", self.settings, key.get, sink, self.clock, poll, pace=QUICK, renew=key.renew
        )


@pytest.fixture
def world(server: TokenServer, dovecot: Dovecot, tmp_path: Path) -> Iterator[World]:
    server.account = dovecot.account().username
    ca = server.write_ca(tmp_path / "ca.pem", dovecot.ca)
    settings = Account(dovecot, server.account).settings(ca_file=ca, **server.settings())
    directory = tmp_path / "credentials"
    directory.mkdir()
    credentials = Credentials({}, {"CREDENTIALS_DIRECTORY": str(directory)})
    database = open_database(tmp_path / "ledger.sqlite")
    made = World(
        server, settings, credentials, directory, Messages(database), NoticeLog(database), database
    )
    made.store(server.new_refresh_token())
    server.forms.clear()
    server.logins.clear()
    yield made
    server.rotate, server.lifetime, server.refresh_lifetime = False, 3600, None
    server.wants_secret, server.script = False, []
    credentials.close()
    database.close()


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_a_token_logs_in_by_the_mechanism_that_the_server_offers(
    mechanism: str, server: TokenServer, world: World
) -> None:
    with Dovecot(server.introspection, (mechanism,)) as only:
        account = only.account()
        server.account = account.username
        ca = server.write_ca(world.directory.parent / "other.pem", only.ca)
        settings = account.settings(ca_file=ca, **server.settings())

        said = probe(settings, world.key().get())

    assert "logged in at localhost" in said


def test_the_standard_mechanism_is_preferred(world: World, dovecot: Dovecot) -> None:
    probe(world.settings, world.key().get())

    log = (dovecot.home / "dovecot.log").read_text()
    assert "method=OAUTHBEARER" in log
    assert "method=XOAUTH2" not in log


def test_a_server_without_either_mechanism_is_a_clear_refusal(world: World) -> None:
    with Dovecot() as plain:
        settings = plain.account().settings(auth="oauth2")
        with pytest.raises(MailboxRefused, match="neither OAUTHBEARER nor XOAUTH2"):
            probe(settings, "token")


def test_a_token_is_asked_for_once_and_anew_before_it_ends(world: World) -> None:
    key = world.key()
    first = key.get()

    world.now += timedelta(minutes=54)
    assert key.get() == first
    world.now += timedelta(minutes=2)
    assert key.get() != first

    assert len(world.server.grants("refresh_token")) == 2


def test_a_token_that_ended_early_is_replaced_within_the_same_pass(world: World) -> None:
    sink = MemorySink(lambda: 0.0)
    watcher = world.watcher(sink)
    assert watcher.poll_once() == 0

    world.server.end_access()
    world.now += timedelta(minutes=10)
    assert watcher.poll_once() == 0

    assert len(world.server.logins) == 3
    assert len(world.server.grants("refresh_token")) == 2


def test_a_fresh_token_that_is_refused_is_not_tried_twice(world: World) -> None:
    world.server.lifetime = 0
    watcher = world.watcher(MemorySink(lambda: 0.0))

    with pytest.raises(MailboxRefused) as caught:
        watcher.poll_once()

    assert len(world.server.logins) == 1
    assert "--oauth" in caught.value.hint
    assert_no_secret(world, caught.value)


def watch_until(watcher: Watcher, sink: MemorySink, event: str, times: int = 1) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    try:
        sink.wait(lambda sink: sink.events.count(event) >= times)
        stop.wait(0.5)  # ten retries long: whoever tries again would have done so by now
    finally:
        stop.set()
        thread.join(10)


def test_a_refused_refresh_is_told_once_and_never_repeated(world: World) -> None:
    world.server.revoke()
    sink = MemorySink(lambda: 0.0)

    watch_until(world.watcher(sink), sink, "refused")

    assert sink.events == ["refused"]
    assert len(world.server.grants("refresh_token")) == 1
    assert world.server.logins == []
    assert "invalid_grant" in sink.reasons[0]
    assert "secret set imap-test --oauth" in sink.reasons[0]
    assert TOKEN_MARK not in sink.reasons[0]


@pytest.mark.parametrize(
    "answer",
    [(503, {}), (429, {"error": "slow_down"}), (400, {"error": "temporarily_unavailable"})],
)
def test_a_bad_moment_of_the_token_server_is_waited_out(
    world: World, answer: tuple[int, dict[str, str]]
) -> None:
    world.server.script = [answer] * 3
    sink = MemorySink(lambda: 0.0)

    watch_until(world.watcher(sink), sink, "recovered")

    assert sink.events.count("unreachable") == 1
    assert "refused" not in sink.events


def test_a_token_server_that_is_down_is_unreachable(world: World, tmp_path: Path) -> None:
    gone = TokenServer()
    with gone:
        address = gone.url("/token")
    settings = world.settings.model_copy(update={"oauth_token_endpoint": address})
    key = world.key(settings)

    with pytest.raises(MailboxUnreachable, match="connection refused"):
        key.get()


def test_a_token_that_is_still_good_outlives_a_bad_moment(world: World) -> None:
    key = world.key()
    first = key.get()
    world.now += timedelta(minutes=56)
    world.server.script = [(503, {})]

    assert key.get() == first


def test_the_authority_of_the_token_server_is_verified(world: World, dovecot: Dovecot) -> None:
    settings = world.settings.model_copy(update={"ca_file": dovecot.ca})
    key = world.key(settings)

    with pytest.raises(MailboxUnreachable, match="certificate"):
        key.get()

    assert world.server.forms == []


def test_rotated_refresh_tokens_outlive_a_restart_and_lie_sealed(world: World) -> None:
    world.server.rotate = True
    for _ in range(3):
        world.key().get()

    used = [form["refresh_token"] for form in world.server.grants("refresh_token")]
    assert len(set(used)) == 3
    ledger = b"".join(path.read_bytes() for path in world.directory.parent.glob("ledger.sqlite*"))
    assert TOKEN_MARK.encode() not in ledger


def test_a_rotated_token_outlives_a_ledger_that_takes_nothing(world: World) -> None:
    """A full disk must not cost the sign-in: the old token is worthless by now."""
    world.server.rotate = True
    key = world.key()
    world.database.row("PRAGMA max_page_count = 1")
    fill(world)
    with pytest.raises(LedgerFailed, match="full"):
        key.get()

    world.database.row("PRAGMA max_page_count = 1000000")
    assert key.get()
    assert world.key().get()


def fill(world: World) -> None:
    """Use up what room the ledger has left, down to the smallest fact."""
    for size in (500, 50, 1):
        for number in range(1000):
            try:
                world.messages.set_fact(f"filler-{size}-{number}", "x" * size, world.now)
            except LedgerFailed:
                break


def test_a_credential_set_anew_replaces_what_was_kept(world: World) -> None:
    world.server.rotate = True
    world.key().get()
    world.server.revoke()
    fresh = world.server.new_refresh_token()
    world.store(fresh)

    world.key().get()

    assert world.server.grants("refresh_token")[-1]["refresh_token"] == fresh


def test_a_token_rotated_by_another_process_meanwhile_is_no_refusal(world: World) -> None:
    """Two read the same token; the slower one must not take its own for revoked."""
    world.server.rotate = True
    daemon, by_hand = world.key(), world.key()
    world.server.before.append(by_hand.get)

    assert daemon.get()

    used = [form["refresh_token"] for form in world.server.grants("refresh_token")]
    assert used[0] == used[1] != used[2]
    assert world.key().get()


def test_a_client_secret_comes_from_its_credential(world: World) -> None:
    world.server.wants_secret = True
    world.store(CLIENT_SECRET, "client-secret")
    update = {"oauth_secret_credential": "client-secret"}
    settings = world.settings.model_copy(update=update)
    key = world.key(settings)

    assert key.get()

    with pytest.raises(MailboxRefused, match="invalid_client") as caught:
        world.key().get()
    assert "oauth_client_id" in caught.value.hint


def test_a_ready_made_token_is_the_credential_itself(world: World) -> None:
    token = world.key().get()
    settings = world.settings.model_copy(update={"oauth_provider": "token"})
    world.store(token)

    key = world.key(settings)

    assert key.get() == token
    assert key.renew is None


def test_a_sign_in_that_ends_soon_is_told_ahead(world: World) -> None:
    world.server.refresh_lifetime = 30 * 86400
    key = world.key()
    key.get()
    assert world.told == []

    world.server.refresh_lifetime = 6 * 86400
    world.now += timedelta(days=24)
    key.get()

    (told,) = world.told
    assert told.event == "sign_in_ending"
    assert "6 days" in told.title
    assert TOKEN_MARK not in told.body

    world.server.refresh_lifetime = 30 * 86400
    for _ in range(2):
        world.now += timedelta(hours=1)
        key.get()

    assert [one.event for one in world.told] == ["sign_in_ending", "sign_in_renewed"]


def test_an_end_that_was_told_at_the_sign_in_only_is_remembered(world: World) -> None:
    remember_end(world.messages, "imap-test", world.now + timedelta(days=7), world.now)
    key = world.key()
    key.get()
    assert world.told == []

    world.now += timedelta(days=4)
    key.get()

    assert [one.event for one in world.told] == ["sign_in_ending"]


def test_an_end_that_moves_on_by_itself_is_no_news(world: World) -> None:
    """Some servers give each refresh token half an hour and a new one at each use."""
    world.server.rotate, world.server.refresh_lifetime, world.server.lifetime = True, 1800, 300
    key = world.key()
    for _ in range(5):
        key.get()
        world.now += timedelta(minutes=20)

    assert world.told == []


def test_a_sign_in_can_be_tried(world: World) -> None:
    ends = try_sign_in(world.settings, world.credentials, world.messages, world.clock)
    assert ends == world.now + timedelta(hours=1)

    world.server.revoke()
    with pytest.raises(MailboxRefused):
        try_sign_in(world.settings, world.credentials, world.messages, world.clock)


def test_a_missing_refresh_token_names_the_credential(world: World) -> None:
    (world.directory / "imap-test").unlink()

    with pytest.raises(CredentialError, match="imap-test"):
        world.key().get()


def assert_no_secret(world: World, problem: BaseException) -> None:
    """No exception, nor one that hangs on it, shows a token."""
    seen: list[BaseException | None] = [problem, problem.__cause__, problem.__context__]
    shown = "".join(f"{one!r}{vars(one) if one else ''}" for one in seen)
    assert TOKEN_MARK not in shown
