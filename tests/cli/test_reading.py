"""`search`, `show`, `history`, `diff`: what a person reads and what a script gets.

In this process: a program of its own for each question would take most of the time.
"""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from backupd.cli.app import run
from tests.support.conversations import root, talk, turn
from tests.support.terminal import Terminal

ACCOUNT = "a" * 64
HOSTILE = "red \x1b[31m and \u202ereversed\u202c and \x9b2J, family 👩‍👧"


def asked(repository: Path, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
    """Run the program; return what it wrote to stdout and to stderr."""
    # The program sets these as it likes them.
    mask, log = os.umask(0o077), logging.getLogger("backupd")
    level = log.level
    try:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            found = run(["--repository", str(repository), *map(str, arguments)])
    finally:
        os.umask(mask)
        log.setLevel(level)
    assert found == code, (out.getvalue(), err.getvalue())
    return out.getvalue(), err.getvalue()


def store(repository: Path, *arguments: str | Path) -> str:
    return asked(repository, *arguments)[0]


def zipped(path: Path, *talks: bytes) -> Path:
    """Write an export of the 2023 kind."""
    with io.BytesIO() as target, zipfile.ZipFile(target, "w") as archive:
        archive.writestr("user.json", b'{"id": "user-abc", "email": "a@example.org"}')
        archive.writestr("conversations.json", b"[" + b", ".join(talks) + b"]")
        archive.writestr("chat.html", b"<html></html>")
        archive.close()
        path.write_bytes(target.getvalue())
    return path


def pears(name: str = "aaaa-1", *, edited: bool = False, more: bool = False) -> bytes:
    nodes = [root(), turn("q", "root", "What about pears?")]
    answer = "Plums are better.\nMuch better." if edited else "Pears are fine.\nMuch better."
    nodes.append(turn("a", "q", answer, "assistant", metadata={"model_slug": "gpt-4"}))
    if more:
        nodes.append(turn("q2", "root", "What about quinces?", create_time=1_700_000_050.0))
        nodes.append(turn("a2", "q2", "Quinces, well.", "assistant", create_time=1_700_000_060.0))
    return talk(*nodes, name=name, title="About fruit")


def weeks(directory: Path) -> list[Path]:
    others = [talk(root(), turn(f"t{n}", "root", "filler"), name=f"bbbb-{n}") for n in range(4)]
    hostile = talk(root(), turn("h", "root", HOSTILE), name="cccc-1", title="A \x1b]0;title\x07")
    gone = talk(root(), turn("g", "root", "about ephemera"), name="dddd-1", title="Short-lived")
    files = [directory / f"{ACCOUNT}-2025-10-{day}-09-00-00.zip" for day in ("05", "12", "19")]
    return [
        zipped(files[0], pears(), hostile, gone, *others),
        zipped(files[1], pears(edited=True), hostile, *others),
        zipped(files[2], pears(edited=True, more=True), hostile, *others),
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reading")
    store(directory / "r", "init")
    store(directory / "r", "import", *weeks(directory))
    return directory / "r"


@pytest.fixture(scope="module")
def snapshots(repository: Path) -> list[str]:
    return [one["id"] for one in told(repository, "snapshots")]


def told(repository: Path, *arguments: str) -> Any:
    return json.loads(store(repository, *arguments, "--json"))


def refused(repository: Path, *arguments: str) -> str:
    return asked(repository, *arguments, code=2)[1]


def test_search_tells_scripts_and_people(repository: Path, snapshots: list[str]) -> None:
    (hit,) = told(repository, "search", "quinces", "well")["hits"]

    assert {name: hit[name] for name in ("conversation_id", "message_id", "role", "gone")} == {
        "conversation_id": "aaaa-1", "message_id": "a2", "role": "assistant", "gone": False,
    }  # fmt: skip
    assert (hit["first_snapshot"], hit["last_snapshot"]) == (snapshots[2], snapshots[2])
    assert (hit["title"], hit["snippet"]) == ("About fruit", "Quinces, well.")
    text = store(repository, "search", "quinces well")
    assert "About fruit" in text
    assert "Quinces, well." in text


def test_search_finds_what_is_gone_and_what_was_edited_away(
    repository: Path, snapshots: list[str]
) -> None:
    (gone,) = told(repository, "search", "ephemera", "--gone")["hits"]
    assert (gone["gone"], gone["last_snapshot"]) == (True, snapshots[0])
    assert told(repository, "search", "--role", "assistant", "pears")["hits"] == []
    (old,) = told(repository, "search", "--all-versions", "pears fine")["hits"]
    assert (old["current"], old["last_snapshot"]) == (False, snapshots[0])
    assert "only in older versions" in store(repository, "search", "--all-versions", "pears fine")


def test_search_that_finds_nothing_says_where_else_to_look(repository: Path) -> None:
    out, err = asked(repository, "search", "nowhere")

    assert out == ""
    assert "--all-versions" in err
    assert "quotation mark" in refused(repository, "search", '"open')
    assert "no date" in refused(repository, "search", "pears", "--since", "soon")


def test_dates_are_days_and_both_ends_count(repository: Path) -> None:
    def number(*options: str) -> int:
        return len(told(repository, "search", "filler", *options)["hits"])

    assert number("--since", "2023-11-14", "--until", "2023-11-15") == 4
    assert number("--since", "2023-11-17") == number("--until", "2023-11-11") == 0


def test_show_reads_any_version_branch_and_format(repository: Path, snapshots: list[str]) -> None:
    newest = store(repository, "show", "aaaa")
    assert "Quinces, well." in newest
    assert "Plums" not in newest
    assert "branch 2 of 2" in newest
    assert "Plums are better." in store(repository, "show", "aaaa-1", "--branch", "1")
    assert "Pears are fine." in store(repository, "show", "aaaa-1", "--version", "1")
    assert "Pears are fine." in store(repository, "show", "aaaa-1", "--at", snapshots[0])
    page = store(repository, "show", "aaaa-1", "--version", "2", "--format", "markdown")
    assert page.startswith("# About fruit\n\n## You")
    value = told(repository, "show", "aaaa-1")
    assert (value["path"], value["branch"], len(value["branches"])) == (["q2", "a2"], 2, 2)
    assert {one["message_id"]: one["text"] for one in value["turns"]}["a2"] == "Quinces, well."


def test_history_and_gone(repository: Path, snapshots: list[str]) -> None:
    value = told(repository, "history", "aaaa-1")
    spans = [(v["number"], v["first_snapshot"], v["last_snapshot"]) for v in value["versions"]]

    assert spans == [(n, name, name) for n, name in enumerate(snapshots, 1)]
    assert [v["turns"] for v in value["versions"]] == [2, 2, 4]
    assert [v["change"] for v in value["versions"]] == ["new", "changed", "changed"]
    assert (value["title"], value["gone_since"]) == ("About fruit", None)
    text = store(repository, "history", "aaaa-1")
    assert "1 turn edited" in text
    assert "2 turns added" in text
    gone = told(repository, "history", "dddd")
    assert (gone["gone_since"], gone["gone_since_snapshot"]) == (
        "2025-10-12T09:00:00+00:00", snapshots[1],
    )  # fmt: skip
    assert "gone upstream since" in store(repository, "history", "dddd")


def test_diff_of_versions(repository: Path) -> None:
    edited = told(repository, "diff", "aaaa-1", "1", "2")
    assert [pair["after"]["message_id"] for pair in edited["edited"]] == ["a"]
    assert edited["added"] == edited["removed"] == edited["branches"] == []
    grown = told(repository, "diff", "aaaa-1@2", "aaaa-1@3")
    assert [one["message_id"] for one in grown["added"]] == ["q2", "a2"]
    assert grown["branches"] == ["q2"]
    back = told(repository, "diff", "aaaa-1@3", "aaaa-1@2")
    assert [one["message_id"] for one in back["removed"]] == ["q2", "a2"]
    text = store(repository, "diff", "aaaa-1", "1", "2")
    assert "-Pears are fine." in text
    assert "+Plums are better." in text
    assert "Much better" in text
    assert "a new branch" in store(repository, "diff", "aaaa-1", "2", "3")
    assert "every turn is the same" in store(repository, "diff", "aaaa-1", "2", "2")


def test_diff_of_snapshots(repository: Path, snapshots: list[str]) -> None:
    value = told(repository, "diff", snapshots[0], "latest")

    assert [one["conversation_id"] for one in value["changed"]] == ["aaaa-1"]
    assert [one["conversation_id"] for one in value["gone"]] == ["dddd-1"]
    assert value["new"] == value["metadata_changed"] == []
    back = told(repository, "diff", "latest", snapshots[0])
    assert [one["conversation_id"] for one in back["new"]] == ["dddd-1"]
    assert "- dddd-1  Short-lived" in store(repository, "diff", snapshots[0], "latest")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "bbbb"), "4 ids begin so"),
        (("show", "FRUIT"), 'aaaa-1 "About fruit"'),
        (("show", "nothing"), "backupd search"),
        (("show", "aaaa", "--version", "9"), "it has 3"),
        (("show", "aaaa", "--branch", "9"), "choose from 1 to 2"),
        (("show", "dddd", "--at", "latest"), "does not have it"),
        (("show", "aaaa", "--at", "latest", "--version", "1"), "two things"),
        (("diff", "aaaa@1", "dddd@1"), "one conversation"),
        (("diff", "aaaa@1", "latest"), "one conversation"),
        (("diff", "aaaa"), "neither two snapshots"),
    ],
)
def test_what_is_not_there_is_said_with_what_comes_near(
    repository: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(repository, *arguments)


@pytest.mark.parametrize(
    "line", ["show cccc", "search reversed", "search title", "history cccc", "diff cccc 1 1"]
)
def test_chat_text_does_not_steer_the_terminal(repository: Path, line: str) -> None:
    text = store(repository, *line.split())

    assert not set(text) & set("\x1b\x9b\x07\u202e\u202c")
    assert "\\x1b" in text


def test_a_family_of_emoji_stays_one(repository: Path) -> None:
    assert "👩‍👧" in store(repository, "show", "cccc")


def test_markdown_on_a_terminal_is_harmless_and_in_a_file_exact(repository: Path) -> None:
    assert HOSTILE in store(repository, "show", "cccc", "--format", "markdown")
    terminal = Terminal("--repository", repository, "show", "cccc", "--format", "markdown")
    assert terminal.ended() == 0

    assert "\\u202e" in terminal.seen
    assert "\u202e" not in terminal.seen


def test_long_output_goes_through_the_pager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [root()]
    for number in range(40):
        nodes.append(turn(f"t{number}", nodes[-1]["id"], f"turn number {number}"))
    store(tmp_path / "r", "init")
    store(tmp_path / "r", "import", zipped(tmp_path / "x.zip", talk(*nodes, name="long")))
    pager = tmp_path / "bin" / "less"
    pager.parent.mkdir()
    pager.write_text('#!/bin/sh\necho "paged"; cat\n')
    pager.chmod(0o755)
    monkeypatch.setenv("PATH", f"{pager.parent}:{os.environ['PATH']}")
    terminal = Terminal("--repository", tmp_path / "r", "show", "long", kind="xterm")

    assert terminal.ended() == 0
    assert "paged" in terminal.seen
    assert "turn number 39" in terminal.seen
