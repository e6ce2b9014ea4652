"""The shape of the code: who may import whom, who owns which library, how large things grow.

A new edge between rooms is a decision: make it here, where a reader sees it, or do without it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "backupd"
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef

# Each room and what it may import, besides itself; only rooms that stand above it can appear.
# A dotted name allows that one module.
ROOMS: dict[str, str] = {
    "errors": "",
    # the pure core
    "export": "errors",
    "notice": "errors",
    "providers": "",
    # the edges
    "systemd": "errors",
    "config": "errors providers",
    "credentials": "errors config",
    "mail": "errors config",
    "download": "errors export mail.gate mail.link",
    "oauth": "errors config providers download.form download.terms",
    "store": "errors export",
    "catalog": "errors export",
    "ledger": "errors notice",
    "notify": "errors config notice ledger",
    # operations
    "intake": "errors export notice config credentials mail download oauth store catalog ledger "
    "notify",
    # entry points
    "wiring": "errors notice config credentials store catalog ledger notify intake",
    "daemon": "errors export.selftest notice systemd config credentials mail ledger intake wiring",
    "demo": "errors export notice mail download",
    "cli": "errors export notice config credentials store catalog ledger notify intake wiring "
    "daemon demo",
    "__main__": "cli",
}

# Rooms that hold both a pure part and an edge: the modules that may do no I/O.
PURE = (
    "export",
    "notice",
    "providers",
    "mail.cursor",
    "mail.gate",
    "mail.hosts",
    "mail.link",
    "mail.message",
    "mail.mime",
    "mail.proof",
    "download.headers",
    "mail.results",
    "mail.signature",
    "download.plan",
    "download.session",
    "oauth.messages",
)
DOES_IO = {
    "asyncio",
    "ctypes",
    "fcntl",
    "http",
    "imaplib",
    "logging",
    "mmap",
    "multiprocessing",
    "pathlib",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
}
HARMLESS = ("os.SEEK_CUR", "os.SEEK_END", "os.SEEK_SET", "pathlib.PurePosixPath")

# Which rooms may name a library; a library that is not listed here may not be imported at all.
OWNERS: dict[str, str] = {
    "apprise": "notify",
    "apscheduler": "daemon",
    "backports": "store",
    "click": "cli",
    "compression": "store",
    "cryptography": "store credentials",
    "deflate": "export",
    "dkim": "mail",
    "dns": "mail",
    "httpcore": "download",
    "httpx": "download",
    "imapclient": "mail",
    "imaplib": "mail",
    "isal": "export",
    "keyring": "credentials",
    "msgspec": "export download store catalog",
    "platformdirs": "config",
    "playwright": "download",
    "proxyprotocol": "demo",
    "pydantic": "config",
    "pydantic_core": "config",
    "pymap": "demo",
    "pysasl": "demo",
    "rich": "cli",
    "sqlite3": "store catalog ledger",
    "trustme": "demo",
    "zipfile": "demo",
    "zlib_ng": "export",
}

# Everybody else is handed `now`.
READS_THE_CLOCK = frozenset({"wiring", "daemon", "cli", "demo"})


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package, by dotted name below it, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def room(module: str) -> str:
    return module.split(".")[0]


def imported(tree: ast.Module) -> Iterator[str]:
    """Absolute dotted names that a module imports, also inside functions and for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(tree: ast.Module) -> Iterator[str]:
    """What a module imports of this package, as names below it; the version is anybody's."""
    for name in imported(tree):
        if name.startswith("backupd.") and name != "backupd.__version__":
            yield name.removeprefix("backupd.")


def test_table_runs_one_way() -> None:
    above: set[str] = set()
    for name, allowed in ROOMS.items():
        assert {room(target) for target in allowed.split()} <= above, name
        above.add(name)


def is_allowed(importer: str, target: str) -> bool:
    allowed = ROOMS.get(importer, "").split()
    return any(target == name or target.startswith(name + ".") for name in allowed)


def test_rooms_import_only_what_the_table_allows() -> None:
    edges = {
        f"{module} imports {target}"
        for module, tree in modules().items()
        if module
        for target in own(tree)
        if room(target) != room(module) and not is_allowed(room(module), target)
    }

    assert sorted(edges) == []


def test_every_module_has_a_room() -> None:
    assert {room(module) for module in modules() if module} <= ROOMS.keys()


def is_pure(module: str) -> bool:
    return any(module == name or module.startswith(name + ".") for name in PURE)


def test_pure_core_does_no_io() -> None:
    edges = set()
    for module, tree in modules().items():
        if is_pure(module):
            for name in imported(tree):
                if {name, name.rpartition(".")[0]} & DOES_IO and name not in HARMLESS:
                    edges.add(f"{module} imports {name}")
            used = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            for name in used:
                if name.startswith("os.") and name not in HARMLESS:
                    edges.add(f"{module} uses {name}")
            for target in own(tree):
                if room(target) != "errors" and not is_pure(target):
                    edges.add(f"{module} imports {target}")

    assert sorted(edges) == []


def test_every_library_has_its_owner() -> None:
    edges = {
        f"{module} imports {top}"
        for module, tree in modules().items()
        for top in {name.split(".")[0] for name in imported(tree)}
        if top != "backupd"
        and room(module) not in OWNERS.get(top, "").split()
        and not (top in sys.stdlib_module_names and top not in OWNERS)
    }

    assert sorted(edges) == []


def test_only_the_rim_reads_the_clock() -> None:
    reading = {
        f"{module}:{node.lineno}"
        for module, tree in modules().items()
        if room(module) not in READS_THE_CLOCK
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func)
        in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time")
    }

    assert sorted(reading) == []


def test_modules_stay_small() -> None:
    large = {
        f"{path.relative_to(PACKAGE)}: {lines} lines"
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }

    assert sorted(large) == []


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, FUNCTION))


def test_functions_stay_small() -> None:
    large = {
        f"{module}.{node.name}: {lines} lines"
        for module, tree in modules().items()
        for node in functions(tree)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    }

    assert sorted(large) == []


def public(tree: ast.Module) -> Iterator[tuple[str, FUNCTION | ast.ClassDef]]:
    """Public classes and functions of a module and public methods of its classes, with names.

    A property that a protocol merely asks for explains itself by its name and type.
    """
    for node in tree.body:
        if not isinstance(node, FUNCTION | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            asked_for = "Protocol" in map(ast.unparse, node.bases)
            for item in node.body:
                if not isinstance(item, FUNCTION) or item.name.startswith("_"):
                    continue
                if not (asked_for and item.decorator_list):
                    yield f"{node.name}.{item.name}", item


def test_everything_public_says_what_it_does() -> None:
    silent = [module for module, tree in modules().items() if not ast.get_docstring(tree)]
    silent += [
        f"{module}.{name}"
        for module, tree in modules().items()
        for name, node in public(tree)
        if not ast.get_docstring(node)
    ]

    assert silent == []
