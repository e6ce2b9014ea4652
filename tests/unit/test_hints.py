"""Whatever a person is refused says what to do next: no error is made without a next step."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import backupd
from backupd.errors import BackupdError

PACKAGE = Path(backupd.__file__).parent
ROOMS = ("store", "catalog", "ledger", "export", "intake", "wiring", "cli")
MODULES = sorted(
    path.relative_to(PACKAGE.parent).with_suffix("")
    for room in ROOMS
    for path in (*PACKAGE.glob(f"{room}.py"), *(PACKAGE / room).rglob("*.py"))
)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_error_has_a_next_step(path: Path) -> None:
    module = importlib.import_module(".".join(path.parts).removesuffix(".__init__"))
    tree = ast.parse((PACKAGE.parent / path).with_suffix(".py").read_text(encoding="utf-8"))

    assert list(without_hint(tree, module)) == []


def without_hint(tree: ast.Module, module: ModuleType) -> Iterator[str]:
    """Yield the constructions of errors that give no hint and whose class has none."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        kind = meant(call.func, module)
        if isinstance(kind, type) and issubclass(kind, BackupdError):
            own = "__init__" in vars(kind) and kind is not BackupdError
            given = len(call.args) > 1 or any(word.arg == "hint" for word in call.keywords)
            if not (given or own or kind.next_step):
                yield f"line {call.lineno}: {ast.unparse(call)}"


def meant(function: ast.expr, module: ModuleType) -> object:
    """What a called name is in its module; None where only running the code could tell."""
    found: object = module
    for name in ast.unparse(function).split("."):
        found = getattr(found, name, None)
    return found


def classes(base: type[BackupdError]) -> Iterator[type[BackupdError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from classes(kind)


def test_a_class_with_words_of_its_own_has_a_next_step() -> None:
    """Those classes are left out above: what they say does not stand where they are raised."""
    mine = [
        kind
        for kind in classes(BackupdError)
        if "__init__" in vars(kind) and kind.__module__.split(".")[1] in ROOMS
    ]

    assert mine
    assert [kind for kind in mine if not kind(*["x"] * arguments(kind)).hint] == []


def arguments(kind: type[BackupdError]) -> int:
    code = kind.__init__.__code__
    return code.co_argcount - 1 - len(kind.__init__.__defaults__ or ())
