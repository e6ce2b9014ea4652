"""The page on the configuration names every key, its table and its default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backupd.config.schema import TABLES, Table, toml_keys
from backupd.config.values import parse_duration, parse_size

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEADINGS = {
    "mailboxes.*": "[mailboxes.NAME]",
    "accounts.*": "[accounts.NAME]",
    "credentials.*": "[credentials.NAME]",
    "notify[]": "[[notify]]",
}


def documented(pattern: str) -> dict[str, str]:
    """Return the keys of one table on the page, with what stands in the column of defaults."""
    heading = HEADINGS.get(pattern, f"[{pattern}]")
    section = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))


@pytest.mark.parametrize(("pattern", "model"), TABLES.items(), ids=list(TABLES))
def test_every_key_is_on_the_page(pattern: str, model: type[Table]) -> None:
    assert tuple(documented(pattern)) == toml_keys(model)


@pytest.mark.parametrize(
    ("pattern", "key", "read"),
    [
        *(("schedule", key, parse_duration) for key in ("poll", "check", "drill", "remind_after")),
        *(("download", key, parse_size) for key in ("max_size", "min_rate")),
        ("download", "session", str),
        *(("mailboxes.*", key, str) for key in ("port", "security", "auth")),
        *(
            ("mailboxes.*", key, lambda text: parse_duration(text).total_seconds())
            for key in ("connect_timeout", "read_timeout")
        ),
        ("notify[]", "min_severity", str),
    ],
)
def test_the_defaults_on_the_page_are_the_defaults(pattern: str, key: str, read: object) -> None:
    text = documented(pattern)[key].strip("`").strip('"')
    default = TABLES[pattern].model_fields[key].default

    assert read(text) == (str(default) if read is str else default)  # type: ignore[operator]


def test_required_keys_are_said_to_be_required() -> None:
    for pattern, model in TABLES.items():
        for key, default in documented(pattern).items():
            field = model.model_fields.get(key)
            if field is not None and field.is_required() and key != "path":
                assert default == "required", f"{pattern}.{key}"
