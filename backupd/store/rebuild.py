"""Turn a recipe back into the bytes of the export, or into its members' contents. Streams."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from backupd.errors import RepositoryDamaged
from backupd.export import deflate
from backupd.store import derive
from backupd.store.recipe import Begin, Coding, Derived, End, Event, Raw, Recipe, Ref

Read = Callable[[bytes], bytes]


def rebuild(recipe: Recipe, read: Read) -> Iterator[bytes]:
    """Yield the export's bytes in order.

    Raises:
        RepositoryDamaged: an object cannot be read, or the recipe is broken.
    """
    return content(recipe.events(), read)


def member_contents(recipe: Recipe, read: Read) -> Iterator[tuple[Begin, Iterator[bytes]]]:
    """Yield each outer member with its inflated content; take a content before the next member.

    Works without deflate for all but members that are archives themselves.
    """
    events = recipe.events()
    for event in events:
        if isinstance(event, Begin):
            inside = content(events, read)
            if event.coding is Coding.STREAM:
                inside = _inflate(inside)
            yield event, inside
            for _ in inside:
                pass


def content(events: Iterator[Event], read: Read) -> Iterator[bytes]:
    """Yield the bytes up to the `End` that closes this level."""
    for event in events:
        match event:
            case Raw(data):
                yield data
            case Ref(name):
                yield read(name)
            case Derived(name, transform):
                yield _derived(name, transform, read)
            case Begin(_, Coding.DEFLATED, encoder) if encoder is not None:
                yield from deflate.encode(content(events, read), encoder)
            case Begin():
                yield from content(events, read)
            case End():
                return


def _derived(name: bytes, transform: int, read: Read) -> bytes:
    try:
        return derive.apply(transform, read(name))
    except KeyError as error:
        raise RepositoryDamaged(
            f"rebuild: unknown transform {transform}",
            "upgrade backupd: a newer one may have written this; else run check --read-data",
        ) from error


def _inflate(stream: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in stream:
        while chunk:
            yield inflater.decompress(chunk, 1 << 20)
            chunk = inflater.unconsumed_tail
