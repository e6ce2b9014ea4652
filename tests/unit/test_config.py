"""The configuration file: values, problems with their places, the example, where it is found."""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from backupd import config
from backupd.config.schema import TABLES, toml_keys
from backupd.config.values import parse_duration, parse_seconds, parse_size
from backupd.errors import ConfigError, ExitCode

MINIMAL = """
[repository]
path = "/srv/archive"
[mailboxes.personal]
host = "imap.example.org"
username = "me@example.org"
authserv_id = "mx.example.org"
"""
EXAMPLE = Path(__file__).parents[2] / "config" / "backupd.example.toml"


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """Return the problems of `text` without the file name."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path, {})
    assert all(problem.startswith(str(path)) for problem in caught.value.problems)
    return [problem.removeprefix(str(path)) for problem in caught.value.problems]


def test_a_minimal_file_gets_all_defaults(tmp_path: Path) -> None:
    settings = config.load(written(tmp_path, MINIMAL), {"STATE_DIRECTORY": "/var/lib/x:/y"})

    mailbox = settings.mailboxes["personal"]
    assert (mailbox.name, mailbox.port, mailbox.security) == ("personal", 993, "tls")
    assert mailbox.credential == "imap-personal"
    assert mailbox.authserv_ids == ("mx.example.org",)
    assert mailbox.folders is None
    assert settings.state.path == Path("/var/lib/x")
    assert settings.download.max_size == 50 * 2**30
    assert settings.schedule.poll == timedelta(minutes=5)
    assert settings.schedule.check == timedelta(days=7)


def test_the_repository_is_below_the_state_directory_by_default(tmp_path: Path) -> None:
    settings = config.load(written(tmp_path, '[state]\npath = "/srv/b"'), {})

    assert settings.repository.path == Path("/srv/b/repository")


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = config.load(written(tmp_path, MINIMAL), {})

    with pytest.raises(ValueError, match="frozen"):
        settings.mailboxes["personal"].port = 1  # type: ignore[misc]


def test_all_problems_are_reported_with_line_key_and_nearest_key(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """[repositry]
path = "/x"
[mailboxes.personal]
hots = "imap.example.org"
port = "abc"
security = "ssl"
ca_file = "/nonexistent/ca.pem"
drop_folder = "drop"
[download]
session = "cookies"
max_size = "lots"
[[notify]]
url = "nothing"
[[notify]]
min_severity = "warn"
[schedule]
poll = "soon"
[credentials."../x"]
command = ["true"]
""",
    )

    for expected in (
        ':1: repositry: unknown key; did you mean "repository"?',
        ':4: mailboxes.personal.hots: unknown key; did you mean "host"?',
        ":3: mailboxes.personal.host: is missing",
        ":3: mailboxes.personal.username: is missing",
        ":5: mailboxes.personal.port: must be a whole number",
        ':6: mailboxes.personal.security: must be one of "tls" or "starttls"',
        ":7: mailboxes.personal.ca_file: cannot be read: no such file or directory",
        ':8: mailboxes.personal.drop_folder: must be an absolute path, one that begins with "/"',
        ':11: download.max_size: must be a size such as "64KiB", "500MB" or "50GiB"',
        ":14: notify[1]: needs either `url` or `credential`, and not both",
        ':15: notify[1].min_severity: must be one of "info", "warning" or "error"',
    ):
        assert expected in found
    assert len(found) == len(set(found)) == 15
    assert any("download.session_credential: is missing" in one for one in found)


def test_the_error_counts_the_problems_and_ends_with_the_usage_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'read configuration ".*": 2 problems') as caught:
        config.load(written(tmp_path, "a = 1\nb = 2"), {})

    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint


@pytest.mark.parametrize("key", ["password", "Token", "client_secret", "api_key", "passphrase"])
def test_a_secret_in_the_file_is_refused_and_never_repeated(tmp_path: Path, key: str) -> None:
    (found,) = problems(tmp_path, MINIMAL + f'{key} = "CANARY-7f"\n')

    assert "secrets do not belong in this file" in found
    assert "CANARY" not in found


@pytest.mark.parametrize(
    "text",
    [
        'port = "CANARY-7f"',
        'security = "CANARY-7f"',
        'ca_file = "CANARY-7f"',
        'credential = "CANARY/7f"',
        'read_timeout = "CANARY-7f"',
        "folders = [1, 'CANARY-7f', {}]",
        "authserv_id = CANARY-7f",
        'username = "x"\nusername = "CANARY-7f"',
        '"CANARY-7f',
    ],
)
def test_no_problem_repeats_a_value(tmp_path: Path, text: str) -> None:
    base = MINIMAL.replace('authserv_id = "mx.example.org"', "")
    for problem in problems(tmp_path, base + text):
        assert "CANARY" not in problem


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[mailboxes]\nhost = 'x'", "mailboxes.host"),
        ("mailboxes = 1", "mailboxes"),
        ("[notify]\nurl = 'json://x'", "notify"),
        ("notify = [1]", "notify[0]"),
        ("repository = 1", "repository"),
        ("state = []", "state"),
        ("[mailboxes.'../x']\nhost = 'x'", "mailboxes.'../x'"),
        ("[credentials.a]\ncommand = []", "credentials.a.command"),
        ("[credentials.a]\ncommand = 'pass show x'", "credentials.a.command"),
        ("[heartbeat]\nurl = 'ftp://x'", "heartbeat.url"),
        ("[repository]\npath = 's3://bucket/x'", "repository.path"),
        ("[download]\nconnect_to = { 'chatgpt.com' = 'x:1' }", "download.connect_to.'chatgpt.com'"),
        ("[accounts.work]\nsession = 'bearer'", "accounts.work.session_credential"),
        ("[schedule]\npoll = '8d'", "schedule.poll"),
        ("[[notify]]\ncredential = 'a'\n[[notify]]\ncredential = 'a'", "notify[1].credential"),
    ],
)
def test_a_wrong_shape_is_named_by_its_key(tmp_path: Path, text: str, place: str) -> None:
    found = problems(tmp_path, text)

    assert any(re.match(rf"(:\d+)?: {re.escape(place)}: ", problem) for problem in found), found


def test_two_accounts_cannot_begin_the_same_way(tmp_path: Path) -> None:
    text = "[accounts.a]\nprefix = '5f3a9c'\n[accounts.b]\nprefix = '5F3A9C'\n"

    (found,) = problems(tmp_path, text)

    assert "accounts.b.prefix: is the same as in [accounts.a]" in found


def test_browser_without_its_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "playwright", None)

    (session,) = problems(tmp_path, '[download]\nsession = "browser"\n')

    assert "pip install 'backupd[browser]'" in session


OAUTH = MINIMAL + 'auth = "oauth2"\n'
OWN = OAUTH + 'oauth_client_id = "x"\noauth_token_endpoint = "https://login.example.org/token"\n'


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (OAUTH + 'oauth_provider = "google"', "oauth_client_id", "is missing"),
        (OAUTH + 'oauth_client_id = "x"', "oauth_token_endpoint", "is missing: the host"),
        (OWN, "oauth_device_endpoint", "or oauth_authorize_endpoint"),
        (OWN + 'oauth_device_endpoint = "https://x.org/d"', "oauth_scope", "is missing"),
        (MINIMAL + 'oauth_client_id = "x"', "oauth_client_id", 'with auth = "oauth2"'),
        (
            OAUTH + 'oauth_provider = "token"\noauth_scope = "x"',
            "oauth_scope",
            'not used with oauth_provider = "token"',
        ),
        (OAUTH + 'oauth_provider = "aol"\noauth_client_id = "x"', "oauth_provider", '"microsoft"'),
        (OAUTH + 'oauth_client_secret = "x"', "oauth_client_secret", "secrets do not belong"),
        (OWN + 'oauth_token_endpiont = "x"', "oauth_token_endpiont", "oauth_token_endpoint"),
    ],
)
def test_what_oauth_needs_is_named(tmp_path: Path, text: str, key: str, words: str) -> None:
    found = problems(tmp_path, text)

    assert any(f"mailboxes.personal.{key}: " in one and words in one for one in found), found


@pytest.mark.parametrize(
    "address",
    [
        "http://login.example.org/token",
        "https://me:CANARY@login.example.org/",
        "https://login.example.org/token?CANARY=1",
        "https://login.example.org/#CANARY",
        "https://:99999/",
        "https://login.example.org/a b",
        "login.example.org",
        "",
    ],
)
def test_an_endpoint_is_a_plain_https_address(tmp_path: Path, address: str) -> None:
    text = OAUTH + f'oauth_client_id = "x"\noauth_token_endpoint = "{address}"\n'
    found = [one for one in problems(tmp_path, text) if "oauth_token_endpoint" in one]

    assert "https://" in found[0]
    assert "CANARY" not in "".join(found)


def test_a_known_host_needs_a_client_id_only(tmp_path: Path) -> None:
    for host in ("imap.gmail.com", "Outlook.Office365.com"):
        text = OAUTH.replace("imap.example.org", host) + 'oauth_client_id = "x"\n'
        settings = config.load(written(tmp_path, text), {})

        assert settings.mailboxes["personal"].oauth_client_id == "x"


def test_an_endpoint_on_this_machine_may_be_clear(tmp_path: Path) -> None:
    text = OWN.replace("https://login.example.org", "http://127.0.0.1:8080")
    text += 'oauth_authorize_endpoint = "http://[::1]:8080/a"\noauth_scope = "imap"\n'

    assert config.load(written(tmp_path, text), {}).mailboxes["personal"].oauth_scope == "imap"


def test_a_drop_folder_inside_the_repository_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MINIMAL + 'drop_folder = "/srv/archive/drop"\n')

    assert "must not be inside the repository" in found


def test_a_ca_file_must_hold_a_certificate(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_text("hello")
    (found,) = problems(tmp_path, MINIMAL + f'ca_file = "{pem}"\n')

    assert "holds no certificate" in found


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, '[repository]\npath = "/x\n')

    assert found.startswith(":2: not valid TOML: ")


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    assert problems(tmp_path, b"a = 1\nb = '\xff'\n") == [":2: not UTF-8 text"]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        config.load(tmp_path / "none.toml", {})

    assert "config generate" in caught.value.hint


def test_an_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        config.load(written(tmp_path, b"#" * (256 * 1024 + 1)), {})


def test_the_example_is_what_an_installed_program_prints() -> None:
    assert config.example_text() == EXAMPLE.read_text("utf-8")


def uncommented() -> str:
    """Return the example with every optional setting in force."""
    return re.sub(r"(?m)^#(?=[a-z\[])", "", config.example_text())


@pytest.mark.parametrize("text", [config.example_text(), uncommented()], ids=["as is", "all keys"])
def test_the_example_is_valid(tmp_path: Path, text: str) -> None:
    assert config.load(written(tmp_path, text), {}).mailboxes["personal"].host


def test_the_example_has_every_key_and_no_other() -> None:
    data = tomllib.loads(uncommented())
    for pattern, model in TABLES.items():
        tables = data[pattern.partition(".")[0].rstrip("[]")]
        if pattern.endswith(".*"):
            tables = list(tables.values())
        found = {
            key for table in (tables if isinstance(tables, list) else [tables]) for key in table
        }

        assert found == set(toml_keys(model)), pattern


def test_the_defaults_in_the_example_are_the_defaults(tmp_path: Path) -> None:
    """Every optional key of the mailbox, download and schedule shows its real default."""
    given = config.load(written(tmp_path, uncommented()), {})
    plain = config.load(written(tmp_path, MINIMAL), {})
    mailbox, default = given.mailboxes["personal"], plain.mailboxes["personal"]

    assert given.schedule == plain.schedule
    for key in ("port", "security", "ca_file", "auth", "credential", "read_timeout"):
        assert getattr(mailbox, key) == getattr(default, key), key
    assert mailbox.connect_timeout == default.connect_timeout
    for key in ("session", "ca_file", "max_size", "min_rate"):
        assert getattr(given.download, key) == getattr(plain.download, key), key


def test_show_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    text = uncommented().replace('#url = "json', 'url = "json')
    settings = config.load(written(tmp_path, text), {})
    shown = config.show(settings)
    again = config.load(written(tmp_path, shown), {})

    hidden = {"notify", "heartbeat"}
    assert again.model_dump(exclude=hidden) == settings.model_dump(exclude=hidden)


def test_urls_that_may_hold_a_secret_are_never_shown(tmp_path: Path) -> None:
    text = MINIMAL + '[[notify]]\nurl = "json://me:CANARY@host/CANARY"\n'
    text += '[heartbeat]\nurl = "https://hc.example.org/CANARY"\n'
    settings = config.load(written(tmp_path, text), {})

    assert "CANARY" not in config.show(settings) + repr(settings) + str(settings)
    assert settings.notify[0].id == "notify[0]:json"
    assert not any("CANARY" in caution for caution in config.cautions(settings))


def test_cautions_name_what_will_not_work(tmp_path: Path) -> None:
    bare = config.load(written(tmp_path, ""), {})
    unproven = config.load(
        written(tmp_path, MINIMAL.replace("authserv_id", "#") + "[[notify]]\nurl='json://a:b@c'"),
        {},
    )

    idle = config.load(
        written(
            tmp_path,
            MINIMAL + "[heartbeat]\nurl='https://h.example'\n",
        ),
        {},
    )

    assert "[heartbeat]" in {one.split(" ")[0] for one in config.cautions(idle)}
    assert [one.split(":")[0] for one in config.cautions(bare)] == [
        "no mailbox is configured",
        "no [[notify]] channel",
    ]
    assert [one.split(" ")[0] for one in config.cautions(unproven)] == [
        "mailboxes.personal.authserv_id",
        "notify[0]:json",
    ]


def test_locate_prefers_flag_then_environment() -> None:
    environ = {"BACKUPD_CONFIG": "/e.toml"}

    assert config.locate("/f.toml", environ) == Path("/f.toml")
    assert config.locate(None, environ) == Path("/e.toml")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("12h", 43200),
        ("30d", 2592000),
        ("2w", 1209600),
        ("weekly", 604800),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "5", "0m", "-1d", "5 years", "999999999w", "٥m", 5, None, True]
)
def test_not_a_duration(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [("50GiB", 50 * 2**30), ("500MB", 500 * 10**6), ("1.5 KiB", 1536), ("7B", 7), ("7", 7), (9, 9)],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "0", "GiB", "-5", "5 PiB", "1e9", -1, 0, True, None, 1.5])
def test_not_a_size(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_size(value)
