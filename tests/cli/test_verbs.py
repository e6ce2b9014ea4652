"""The command line as a person or a script meets it: exit codes, JSON shapes, words on stderr."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from backupd.demo.exports.series import series


def backupd(
    *arguments: str | Path, code: int | None = 0, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed program to its end; `code` None accepts every exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "backupd", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        timeout=120,
        check=False,
    )
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def store(repository: Path, *arguments: str | Path, code: int | None = 0) -> str:
    return backupd("--repository", repository, *arguments, code=code).stdout


@pytest.fixture(scope="module")
def zips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("zips")
    paths = []
    for export in series(seed=3, exports=3, conversations=10):
        export.write(directory / export.file_name)
        paths.append(directory / export.file_name)
    return paths


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, zips: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("place") / "repository"
    store(path, "init")
    store(path, "import", *reversed(zips))
    return path


def test_import_stores_the_oldest_export_first_whatever_the_order(
    repository: Path, zips: list[Path]
) -> None:
    listed = json.loads(store(repository, "snapshots", "--json"))

    assert [entry["file_name"] for entry in listed] == [path.name for path in zips]
    assert listed[0]["conversations"]["new"] == 10
    assert listed[1]["conversations"]["unchanged"] > 0
    assert [entry["received_at"] for entry in listed] == sorted(e["received_at"] for e in listed)


SHAPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "snapshots": {
        "id": str, "account": str, "exported_at": str, "received_at": str, "sha256": str,
        "size": int, "stored_bytes": int, "complete": bool, "conversations": dict,
    },
    "stats": {
        "raw_bytes": int, "stored_bytes": int, "snapshots": int, "conversations": int,
        "versions": int, "objects": int,
    },
    "check": {"snapshots": int, "problems": list, "bytes_read": int, "drilled": list},
}  # fmt: skip


@pytest.mark.parametrize("verb", SHAPES)
def test_json_has_the_promised_fields(repository: Path, verb: str) -> None:
    value: Any = json.loads(store(repository, verb, "--json"))
    first = value[0] if isinstance(value, list) else value

    for name, kind in SHAPES[verb].items():
        assert isinstance(first[name], kind), name


def test_status_and_notices_have_the_promised_fields(tmp_path: Path, zips: list[Path]) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[repository]\npath = "{tmp_path}/repository"\n[state]\npath = "{tmp_path}/state"\n'
    )
    backupd("--config", config, "init")
    backupd("--config", config, "import", zips[0], BACKUPD_JOURNAL="off")

    status = json.loads(backupd("--config", config, "status", "--json", code=None).stdout)
    (notice,) = json.loads(backupd("--config", config, "notices", "--json").stdout)

    assert {
        "state", "mailboxes", "deliveries", "last_export_at", "last_check_at", "last_drill_at",
    } <= status.keys()  # fmt: skip
    assert status["last_check_at"] is None
    assert {"time", "severity", "event", "title", "body", "delivery"} <= notice.keys()
    assert notice["event"] == "stored"


def test_conversation_counts_are_all_there(repository: Path) -> None:
    (first, *_) = json.loads(store(repository, "snapshots", "--json"))

    assert set(first["conversations"]) == {
        "total", "new", "changed", "metadata_changed", "unchanged", "gone",
    }  # fmt: skip


def test_the_same_zip_twice_is_a_no_op_that_is_said(repository: Path, zips: list[Path]) -> None:
    before = json.loads(store(repository, "stats", "--json"))["stored_bytes"]
    done = backupd("--repository", repository, "import", zips[0])

    assert "stored already" in done.stderr
    assert json.loads(store(repository, "stats", "--json"))["stored_bytes"] == before


def test_every_export_comes_back_by_id_prefix_date_and_latest(
    repository: Path, zips: list[Path], tmp_path: Path
) -> None:
    listed = json.loads(store(repository, "snapshots", "--json"))
    selectors = [listed[0]["id"], listed[1]["id"][:10], "latest", listed[0]["exported_at"][:10]]

    for number, (selector, source) in enumerate(
        zip(selectors, [zips[0], zips[1], zips[2], zips[0]], strict=True)
    ):
        target = tmp_path / f"{number}.zip"
        store(repository, "restore", selector, "--output", target)
        assert digest(target) == digest(source), selector


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_restore_into_a_directory_gives_the_members(
    repository: Path, zips: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "members"
    store(repository, "restore", "latest", "--output", f"{target}/")

    with zipfile.ZipFile(zips[2]) as archive:
        for member in archive.infolist():
            assert (target / member.filename).read_bytes() == archive.read(member)


def test_restore_overwrites_nothing(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine.zip"
    target.write_bytes(b"mine")

    backupd("--repository", repository, "restore", "latest", "--output", target, code=2)

    assert target.read_bytes() == b"mine"


def test_damage_is_found_named_and_ends_with_exit_code_30(tmp_path: Path, zips: list[Path]) -> None:
    path = tmp_path / "repository"
    store(path, "init")
    store(path, "import", zips[0])
    (pack,) = (path / "packs").rglob("*.pack")
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 4
    pack.write_bytes(data)

    found = backupd("--repository", path, "check", "--read-data", code=30)
    backupd("--repository", path, "restore", "latest", "--output", tmp_path / "x.zip", code=30)

    assert pack.name[:12] in found.stderr
    assert not (tmp_path / "x.zip").exists()


def test_a_file_that_is_no_zip_is_quarantined_with_its_rule(tmp_path: Path) -> None:
    path, broken = tmp_path / "repository", tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 but nothing else")
    store(path, "init")

    done = backupd("--repository", path, "import", broken, code=3)

    assert "breaks the rule" in done.stderr
    kept = list((path / "quarantine").glob("*.zip"))
    assert [file.read_bytes() for file in kept] == [broken.read_bytes()]
    assert broken.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--repository", "/nonexistent/r", "snapshots"), 10, "there is none"),
        (("--config", "/nonexistent/c.toml", "status"), 2, "/nonexistent/c.toml"),
        (("frobnicate",), 2, "frobnicate"),
        (("status",), 2, "config generate"),
        (("check", "--subset", "9"), 2, "1/7"),
        (("completion", "tcsh"), 2, "bash"),
    ],
)
def test_errors_say_what_and_what_now(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = backupd(*arguments, code=code)

    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_named_configuration_that_is_missing_is_never_passed_over(
    repository: Path, zips: list[Path]
) -> None:
    backupd("--repository", repository, "--config", "/nonexistent.toml", "import", zips[0], code=2)


def test_a_bad_configuration_shows_all_its_problems(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[repository]\npth = "/r"\n[mailboxes.me]\nhost = "h"\nport = "x"\n')

    done = backupd("--config", config, "config", "validate", code=2)

    assert "pth" in done.stderr
    assert "port" in done.stderr
    assert "username" in done.stderr


def test_the_generated_configuration_is_valid_and_shown_without_secrets(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    text = backupd("config", "generate").stdout
    config.write_text(text)

    backupd("--config", config, "config", "validate")
    shown = backupd("--config", config, "config", "show").stdout

    assert "[repository]" in shown


def test_a_second_writer_is_refused_with_exit_code_11(repository: Path, zips: list[Path]) -> None:
    from backupd.store.repository import Repository

    with Repository.open(repository, write=True):
        done = backupd("--repository", repository, "import", zips[0], code=11)

    assert str(os.getpid()) in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str) -> None:
    assert "_BACKUPD_COMPLETE" in backupd("completion", shell).stdout


def test_completion_offers_the_verbs() -> None:
    offered = backupd(
        code=None,
        _BACKUPD_COMPLETE="bash_complete", COMP_WORDS="backupd re", COMP_CWORD="1",
    ).stdout  # fmt: skip

    assert "restore" in offered


def test_nothing_to_see_is_said_on_stderr_only(tmp_path: Path) -> None:
    path = tmp_path / "repository"
    store(path, "init")

    done = backupd("--repository", path, "snapshots")

    assert done.stdout == ""
    assert "no snapshots yet" in done.stderr
    assert json.loads(store(path, "snapshots", "--json")) == []


def test_init_refuses_a_place_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    backupd("--repository", tmp_path, "init", code=1)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_stdout_that_is_closed_early_is_no_error(repository: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "backupd", "--repository", str(repository), "snapshots"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stderr
    process.stdout.close()

    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(30)
