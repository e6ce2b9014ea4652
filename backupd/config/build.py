"""Turn the parsed file into settings.

Each table is validated on its own, so that one wrong table hides nothing in another; what the
tables must agree on is checked last. Everything wrong goes into one report.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from backupd.config.checks import check
from backupd.config.problems import Place, Report
from backupd.config.schema import (
    AccountSettings,
    ChannelSettings,
    CredentialSettings,
    DownloadSettings,
    HeartbeatSettings,
    MailboxSettings,
    RepositorySettings,
    ScheduleSettings,
    Settings,
    StateSettings,
    Table,
    toml_keys,
)
from backupd.config.values import parse_name

_SECRET = re.compile(
    r"pass(word|wd|phrase)?$|token(?!_end)|secret(?!_cred)|api_?key|cookies?$|bearer", re.I
)
_MISPLACED = (
    "secrets do not belong in this file; store it with `backupd secret set NAME` and write "
    '`credential = "NAME"` instead'
)
_Model = TypeVar("_Model", bound=Table)
_Data = dict[str, Any]


def build(data: _Data, default_state: Path, report: Report) -> Settings:
    """Return the settings that `data`, as tomllib gives it, stands for.

    Raises:
        ConfigError: anything is wrong; all problems are in it.
    """
    _refuse_unknown(data, (), tuple(Settings.model_fields), report)
    _fill_places(data, default_state)
    repository = _single(data, "repository", RepositorySettings, report)
    state = _single(data, "state", StateSettings, report)
    download = _single(data, "download", DownloadSettings, report)
    schedule = _single(data, "schedule", ScheduleSettings, report)
    heartbeat = (
        _single(data, "heartbeat", HeartbeatSettings, report) if "heartbeat" in data else None
    )
    mailboxes = _named(data, "mailboxes", MailboxSettings, report)
    accounts = _named(data, "accounts", AccountSettings, report)
    credentials = _named(data, "credentials", CredentialSettings, report)
    notify = _listed(data, "notify", ChannelSettings, report)
    check(data, report)
    report.raise_if_any()
    if repository is None or state is None or download is None or schedule is None:
        raise AssertionError("a table that failed left no problem")  # unreachable by construction
    return Settings(
        repository=repository,
        state=state,
        mailboxes=mailboxes,
        download=download,
        accounts=accounts,
        notify=notify,
        heartbeat=heartbeat,
        schedule=schedule,
        credentials=credentials,
    )


def _fill_places(data: _Data, default_state: Path) -> None:
    """Put in where things are kept, where the file does not say: the archive is below the state."""
    state = data.setdefault("state", {})
    if not isinstance(state, dict):
        return
    place = state.setdefault("path", str(default_state))
    repository = data.setdefault("repository", {})
    if isinstance(repository, dict):
        repository.setdefault("path", f"{place}/repository")


def _single(data: _Data, name: str, model: type[_Model], report: Report) -> _Model | None:
    return _table(data.get(name, {}), model, (name,), report, {})


def _named(data: _Data, group: str, model: type[_Model], report: Report) -> dict[str, _Model]:
    tables = data.get(group, {})
    if not isinstance(tables, dict):
        report.add((group,), f"must be a group of tables; begin each with [{group}.NAME]")
        return {}
    made = {}
    for name, table in tables.items():
        place = (group, name)
        if not isinstance(table, dict):
            report.add(place, f"must be a table; put the keys below [{group}.NAME]")
            continue
        try:
            parse_name(name)
        except ValueError as error:
            report.add(place, str(error))
            continue
        given = {"name": name} if "name" in model.model_fields else {}
        found = _table(table, model, place, report, given)
        if found is not None:
            made[name] = found
    return made


def _listed(data: _Data, name: str, model: type[_Model], report: Report) -> tuple[_Model, ...]:
    tables = data.get(name, [])
    if not isinstance(tables, list):
        report.add((name,), f"must be a list of tables; begin each with [[{name}]]")
        return ()
    made = [
        _table(table, model, (name, index), report, {"index": index})
        for index, table in enumerate(tables)
    ]
    return tuple(table for table in made if table is not None)


def _table(
    table: object, model: type[_Model], place: Place, report: Report, given: _Data
) -> _Model | None:
    """Validate one table; `given` is what its place in the file tells."""
    if not isinstance(table, dict):
        report.add(place, "must be a table")
        return None
    _refuse_unknown(table, place, toml_keys(model), report)
    try:
        return model.model_validate({**table, **given})
    except ValidationError as error:
        for finding in error.errors(include_url=False, include_input=False):
            report.translate(place, finding)
        return None


def _refuse_unknown(table: _Data, place: Place, known: tuple[str, ...], report: Report) -> None:
    """Report the keys that do not exist and take them out, so that the rest can be judged."""
    for key in [key for key in table if key not in known]:
        if _SECRET.search(key):
            report.add((*place, key), _MISPLACED)
        else:
            report.unknown((*place, key), known)
        del table[key]
