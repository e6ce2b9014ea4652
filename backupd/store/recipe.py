"""Recipes: how the bytes of one export are made from objects. Pure; no I/O.

A recipe is a tree written as a flat row of events. Between `Begin` and `End` lies the content of
one ZIP member; what is outside is the ZIP's skeleton. A member that is itself a ZIP has members
inside. The bytes of a recipe:

    version (1 byte), lengths of the three parts (varints), then
    operations   one byte each, with varints
    ids          16 bytes each, every object once, in order of first use
    literals     raw bytes and member names, in order of use

Operations refer to ids by distance from the one after the last used, so that the recipe of the
next export, whose objects are mostly the same, is mostly the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from backupd.errors import RepositoryDamaged
from backupd.export.encoders import Encoder
from backupd.store import described
from backupd.store.naming import ID_SIZE

VERSION = 1


class RecipeDamaged(RepositoryDamaged):
    """The bytes are not a recipe that this program can read."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"read recipe: {cause}", "run check --read-data")


class Coding(IntEnum):
    """What turns a member's content into the member's bytes in the ZIP."""

    STORED = 0
    DEFLATED = 1  # written as 3 if the encoder is more than zlib with three parameters
    STREAM = 2  # the parts are the deflate stream itself, which no known encoder gives back


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes kept in the recipe itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ref:
    """The bytes of an object; `conversation` if it is one of a conversations file."""

    id: bytes
    conversation: bool = False


@dataclass(frozen=True, slots=True)
class Derived:
    """The bytes of an object after a transform of `derive`."""

    id: bytes
    transform: int


@dataclass(frozen=True, slots=True)
class Begin:
    """Start of a member; `encoder` is there when the coding is DEFLATED."""

    name: str
    coding: Coding
    encoder: Encoder | None = None


@dataclass(frozen=True, slots=True)
class End:
    """End of a member."""


Event = Raw | Ref | Derived | Begin | End

_DESCRIBED = 3
_END, _RAW, _BEGIN = 0, 1, 2
_REF, _CONVERSATION, _DERIVED = 4, 6, 8  # plus 1: not a new id, a distance follows


def needs_encoders(events: Iterable[Event]) -> bool:
    """Say whether a recipe names an encoder that not every program with this format knows."""
    return any(
        isinstance(event, Begin) and event.encoder is not None and not event.encoder.is_plain
        for event in events
    )


def encode(events: Iterable[Event]) -> bytes:
    """Return the bytes of a recipe."""
    writer = _Writer()
    for event in events:
        writer.add(event)
    return writer.finish()


class Recipe:
    """A recipe that was read.

    Raises:
        RecipeDamaged: from the constructor or while iterating.
    """

    def __init__(self, data: bytes) -> None:
        if not data or data[0] != VERSION:
            raise RecipeDamaged("unknown version")
        operations, position = _varint(data, 1)
        ids, position = _varint(data, position)
        literals, position = _varint(data, position)
        if position + operations + ids + literals != len(data) or ids % ID_SIZE:
            raise RecipeDamaged("wrong length")
        self._data = data
        self._operations = position
        self._ids = position + operations
        self._literals = position + operations + ids

    def ids(self) -> Iterator[bytes]:
        """Yield every object that the recipe needs, once."""
        for start in range(self._ids, self._literals, ID_SIZE):
            yield self._data[start : start + ID_SIZE]

    def conversations(self) -> Iterator[bytes]:
        """Yield the objects that are conversations of a conversations file, in order."""
        for event in self.events():
            if isinstance(event, Ref) and event.conversation:
                yield event.id

    def events(self) -> Iterator[Event]:
        """Yield the recipe's events in order; members are closed properly, or it is damaged."""
        data, position, end = self._data, self._operations, self._ids
        literal, fresh, last, open_members = self._literals, 0, -1, 0
        while position < end:
            operation = data[position]
            position += 1
            if operation == _END:
                open_members -= 1
                yield End()
            elif operation == _RAW:
                length, position = _varint(data, position)
                yield Raw(data[literal : literal + length])
                literal += length
            elif operation == _BEGIN:
                open_members += 1
                begin, position, literal = self._begin(position, literal)
                yield begin
            else:
                transform = 0
                if operation & ~1 == _DERIVED:
                    transform, position = _varint(data, position)
                if operation & 1:
                    distance, position = _varint(data, position)
                    last += 1 + (distance >> 1 ^ -(distance & 1))
                else:
                    last, fresh = fresh, fresh + 1
                yield _reference(operation & ~1, self._id(last), transform)
            if open_members < 0 or position > end or literal > len(data):
                raise RecipeDamaged("broken operations")
        if open_members or literal != len(data):
            raise RecipeDamaged("broken off")

    def _begin(self, position: int, literal: int) -> tuple[Begin, int, int]:
        coding, position = _varint(self._data, position)
        length, position = _varint(self._data, position)
        name = self._data[literal : literal + length].decode("utf-8", "surrogateescape")
        encoder = None
        if coding == Coding.DEFLATED:
            level, position = _varint(self._data, position)
            memory, position = _varint(self._data, position)
            strategy, position = _varint(self._data, position)
            encoder = Encoder(level, memory, strategy)
        elif coding == _DESCRIBED:
            size, position = _varint(self._data, position)
            literal += size
            encoder = self._described(literal + length - size, literal + length)
            coding = Coding.DEFLATED
        elif coding not in (Coding.STORED, Coding.STREAM):
            raise RecipeDamaged(f"unknown coding {coding}")
        return Begin(name, Coding(coding), encoder), position, literal + length

    def _described(self, start: int, end: int) -> Encoder:
        try:
            return described.decode(self._data[start:end])
        except ValueError as error:
            raise RecipeDamaged("unknown encoder") from error

    def _id(self, number: int) -> bytes:
        start = self._ids + number * ID_SIZE
        if number < 0 or start + ID_SIZE > self._literals:
            raise RecipeDamaged("an id out of range")
        return self._data[start : start + ID_SIZE]


class _Writer:
    """The three parts of a recipe while it is written."""

    def __init__(self) -> None:
        self._operations = bytearray()
        self._literals = bytearray()
        self._numbers: dict[bytes, int] = {}
        self._last = -1

    def add(self, event: Event) -> None:
        match event:
            case Raw(data):
                self._operation(_RAW, len(data))
                self._literals += data
            case Ref(name, conversation):
                self._reference(_CONVERSATION if conversation else _REF, name, ())
            case Derived(name, transform):
                self._reference(_DERIVED, name, (transform,))
            case Begin(name, coding, encoder):
                self._begin(name.encode("utf-8", "surrogateescape"), int(coding), encoder)
            case End():
                self._operation(_END)

    def finish(self) -> bytes:
        ids = b"".join(self._numbers)
        head = bytearray((VERSION,))
        for length in (len(self._operations), len(ids), len(self._literals)):
            _put(head, length)
        return b"".join((head, self._operations, ids, self._literals))

    def _reference(self, operation: int, name: bytes, numbers: tuple[int, ...]) -> None:
        known = self._numbers.get(name)
        if known is None:
            self._operation(operation, *numbers)
            self._last = self._numbers[name] = len(self._numbers)
            return
        step = known - self._last - 1
        self._operation(operation | 1, *numbers, step << 1 if step >= 0 else ~(step << 1))
        self._last = known

    def _operation(self, operation: int, *numbers: int) -> None:
        self._operations.append(operation)
        for number in numbers:
            _put(self._operations, number)

    def _begin(self, name: bytes, coding: int, encoder: Encoder | None) -> None:
        self._literals += name
        if encoder is None:
            self._operation(_BEGIN, coding, len(name))
        elif encoder.is_plain:
            numbers = (encoder.level, encoder.mem_level, encoder.strategy)
            self._operation(_BEGIN, coding, len(name), *numbers)
        else:
            description = described.encode(encoder)
            self._operation(_BEGIN, _DESCRIBED, len(name), len(description))
            self._literals += description


def _reference(operation: int, name: bytes, transform: int) -> Event:
    if operation == _DERIVED:
        return Derived(name, transform)
    if operation in (_REF, _CONVERSATION):
        return Ref(name, operation == _CONVERSATION)
    raise RecipeDamaged(f"unknown operation {operation}")


def _put(target: bytearray, number: int) -> None:
    while number > 0x7F:
        target.append(number & 0x7F | 0x80)
        number >>= 7
    target.append(number)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise RecipeDamaged("broken number")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
