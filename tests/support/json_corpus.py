"""Hostile JSON: what may stand where an export has its conversations, its page and its account.

`documents()` are whole files that are not, or not well, what they should be; `elements()` are
single conversations that are put between two sound ones. Both are generated here; the kinds follow
what parsers of JSON are known to disagree on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support import FULL

GOOD = ("good-first", "good-last")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Kind:
    """One hostile text; `make` gives its bytes."""

    name: str
    make: Callable[[], bytes]


def sound(identity: str, text: str = "words") -> bytes:
    """Return one conversation that every era can read."""
    node = {
        "id": "n", "parent": None,
        "message": {
            "id": "n", "author": {"role": "user"}, "create_time": 1.7e9,
            "content": {"content_type": "text", "parts": [text]},
        },
    }  # fmt: skip
    return json.dumps(
        {"title": "t", "mapping": {"n": node}, "current_node": "n", "conversation_id": identity}
    ).encode()


def surrounded(element: bytes) -> bytes:
    """Return an array with a sound conversation before and after an element."""
    return b"[" + b", ".join((sound(GOOD[0]), element, sound(GOOD[1]))) + b"]"


def elements() -> list[Kind]:
    """Return the conversations that cannot be read, or only with care."""
    return [*_values(), *_fields(), *_numbers(), *_strings(), *_trees(), *_large()]


def documents() -> list[Kind]:
    """Return the whole files."""
    return [*_broken(), *_tokens(), *_deep(), *_encodings()]


def _values() -> Iterator[Kind]:
    """Yield things that are no conversation."""
    for text in ("{}", '{"id": "x"}', '{"mapping": {}}', '{"conversation_id": ""}', '{"": {}}'):
        yield Kind(f"value {text}", lambda text=text: text.encode())


def _fields() -> Iterator[Kind]:
    """Yield conversations with one field missing or of another type, and one more than once."""
    fields = (
        "title", "mapping", "current_node", "conversation_id", "id", "create_time", "update_time",
        "is_archived", "memory_scope", "pinned_time",
    )  # fmt: skip
    wrong = ("null", "true", "-1", "1e400", '"text"', "[]", "{}", "[[]]", '{"a": null}')
    whole = json.loads(sound("hostile"))
    for field in fields:
        if field in whole:
            less = {name: value for name, value in whole.items() if name != field}
            yield Kind(f"without {field}", lambda less=less: json.dumps(less).encode())
        for value in wrong:
            rest = {name: one for name, one in whole.items() if name != field}
            text = json.dumps(rest)[:-1] + f', "{field}": {value}}}'
            yield Kind(f"{field} is {value}", lambda text=text: text.encode())
        twice = sound("hostile")[:-1] + f', "{field}": null, "{field}": 5}}'.encode()
        yield Kind(f"{field} again", lambda twice=twice: twice)
    places = ("message", "parent", "author", "content", "parts", "role", "metadata")
    for place in places:
        for value in ("null", "7", '"x"', "[7]", "{}"):
            yield Kind(f"node {place} is {value}", lambda p=place, v=value: _node(p, v))


def _node(place: str, value: str) -> bytes:
    """Return a conversation in whose node one value is another."""
    node = json.loads(sound("hostile"))["mapping"]["n"]
    mark = "\0replaced"
    message = node["message"]
    holder = {
        "message": node, "parent": node, "author": message, "content": message,
        "metadata": message, "role": message["author"], "parts": message["content"],
    }[place]  # fmt: skip
    holder[place] = mark
    text = json.dumps({"conversation_id": "hostile", "mapping": {"n": node}})
    return text.replace(json.dumps(mark), value).encode()


def _numbers() -> Iterator[Kind]:
    numbers = (
        "1" * 5000, "-" + "9" * 400, "1e999999", "-1e400", "1E-400", "0." + "3" * 5000, "-0",
        "9223372036854775808", "1.7976931348623159e308", "253402300800", "-62135596801",
    )  # fmt: skip
    for number in numbers:
        yield Kind(
            f"time {number[:24]}",
            lambda n=number: sound("hostile")[:-1] + f', "create_time": {n}}}'.encode(),
        )


def _strings() -> Iterator[Kind]:
    texts = (
        "\\ud800", "\\udfff", "\\udc00\\ud800", "\\ud83d", "\\ud83d\\ude00", "\\u0000", "\\u202e",
        "\\ufeff", "\\uffff", "\\u2028", "<script>alert(1)</script>", "</script><b>", "<!--", "]]>",
        "\\u003cimg src=x onerror=alert(1)\\u003e", "' OR 1=1 --", "jsonData = [", "\\\\\\\\\\\"",
    )  # fmt: skip
    for text in texts:
        for field in ("title", "conversation_id"):
            yield Kind(
                f"{field} {text}",
                lambda t=text, f=field: sound("hostile")[:-1] + f', "{f}": "{t}"}}'.encode(),
            )


def _trees() -> Iterator[Kind]:
    """Yield trees of turns that are none."""
    shapes: dict[str, dict[str, str | None]] = {
        "own parent": {"a": "a"}, "two in a ring": {"a": "b", "b": "a"},
        "ring of 5000": {str(n): str((n + 1) % 5000) for n in range(5000)},
        "parent that is not there": {"a": "nowhere"}, "two roots": {"a": None, "b": None},
        "line of 20,000": {str(n): str(n - 1) if n else None for n in range(20_000)},
        "star of 20,000": {str(n): "0" if n else None for n in range(20_000)},
        "tail into a ring": {"x": "a", "a": "b", "b": "a"}, "empty names": {"": ""},
    }  # fmt: skip
    for name, parents in shapes.items():
        yield Kind(f"tree: {name}", lambda p=parents: _tree(p))


def _tree(parents: dict[str, str | None]) -> bytes:
    message = json.loads(sound("x"))["mapping"]["n"]["message"]
    mapping = {
        name: {"id": name, "parent": parent, "message": {**message, "id": name}}
        for name, parent in parents.items()
    }
    last = next(reversed(mapping))
    return json.dumps(
        {"conversation_id": "hostile", "current_node": last, "mapping": mapping}
    ).encode()


def _large() -> Iterator[Kind]:
    sizes = (3, 65, 96) if FULL else (3, 65)
    for size in sizes:
        yield Kind(f"text of {size} MiB", lambda s=size: sound("hostile", "x" * (s * MIB)))
    nodes = 1_000_000 if FULL else 100_000
    yield Kind(
        f"{nodes} nodes",
        lambda: (
            b'{"conversation_id":"hostile","mapping":{'
            + b",".join(b'"%d":{}' % n for n in range(nodes))
            + b"}}"
        ),
    )
    yield Kind("key of 2 MiB", lambda: b'{"conversation_id":"h","%s":1}' % (b"k" * 2 * MIB))


def _broken() -> Iterator[Kind]:
    whole = surrounded(sound("middle"))
    for n in range(1, 16):
        yield Kind(f"cut at {n}/16", lambda n=n: whole[: len(whole) * n // 16])
    texts = {
        "nothing": b"", "blank": b" \n\t", "null": b"null", "a number": b"7", "a text": b'"[]"',
        "an object": b'{"conversations": []}', "empty": b"[]", "a bracket": b"[", "closed": b"]",
        "no objects": b"[1, 2, 3]", "empty arrays": b"[[], []]", "nulls": b"[null, null]",
        "texts": b'["{}", "{}"]', "comma": b"[,]", "comma at the end": b"[{},]", "two": b"[] []",
        "two commas": b"[{},,{}]", "no comma": b"[{} {}]", "colon": b"[{}:{}]",
        "lines": b"{}\n{}\n",
        "comment": b"/* x */ []", "tail": b"[] tail", "html": b"<!doctype html><p>Log in</p>",
        "zeros": bytes(5000), "noise": bytes(range(256)) * 40, "tiny": b"[" + b"{}," * 200_000,
    }  # fmt: skip
    for name, text in texts.items():
        yield Kind(name, lambda text=text: text)


def _tokens() -> Iterator[Kind]:
    """Yield arrays in whose second element stands something that is no JSON."""
    tokens = (
        "NaN", "Infinity", "-Infinity", "nan", "+1", "01", "1.", ".5", "1e", "0x10", "1_000",
        "--1", "True", "None", "undefined", "'x'", "x", "\\u0031", '"\t"', '"\\x41"', '"\\u12"',
        '"', '"\\',
        "[", "{", "{1: 2}", "{'a': 1}", '{"a"}', '{"a":}', '{"a":1,}', "[1,]", "// x", "",
        '"\\ud800\\u"', "1 2", "tru", "nul", "{,}", "[}", '{"a":1]', "\x7f", "#",
    )  # fmt: skip
    for token in tokens:
        yield Kind(
            f"token {token!r}",
            lambda t=token: surrounded(b'{"conversation_id": "hostile", "x": %s}' % t.encode()),
        )


def _deep() -> Iterator[Kind]:
    for depth in (900, 5000, 200_000):
        yield Kind(f"arrays {depth} deep", lambda d=depth: b"[" * d + b"]" * d)
        yield Kind(f"arrays {depth} deep, open", lambda d=depth: b"[" * d)
        yield Kind(
            f"objects {depth} deep",
            lambda d=depth: surrounded(b'{"a":' * d + b"1" + b"}" * d),
        )
    yield Kind("content 3000 deep", lambda: surrounded(_node("content", "[" * 3000 + "]" * 3000)))


def _encodings() -> Iterator[Kind]:
    text = surrounded(sound("middle", "é 😀")).decode()
    for name in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "utf-7"):
        yield Kind(f"in {name}", lambda n=name: text.encode(n, "replace"))
    for raw in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82"):
        yield Kind(
            f"bytes {raw.hex()}",
            lambda r=raw: surrounded(sound("hostile").replace(b"words", b"wo" + r + b"rds")),
        )
