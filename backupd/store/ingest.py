"""Turn one ZIP into objects and the events of its recipe, streaming.

Conversations files are read in step with `chat.html`, which is made from their pieces wherever that
gives back its bytes: the same conversation comes at about the same time in both. What cannot be cut
is kept as chunks; a stream that no known encoder gives back is kept as it is, compressed. An
archive inside the archive is unpacked to a file of its own and handled the same way, one level
deep.

Nothing here proves that the recipe is right: whoever stores it rebuilds the export and compares.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from backupd.errors import RepositoryDamaged
from backupd.export import slices
from backupd.export.archive import (
    DEFLATED,
    Archive,
    ArchiveRefused,
    Member,
    read_member,
    read_range,
    read_raw,
    scan,
    verify,
)
from backupd.export.deflate import Encoder, Search
from backupd.export.layout import MemberKind, kind_of
from backupd.store import derive
from backupd.store.fsio import FileSystem, NewFile, temporary
from backupd.store.hints import Page
from backupd.store.memo import Memo, stream_name
from backupd.store.naming import Kind, key_of
from backupd.store.prefetch import prefetched
from backupd.store.received import again
from backupd.store.recipe import Begin, Coding, Derived, End, Event, Raw, Ref
from backupd.store.writer import ObjectWriter

CHUNK_BYTES = 4 << 20
_INLINE = 1 << 10
_LARGE = 1 << 20
_RECENT_BYTES = 8 << 20
_SKELETON_INLINE = 16 << 20
_FREE_SLICES = 10_000
_BYTES_PER_SLICE = 512

Step = Callable[[int], None]


class Ingest:
    """Stores the pieces of one export. Without a `memo` nothing is taken over from earlier exports
    and every encoder is proved in full first.

    `streams` names the stream of each outer member, in their order; `pages` are the pieces of
    `chat.html` that a transform was found for.
    """

    def __init__(
        self, writer: ObjectWriter, memo: Memo | None, files: FileSystem, staging: Path
    ) -> None:
        self.streams: list[bytes] = []
        self.pages: list[Page] = []
        self._writer = writer
        self._memo = memo
        self._files = files
        self._staging = staging
        self._following = memo.following() if memo else None
        self._pages = memo.pages(self._conversation) if memo else None
        self._conversation_order: list[bytes] = []
        self._siblings: dict[bytes, int] = {}
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()
        self._recent_size = 0
        self._coming: deque[Generator[None, None, None]] = deque()
        self._search = Search()
        self._inline = _SKELETON_INLINE

    def archive(self, file: BinaryIO, archive: Archive, step: Step) -> list[Event]:
        """Store an archive; `step` is told the bytes of the ZIP that were dealt with."""
        try:
            return self._archive(file, archive, step, inner=False)
        finally:
            for work in self._coming:
                work.close()
            self._pages = None  # it knows this object: nothing would free its memory soon
            self._recent.clear()

    def whole(self, chunks: Iterable[bytes]) -> list[Event]:
        """Store a file as it is, in chunks."""
        return list(self._chunks(Kind.WHOLE, chunks, ""))

    def _archive(self, file: BinaryIO, archive: Archive, step: Step, *, inner: bool) -> list[Event]:
        made: dict[int, list[Event]] = {}
        if not inner:
            self.streams = [b""] * len(archive.members)
        for number in _order(archive.members):
            member = archive.members[number]
            known = None
            if not inner:
                self.streams[number] = stream_name(file, member)
                known = self._memo.find(self.streams[number], member.name) if self._memo else None
            made[number] = known or []
            work = self._take(file, member, made[number], step, inner=inner)
            if known:
                step(member.compressed_size)
            elif kind_of(member.name) is MemberKind.CONVERSATIONS:
                self._coming.append(work)
            else:
                _finish(work)
        while self._coming:
            _finish(self._coming.popleft())
        events: list[Event] = []
        position = 0
        for number, member in enumerate(archive.members):
            events += self._skeleton(file, position, member.data_offset)
            events += made.pop(number)
            position = member.data_end
        return events + self._skeleton(file, position, archive.size)

    def _skeleton(self, file: BinaryIO, start: int, end: int) -> list[Event]:
        if start == end:
            return []
        if end - start > self._inline:
            return list(self._chunks(Kind.MEMBER, read_range(file, start, end), "skeleton"))
        self._inline -= end - start
        return [Raw(b"".join(read_range(file, start, end)))]

    def _take(
        self, file: BinaryIO, member: Member, events: list[Event], step: Step, *, inner: bool
    ) -> Generator[None, None, None]:
        """Add a member's events to a list, one at each step of this iterator."""
        for event in self._member(file, member, inner=inner):
            events.append(event)
            yield
        step(member.compressed_size)

    def _member(self, file: BinaryIO, member: Member, *, inner: bool) -> Iterator[Event]:
        encoder = self._find_encoder(file, member, inner=inner)
        if member.method == DEFLATED and encoder is None:
            begin = Begin(member.name, Coding.STREAM)
            parts = self._chunks(Kind.STREAM, read_raw(file, member), "")
        else:
            coding = Coding.STORED if encoder is None else Coding.DEFLATED
            begin = Begin(member.name, coding, encoder)
            parts = self._content(file, member, inner=inner)
        yield begin
        yield from parts
        yield End()

    def _find_encoder(self, file: BinaryIO, member: Member, *, inner: bool) -> Encoder | None:
        find = self._search.prove if self._memo is None else self._search.guess
        encoder = find(file, member)
        if inner and encoder is not None and encoder.library is not None:
            return None  # an inner archive is a member, which every machine must give back
        return encoder

    def _content(self, file: BinaryIO, member: Member, *, inner: bool) -> Iterator[Event]:
        chunks = read_member(file, member)
        kind = kind_of(member.name)
        if kind in (MemberKind.CONVERSATIONS, MemberKind.CHAT_HTML) and member.size > _LARGE:
            chunks = prefetched(partial(_content_of, file, member))
        if kind is MemberKind.CONVERSATIONS:
            yield from self._conversations(chunks, member.name)
        elif kind is MemberKind.CHAT_HTML:
            yield from self._html(chunks, member.name)
        elif kind is MemberKind.ARCHIVE and not inner:
            yield from self._inner_archive(chunks, member.name)
        elif kind is MemberKind.ASSET:
            yield from self._chunks(Kind.ASSET, chunks, "")
        else:
            yield from self._chunks(Kind.MEMBER, chunks, member.name)

    def _conversations(self, chunks: Iterator[bytes], name: str) -> Iterator[Event]:
        glue = _Glue(self._writer, name)
        budget = _FREE_SLICES * _BYTES_PER_SLICE
        for piece in slices.split_json(chunks, self._following):
            budget += len(piece.data)
            key = self._key_of(piece)
            if key is None or budget < 0:
                yield from glue.add(piece.data)
                continue
            budget -= _BYTES_PER_SLICE
            yield from glue.flush()
            stored = self._conversation_object(piece, key)
            self._siblings[key] = len(self._conversation_order)
            self._conversation_order.append(stored)
            self._keep_recent(stored, piece.data)
            yield Ref(stored, conversation=True)
        yield from glue.flush()

    def _key_of(self, piece: slices.Piece) -> bytes | None:
        """Return the key of a conversation; None for what is none, or does not say which one."""
        if isinstance(piece, slices.Foreseen):
            found = self._following and self._following.found
            return found.key if found else None
        if isinstance(piece, slices.Slice) and piece.conversation_id is not None:
            return key_of(piece.conversation_id)
        return None

    def _conversation_object(self, piece: slices.Piece, key: bytes) -> bytes:
        """Return the object of a conversation, stored if it was not."""
        follow = self._following
        if follow and follow.found and isinstance(piece, slices.Foreseen):
            return follow.found.object
        if follow:
            follow.passed(self._writer.head(Kind.CONVERSATION, key))
        return self._writer.add(Kind.CONVERSATION, piece.data, key)

    def _html(self, chunks: Iterator[bytes], name: str) -> Iterator[Event]:
        glue = _Glue(self._writer, name)
        budget = _FREE_SLICES * _BYTES_PER_SLICE
        transform = 0
        for piece in slices.split_html(chunks, self._pages):
            budget += len(piece.data)
            if isinstance(piece, slices.Foreseen) and self._pages and self._pages.found:
                page = self._pages.found
                yield from glue.flush()
                yield Derived(page.object, page.transform)
                continue
            identity = piece.conversation_id if isinstance(piece, slices.Slice) else None
            if identity is None or budget < 0:
                yield from glue.add(piece.data)
                continue
            budget -= _BYTES_PER_SLICE
            yield from glue.flush()
            event = self._html_piece(piece.data, key_of(identity), transform)
            transform = event.transform if isinstance(event, Derived) else transform
            yield event
        yield from glue.flush()

    def _html_piece(self, data: bytes, key: bytes, transform: int) -> Event:
        number = self._sibling(key)
        if self._pages is not None:
            self._pages.passed(number)
        source = self._writer.head(Kind.CONVERSATION, key)
        if number is not None:
            source = self._conversation_order[number]
        with suppress(RepositoryDamaged):  # then it is stored as if there were no such source
            found = source and derive.find(self._read(source), data, transform)
            if source and found:
                outcome = self._writer.name_of(data)
                self.pages.append(Page(source, found, len(data), outcome))
                return Derived(source, found)
        return Ref(self._writer.add(Kind.HTML, data, key, like=source))

    def _sibling(self, key: bytes) -> int | None:
        """Return the number of a conversation, reading the conversations files up to it."""
        while key not in self._siblings and self._read_on():
            pass
        return self._siblings.get(key)

    def _conversation(self, number: int) -> bytes | None:
        """Return the nth conversation of the export, reading the conversations files up to it."""
        while number >= len(self._conversation_order) and self._read_on():
            pass
        return self._conversation_order[number] if number < len(self._conversation_order) else None

    def _read_on(self) -> bool:
        """Do the next step of the conversations files; return whether there was one."""
        if self._coming and next(self._coming[0], self) is self:
            self._coming.popleft()
        return bool(self._coming)

    def _keep_recent(self, name: bytes, data: bytes) -> None:
        """Keep the bytes of the last conversations at hand."""
        if name not in self._recent:
            self._recent[name] = data
            self._recent_size += len(data)
        while self._recent_size > _RECENT_BYTES:
            self._recent_size -= len(self._recent.popitem(last=False)[1])

    def _read(self, name: bytes) -> bytes:
        data = self._recent.get(name)
        return self._writer.read(name) if data is None else data

    def _inner_archive(self, chunks: Iterator[bytes], name: str) -> Iterator[Event]:
        path = temporary(self._staging)
        with NewFile(self._files, path) as spool:
            for chunk in chunks:
                spool.write(chunk)
            spool.close()
            with path.open("rb") as file:
                try:
                    archive = scan(file)
                    verify(file, archive)  # a part that cannot be read sets no export aside
                except ArchiveRefused:
                    whole = iter(lambda: file.read(CHUNK_BYTES), b"")
                    file.seek(0)
                    yield from self._chunks(Kind.MEMBER, whole, name)
                else:
                    yield from self._archive(file, archive, _ignore, inner=True)

    def _chunks(self, kind: Kind, chunks: Iterable[bytes], name: str) -> Iterator[Event]:
        """Store bytes in chunks; with a name, each chunk follows the one in its place before."""
        for number, data in enumerate(_regrouped(chunks)):
            key = key_of(name, str(number)) if name else b""
            yield Ref(self._writer.add(kind, data, key))


class _Glue:
    """Collects the bytes between pieces: short ones stay in the recipe, others become objects."""

    def __init__(self, writer: ObjectWriter, name: str) -> None:
        self._writer = writer
        self._name = name
        self._number = 0
        self._data = bytearray()

    def add(self, data: bytes) -> Iterator[Event]:
        """Take glue; yield what has become full."""
        self._data += data
        while len(self._data) >= CHUNK_BYTES:
            yield self._store(bytes(self._data[:CHUNK_BYTES]))
            del self._data[:CHUNK_BYTES]

    def flush(self) -> Iterator[Event]:
        """Yield what is left."""
        if not self._data:
            return
        data = bytes(self._data)
        self._data.clear()
        yield Raw(data) if len(data) <= _INLINE else self._store(data)

    def _store(self, data: bytes) -> Event:
        key = key_of("glue", self._name, str(self._number))
        self._number += 1
        return Ref(self._writer.add(Kind.MEMBER, data, key))


def _content_of(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield a member's content from a position of its own, for use in another thread."""
    with again(file) as own:
        yield from read_member(own, member)


def _finish(work: Iterator[None]) -> None:
    for _ in work:
        pass


def _order(members: tuple[Member, ...]) -> list[int]:
    """Return the members' numbers: conversations first, `chat.html` last."""
    ranks = {MemberKind.CONVERSATIONS: 0, MemberKind.CHAT_HTML: 2}
    kinds = [kind_of(member.name) for member in members]
    return sorted(range(len(members)), key=lambda number: ranks.get(kinds[number], 1))


def _regrouped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in chunks of exactly `CHUNK_BYTES`, but for the last."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        while len(data) >= CHUNK_BYTES:
            yield bytes(data[:CHUNK_BYTES])
            del data[:CHUNK_BYTES]
    if data:
        yield bytes(data)


def _ignore(_: int) -> None:
    """Tell nobody: the outer member counts for the whole inner archive."""
