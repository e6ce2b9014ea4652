"""The development script and its lock file: complete, pinned, hashed, and quiet about hosts."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", LOCK)
}


@pytest.fixture(scope="module")
def dev() -> ModuleType:
    loader = SourceFileLoader("backupd_dev", str(ROOT / "dev"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    found = [Requirement(text) for one in lists for text in one]
    return [one for one in found if one.name != project["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda one: one.name)
def test_lock_satisfies_every_requirement(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_every_pin_has_hashes() -> None:
    blocks = re.split(r"(?m)^(?=[\w.-]+==)", LOCK)[1:]

    assert len(blocks) == len(PINS)
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_lock_names_no_host() -> None:
    assert re.findall(r"https?://|index-url|find-links|file:", LOCK) == []


def test_script_can_install_every_program_that_a_test_needs(dev: ModuleType) -> None:
    named = {
        argument.value
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "needs"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }

    assert named
    assert named <= dev.TEST_TOOLS.keys()


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["tset"], 2)])
def test_usage_names_every_command(arguments: list[str], code: int, dev: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "dev", *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    shown = done.stdout if code == 0 else done.stderr
    assert {name for name in dev.COMMANDS if f"./dev {name} " not in shown} == set()


def test_script_finds_its_python_without_any_environment() -> None:
    """As `/usr/bin/env python3` starts it without PATH, Python does not know its own name."""
    probe = (
        "import sys; from importlib.machinery import SourceFileLoader as Loader;"
        f"dev = Loader('dev', {str(ROOT / 'dev')!r}).load_module();"
        "print(repr(sys.executable), dev.interpreter(), dev.find('sh'))"
    )
    done = subprocess.run(
        ["python3", "-W", "ignore", "-c", probe],
        executable=os.path.realpath(sys.executable),
        env={},
        capture_output=True,
        text=True,
        check=True,
    )

    known, python, shell = done.stdout.split()
    assert known == "''"
    assert Path(python).is_file()
    assert Path(shell).is_file()


def test_environment_is_freed_of_what_would_disturb(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONPATH", "PIP_TARGET", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("PATH", raising=False)

    environment = dev.environment()

    assert {"PYTHONPATH", "PIP_TARGET", "VIRTUAL_ENV"}.isdisjoint(environment)
    assert environment["HOME"] == os.path.expanduser("~")
    assert "/usr/bin" in environment["PATH"].split(":")
    assert dev.find("sh") is not None
