"""Write settings back as TOML, defaults filled in and secrets left out, for `config show`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from backupd.config.schema import Settings, Table, toml_fields

_UNITS = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def show(settings: Settings) -> str:
    """Return TOML that says the same, but for URLs that may hold a secret: only their scheme."""
    lines: list[str] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, Table):
            lines += ["", f"[{name}]", *_keys(value)]
        elif isinstance(value, Mapping):
            for key, table in value.items():
                lines += ["", f"[{name}.{_key(key)}]", *_keys(table)]
        elif isinstance(value, tuple):
            for table in value:
                lines += ["", f"[[{name}]]", *_keys(table)]
    return "\n".join(lines[1:]) + "\n"


def _keys(table: Table) -> Iterator[str]:
    for name, key in toml_fields(type(table)).items():
        value = getattr(table, name)
        if value is not None:
            yield f"{key} = {_value(value)}"


def _value(value: object) -> str:
    match value:
        case SecretStr():
            scheme = value.get_secret_value().partition(":")[0]
            return json.dumps(f"{scheme}://(hidden)")
        case timedelta():
            return json.dumps(_duration(value))
        case float():
            return (
                json.dumps(_duration(timedelta(seconds=value)))
                if value.is_integer()
                else f"{value}"
            )
        case Path():
            return _text(str(value))
        case tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case Mapping():
            pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case str():
            return _text(value)
    return str(value)


def _text(text: str) -> str:
    """Quote for TOML; JSON's escapes are TOML's, but for DEL and surrogate pairs."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return (
        name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _text(name)
    )


def _duration(value: timedelta) -> str:
    seconds = round(value.total_seconds())
    for unit, length in _UNITS:
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
