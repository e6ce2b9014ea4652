"""Give back what remainders keep, as files: conversations, assets, pieces.

`<account>/conversations/<conversation>/<n>.json` are a conversation's states, the oldest first;
`<account>/assets/<member's name>` are assets, further contents under the same name with a number
before it; `pieces/<object>` is what could not be read as a conversation. Each object is proven by
its name while it is read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from backupd.errors import RepositoryDamaged, UsageError
from backupd.store.fsio import FileSystem
from backupd.store.remainders import KeptAsset, Remainder

Read = Callable[[bytes], bytes]
_UNSAFE = re.compile(r"[^A-Za-z0-9._ ()+@-]")
_LONGEST = 100


def salvage(files: FileSystem, remainders: Iterable[Remainder], read: Read, directory: Path) -> int:
    """Write everything that remainders keep below `directory`, new or empty; return how many files.

    Raises:
        UsageError: the directory holds something.
        RepositoryDamaged: an object cannot be read.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f'restore to "{directory}": it is not an empty directory',
            "name a new directory, or an empty one",
        )
    files.make_directory(directory)
    count = 0
    for place, content in _contents(remainders, read):
        target = directory.joinpath(*place[:-1], place[-1])
        number = 1
        while target.exists():
            number += 1
            target = directory.joinpath(*place[:-1], f"{number}-{place[-1]}")
        for parent in reversed(target.relative_to(directory).parents):
            files.make_directory(directory / parent)
        files.write_file(target, content, target.parent)
        count += 1
    return count


def _contents(
    remainders: Iterable[Remainder], read: Read
) -> Iterator[tuple[tuple[str, ...], Iterable[bytes]]]:
    """Yield (path, content) of each file; states and assets in several remainders come once."""
    numbers: dict[tuple[str, str], int] = {}
    seen: set[tuple[str, ...]] = set()
    for record in (each.record for each in remainders):
        for conversation in record.conversations:
            name = (conversation.account, conversation.id)
            for state in conversation.slices:
                if (*name, state.object) not in seen:
                    seen.add((*name, state.object))
                    numbers[name] = numbers.get(name, 0) + 1
                    place = (_safe(name[0]), "conversations", _safe(name[1]))
                    data = read(bytes.fromhex(state.object))
                    yield (*place, f"{numbers[name]}.json"), [data]
        for asset in record.assets:
            if (asset.account, *asset.objects) not in seen:
                seen.add((asset.account, *asset.objects))
                parts = tuple(map(_safe, PurePosixPath(asset.name).parts))
                yield (_safe(asset.account), "assets", *parts), _asset(asset, read)
        for piece in record.pieces:
            if (piece,) not in seen:
                seen.add((piece,))
                yield ("pieces", piece), [read(bytes.fromhex(piece))]


def _asset(asset: KeptAsset, read: Read) -> Iterator[bytes]:
    chunks = (read(bytes.fromhex(name)) for name in asset.objects)
    if not asset.compressed:
        yield from chunks
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            while chunk:
                yield inflater.decompress(chunk, 1 << 20)
                chunk = inflater.unconsumed_tail
    except zlib.error as error:
        raise RepositoryDamaged(f'restore asset "{asset.name!a}": {error}') from error


def _safe(name: str) -> str:
    """Return a name that is one plain part of a path, whatever an export called it."""
    return _UNSAFE.sub("_", name)[:_LONGEST].lstrip(".") or "unknown"
