"""The documents tell the truth: verbs, flags, exit codes and keys are there, commands exist."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from backupd.cli.app import cli
from backupd.config import example_text, load
from backupd.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def verbs(group: click.Group, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command without commands of its own, by its full name."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, name
            if isinstance(command, click.Group):
                yield from verbs(command, (*prefix, name))
            else:
                yield " ".join((*prefix, name)), command


def flags(command: click.Command) -> set[str]:
    """The option names of a command."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


NONE = click.Context(cli)
VERBS = dict(verbs(cli))


@pytest.mark.parametrize("verb", VERBS)
def test_verb_and_its_flags_are_documented(verb: str) -> None:
    paragraphs = text(DOCS / "commands.md").split("\n\n")

    about = [part for part in paragraphs if re.search(rf"`{verb}[` ]", part)]

    assert about, f"docs/commands.md does not describe {verb}"
    missing = {flag for flag in flags(VERBS[verb]) if not any(flag in part for part in about)}
    assert missing == set()


def test_global_flags_are_documented() -> None:
    page = text(DOCS / "commands.md")

    assert {flag for flag in flags(cli) if f"`{flag}" not in page} == set()


def test_exit_codes_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", text(DOCS / "exit-codes.md"), re.MULTILINE)

    assert [(int(code), name) for code, name in rows] == [(code, code.name) for code in ExitCode]


def test_every_key_of_the_example_is_documented() -> None:
    """That the example is complete is the configuration's own test."""
    named = set(re.findall(r"(?m)^#?([a-z_]+) = ", example_text()))
    page = text(DOCS / "configuration.md")

    assert {key for key in named if not re.search(rf"\b{key}\b", page)} == set()


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every `backupd …` line of an indented block, whatever runs it."""
    for line in re.findall(r"(?m)^ {4}(.*\bbackupd .*)$", text(page).replace("\\\n", " ")):
        words = shlex.split(re.split(" [>|] ?", line)[0], comments=True)
        for position, word in enumerate(words):
            if word in ("backupd", "/opt/backupd/venv/bin/backupd") and is_run(words[:position]):
                yield words[position + 1 :]


def is_run(before: list[str]) -> bool:
    """Say whether a word `backupd` after these words is the program, not a user or a unit."""
    return not before or before[-1] == "--" or before[0] == "systemd-run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documents_exist(page: Path) -> None:
    for words in commands(page):
        if words[0] == "[--config":
            continue  # the synopsis
        shown = f"{page.name}: backupd {' '.join(words)}"
        start = next((i for i, word in enumerate(words) if word in cli.list_commands(NONE)), None)
        assert start is not None, shown
        name = next(
            (n for n in (" ".join(words[start : start + 2]), words[start]) if n in VERBS), ""
        )
        assert name, shown
        assert options(words[:start]) <= flags(cli), shown
        assert options(words[start:]) <= flags(VERBS[name]), shown


def options(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("-")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dev_commands_in_the_documents_exist(page: Path) -> None:
    script = ast.parse(text(ROOT / "dev"))
    table = next(
        node.value
        for node in script.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS"
    )
    assert isinstance(table, ast.Dict)
    known = {key.value for key in table.keys if isinstance(key, ast.Constant)}

    assert set(re.findall(r"\./dev (\w+)", text(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page)):
        assert (page.parent / target).is_file(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text(page)):
        headings = re.findall(r"(?m)^#+ (.*)$", text(page.parent / target if target else page))
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
        assert anchor in anchors, f"{page.name} links to {target}#{anchor}"


def test_configuration_in_the_installation_guide_is_valid(tmp_path: Path) -> None:
    block = re.search(r"(?s)<<'TOML'\n(.*?)\n    TOML", text(DOCS / "install.md"))
    assert block
    toml = re.sub(r"(?m)^ {4}", "", block[1])
    tomllib.loads(toml)
    (tmp_path / "config.toml").write_text(toml)

    settings = load(tmp_path / "config.toml")

    assert list(settings.mailboxes) == ["personal"]
    assert len(toml.splitlines()) <= 10
