"""Small accounts for the tests of retention, and processes that end in the middle of it."""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backupd.store.repository import Added, Origin, Repository
from backupd.store.retention import Policy
from tests.support.conversations import root, talk, turn
from tests.support.operations import PLAIN, RepositoryKind
from tests.support.storing import Fault, FaultyFs

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
START = datetime(2026, 1, 4, 9, 30, tzinfo=UTC)
LAST = Policy(last=1)


def spoken(name: str, *words: str, shows: Iterable[str] = ()) -> bytes:
    """Return a conversation: one turn for each of `words`; the last one shows some assets."""
    nodes = [root(f"{name}-root")]
    for number, text in enumerate(words):
        long = " ".join(random.Random(text).choices(_WORDS, k=80))
        nodes.append(turn(f"{name}-{number}", nodes[-1]["id"], f"{text} {long}"))
    parts = [
        {"content_type": "image_asset_pointer", "asset_pointer": f"sediment://{asset}"}
        for asset in shows
    ]
    if parts:
        nodes[-1]["message"]["content"] = {
            "content_type": "multimodal_text",
            "parts": [*parts, "look"],
        }
    return talk(*nodes, name=name)


_WORDS = (
    "old",
    "stone",
    "walls",
    "keep",
    "their",
    "secrets",
    "quick",
    "brown",
    "fox",
    "slow",
    "river",
)


def export(
    talks: Iterable[bytes],
    members: Mapping[str, bytes] | None = None,
    *,
    week: int = 0,
    user: str = "user-abc",
) -> bytes:
    """Make an export ZIP of these conversations and other members."""
    target = io.BytesIO()
    moment = START + timedelta(weeks=week)
    with zipfile.ZipFile(target, "w") as archive:
        files = {
            "user.json": json.dumps({"id": user}).encode(),
            "conversations.json": b"[" + b", ".join(talks) + b"]",
            **(members or {}),
        }
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (*moment.timetuple()[:5], 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target.getvalue()


def put(repository: Repository, directory: Path, data: bytes, week: int) -> Added:
    """Add an export that was received in a week."""
    path = directory / f"week-{week}.zip"
    path.write_bytes(data)
    origin = Origin(path.name, START + timedelta(weeks=week), "import")
    return repository.add(path, origin)


def noise(seed: int, size: int = 20_000) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def week(number: int) -> bytes:
    """Make a week of an account where something of everything happens.

    Two conversations grow every week, one lasts two weeks only and shows a picture, another
    picture is shown by nobody.
    """
    talks = [spoken(f"stays-{n}", "hello", "again") for n in range(6)]
    talks += [spoken(f"grows-{n}", *(f"turn {n}.{i}" for i in range(number + 1))) for n in (1, 2)]
    members = {f"file-Orphan{number}-p.png": noise(1000 + number)}
    for brief in (number - 1, number):
        if brief >= 0:
            picture = f"file-Brief{brief}"
            talks.append(spoken(f"brief-{brief}", "once", f"in {brief}", shows=[picture]))
            members[f"{picture}-photo.png"] = noise(brief, 3000)
    return export(talks, members, week=number)


def slices_of_week(number: int) -> dict[str, bytes]:
    """Return the conversations of `week` by id, as bytes."""
    with zipfile.ZipFile(io.BytesIO(week(number))) as archive:
        whole = archive.read("conversations.json").decode()
    return {item["id"]: json.dumps(item).encode() for item in json.loads(whole)}


def weeks(place: Path, count: int, kind: RepositoryKind = PLAIN) -> Path:
    """Make a closed repository that holds the first weeks."""
    with kind.create(place / "repository", None) as repository:
        for number in range(count):
            put(repository, place, week(number), number)
    return place / "repository"


def forget(repository: Repository, policy: Policy = LAST) -> None:
    """Forget by a policy."""
    repository.keeping.forget(repository.keeping.plan_forget(policy, NOW))


def prune(repository: Repository) -> None:
    """Prune."""
    repository.keeping.prune()


Action = Callable[[Repository], None]


def _act_in_child(kind: RepositoryKind, place: Path, fault: Fault, action: Action) -> None:
    with kind.open(place, False, FaultyFs(fault)) as repository:
        action(repository)


def killed(kind: RepositoryKind, place: Path, fault: Fault, action: Action) -> int | None:
    """Act in a process of its own that ends where `fault` says; return its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backupd.store.repository", __name__])
    child = context.Process(target=_act_in_child, args=(kind, place, fault, action))
    child.start()
    child.join(60)
    code = child.exitcode
    child.close()
    return code


def pack_bytes(place: Path) -> int:
    """Return the size of all packs."""
    return sum(path.stat().st_size for path in place.rglob("*.pack"))
