"""Small JSON files that prove themselves: canonical, with a checksum among the fields. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class SealBroken(Exception):
    """The bytes are not what was written."""


def canonical(value: msgspec.Struct) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, ASCII, one line feed at the end."""
    return _dump(msgspec.to_builtins(value))


def seal(value: msgspec.Struct) -> bytes:
    """Return canonical JSON with the field `check` added: the SHA-256 of the JSON without it."""
    plain = msgspec.to_builtins(value)
    check = hashlib.sha256(_dump(plain)).hexdigest()
    return _dump({**plain, "check": check})


def unseal(data: bytes, kind: type[T]) -> T:
    """Return the value whose sealed bytes these are.

    Raises:
        SealBroken: a byte is not what was written, or the fields are not those of `kind`.
    """
    try:
        value = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SealBroken("it cannot be read") from error
    if seal(value) != data:
        raise SealBroken("its bytes do not match its checksum")
    return value


def is_sealed(data: bytes) -> bool:
    """Return whether the bytes are sealed JSON, whatever its fields."""
    try:
        plain = json.loads(data)
        check = plain.pop("check")
        whole = _dump({**plain, "check": check}) == data
    except (ValueError, KeyError, AttributeError, TypeError):
        return False
    return whole and hashlib.sha256(_dump(plain)).hexdigest() == check


def _dump(plain: object) -> bytes:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"
