"""The settings: what a configuration file may say, as frozen values.

These models are the one description of the file. `toml_keys` tells which keys a table may hold;
the example file, the documentation and the "did you mean" of `load` are checked against it.
A key whose value may hold a secret is a `SecretStr`, so that no repr, log or traceback shows it.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from backupd.config.values import (
    parse_cache,
    parse_duration,
    parse_endpoint,
    parse_name,
    parse_optional_path,
    parse_path,
    parse_seconds,
    parse_size,
    parse_web_address,
)

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Size = Annotated[int, BeforeValidator(parse_size)]
Cache = Annotated[str, BeforeValidator(parse_cache)]
Name = Annotated[str, BeforeValidator(parse_name)]
Endpoint = Annotated[str, BeforeValidator(parse_endpoint)]
WebAddress = Annotated[str, BeforeValidator(parse_web_address)]
AbsolutePath = Annotated[Path, BeforeValidator(parse_path)]
OptionalPath = Annotated[Path | None, BeforeValidator(parse_optional_path)]
Text = Annotated[str, Field(min_length=1, max_length=1024)]
Argument = Annotated[str, Field(max_length=4096)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Address = Annotated[str, Field(pattern=r"^[^@\s]{1,64}@[A-Za-z0-9.-]{1,255}$")]
Forwarder = Annotated[str, Field(pattern=r"^(?:[^@\s]{1,64}@)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+$")]
Session = Literal["none", "bearer", "cookies", "browser"]

_MINUTE = timedelta(minutes=1)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _begins_with_a_program(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0]:
        raise ValueError("must begin with a program")
    return command


class Table(BaseModel):
    """Base of all tables: frozen, and no key beyond the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RepositorySettings(Table):
    """Where the archive is, and how it is opened."""

    path: AbsolutePath
    credential: Name | None = None
    cache: Cache = "auto"


class StateSettings(Table):
    """Where the ledger and the daemon's lock are."""

    path: AbsolutePath


class MailboxSettings(Table):
    """One mailbox to watch. Time limits are seconds."""

    name: Name
    host: Text
    port: Port = 993
    security: Literal["tls", "starttls"] = "tls"
    ca_file: OptionalPath = None
    username: Text
    auth: Literal["password", "oauth2"] = "password"
    credential: Name = ""
    oauth_provider: Literal["google", "microsoft", "token"] | None = None
    oauth_client_id: Text | None = None
    oauth_secret_credential: Name | None = None
    oauth_scope: Text | None = None
    oauth_token_endpoint: WebAddress | None = None
    oauth_device_endpoint: WebAddress | None = None
    oauth_authorize_endpoint: WebAddress | None = None
    folders: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    authserv_ids: Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), validation_alias=AliasChoices("authserv_id", "authserv_ids")
    )
    addresses: Annotated[tuple[Address, ...], BeforeValidator(_as_tuple)] = ()
    forwarders: Annotated[tuple[Forwarder, ...], BeforeValidator(_as_tuple)] = ()
    drop_folder: OptionalPath = None
    connect_timeout: Seconds = 20.0
    read_timeout: Seconds = 60.0

    @model_validator(mode="before")
    @classmethod
    def _name_the_credential(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {"credential": f"imap-{data.get('name', '')}", **data}


class DownloadSettings(Table):
    """How exports are fetched. `max_size` is bytes, `min_rate` bytes a second."""

    session: Session = "none"
    session_credential: Name | None = None
    ca_file: OptionalPath = None
    connect_to: dict[Endpoint, Endpoint] = Field(default_factory=dict)
    max_size: Size = 50 * 2**30
    min_rate: Size = 1024


class AccountSettings(Table):
    """One ChatGPT account among several; what is None is as in [download] and [schedule]."""

    name: Name
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{4,128}$")]
    remind_after: Annotated[Duration, Field(ge=_MINUTE)] | None = None
    session: Session | None = None
    session_credential: Name | None = None


class ChannelSettings(Table):
    """One channel for notices: an Apprise URL, or the credential that holds one."""

    index: int = 0
    url: Annotated[SecretStr, Field(min_length=1, max_length=4096)] | None = None
    credential: Name | None = None
    min_severity: Literal["info", "warning", "error"] = "info"

    @property
    def id(self) -> str:
        """Name the channel in logs and in the outbox, without any part of the URL but its scheme.

        A channel by credential keeps its id when the tables of the file are reordered.
        """
        if self.url is None:
            return f"notify:{self.credential}"
        return f"notify[{self.index}]:{self.url.get_secret_value().partition(':')[0].lower()}"


class HeartbeatSettings(Table):
    """A monitor that is pinged while all is well."""

    url: Annotated[SecretStr, Field(min_length=1, max_length=4096)]


class ScheduleSettings(Table):
    """How often things are done."""

    poll: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = 5 * _MINUTE
    check: Annotated[Duration, Field(ge=_MINUTE)] = timedelta(weeks=1)
    drill: Annotated[Duration, Field(ge=_MINUTE)] = timedelta(days=30)
    remind_after: Annotated[Duration, Field(ge=_MINUTE)] = timedelta(days=30)


class CredentialSettings(Table):
    """A program that prints one credential; run without a shell."""

    command: Annotated[tuple[Argument, ...], AfterValidator(_begins_with_a_program)]


class Settings(Table):
    """Everything a configuration file says, defaults filled in."""

    repository: RepositorySettings
    state: StateSettings
    mailboxes: dict[Name, MailboxSettings] = Field(default_factory=dict)
    download: DownloadSettings = DownloadSettings()
    accounts: dict[Name, AccountSettings] = Field(default_factory=dict)
    notify: tuple[ChannelSettings, ...] = ()
    heartbeat: HeartbeatSettings | None = None
    schedule: ScheduleSettings = ScheduleSettings()
    credentials: dict[Name, CredentialSettings] = Field(default_factory=dict)


TABLES: dict[str, type[Table]] = {
    "repository": RepositorySettings,
    "state": StateSettings,
    "mailboxes.*": MailboxSettings,
    "download": DownloadSettings,
    "accounts.*": AccountSettings,
    "notify[]": ChannelSettings,
    "heartbeat": HeartbeatSettings,
    "schedule": ScheduleSettings,
    "credentials.*": CredentialSettings,
}
"""Every table of the file and its model; `.*` holds tables of any name, `[]` a list of tables."""

_FILLED_IN = {"name", "index"}  # told by the table's place in the file, never a key of its own


def toml_fields(table: type[Table]) -> dict[str, str]:
    """Return the fields of `table` that a person may write, each with its key in the file."""
    return {
        name: _key_of(name, field.validation_alias)
        for name, field in table.model_fields.items()
        if name not in _FILLED_IN
    }


def toml_keys(table: type[Table]) -> tuple[str, ...]:
    """Return the keys that a person may write in `table`."""
    return tuple(toml_fields(table).values())


def _key_of(name: str, alias: object) -> str:
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name
