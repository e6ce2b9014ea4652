"""Any bytes as a configuration file: settings or a ConfigError, nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from backupd import config
from backupd.config.schema import TABLES, toml_keys
from backupd.config.values import parse_duration, parse_size
from backupd.errors import ConfigError
from tests.support import FULL

EXAMPLES = 2000 if FULL else 150

SCALARS = st.one_of(
    st.integers().map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.sampled_from(['"x"', '""', "[]", '["a"]', "{}", "{ a = 1 }", "1.5", "nan", "1979-05-27"]),
    st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: f'"{text}"'),
)
KEYS = st.sampled_from(sorted({key for table in TABLES.values() for key in toml_keys(table)}))
HEADERS = st.sampled_from(
    [f"[{name}]" for name in ("repository", "state", "download", "heartbeat", "schedule", "notify")]
)
GROUPS = st.sampled_from(
    ["[mailboxes]", "[mailboxes.a]", "[mailboxes.'..']", "[accounts.a]", "[[notify]]"]
)
LINES = st.one_of(HEADERS, GROUPS, st.builds("{} = {}".format, KEYS, SCALARS))


def attempt(raw: bytes) -> None:
    """Load `raw`: settings that can be shown and read again, or problems placed in the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "c.toml"
        path.write_bytes(raw)
        loaded = outcome(path)
        if isinstance(loaded, ConfigError):
            assert loaded.problems
            assert all(problem.startswith(str(path)) for problem in loaded.problems)
            assert all("\n" not in problem for problem in loaded.problems)
            return
        config.cautions(loaded)
        path.write_text(config.show(loaded), "utf-8")
        hidden = {"notify", "heartbeat"}
        again = config.load(path, {})
        assert again.model_dump(exclude=hidden) == loaded.model_dump(exclude=hidden)


def outcome(path: Path) -> config.Settings | ConfigError:
    """Return what loading gives, or the one error it may raise."""
    try:
        return config.load(path, {})
    except ConfigError as error:
        return error


def refusal(parse: Callable[[object], object], text: str) -> str:
    """Return why `parse` refuses `text`, empty if it does not."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    attempt(raw)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_any_lines_of_known_keys(lines: list[str]) -> None:
    attempt("\n".join(lines).encode("utf-8", "surrogatepass"))


def test_deep_nesting_and_huge_numbers_are_problems_not_crashes() -> None:
    attempt(b"a = " + b"[" * 4000)
    attempt(b"a = " + b"9" * 4000)
    attempt(b"a" + b".a" * 2000 + b" = 1")
    attempt(b"a" + b".a" * 50_000 + b" = 1")
    attempt(b"\n".join(b"a = " + b"[" * 4000 for _ in range(60)))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=20))
def test_value_parsers_raise_only_value_errors(text: str) -> None:
    for parse in (parse_duration, parse_size):
        assert refusal(parse, text).partition(" be ")[0] in ("", "must")
