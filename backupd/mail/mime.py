"""Hostile mail bytes → header lines and text parts, in bounded time and memory.

The standard library's parser recurses once per nested part and walks every line in Python: a
5 MiB mail can exhaust its stack or hold a thread for minutes. A genuine export mail needs little
of MIME, so this file reads that little with linear scans and says no to the rest:

- a header block of at most 256 KiB and 500 fields;
- at most 50 parts, nested at most 8 deep; a mail that wants more is refused;
- transfer encodings 7bit, 8bit, binary, quoted-printable, base64; charsets from a fixed list;
- attachments and attached mails (`message/*`) are not looked into.

Anything odd but readable is reported as a defect, in words, and left to the caller to judge.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from backupd.errors import BackupdError

MAX_HEADER_BYTES = 256 * 1024
MAX_FIELDS = 500
MAX_PARTS = 50
MAX_DEPTH = 8

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_FIELD_NAME = re.compile(rb"([!-9;-~]{1,100})([ \t]*)\Z")
_MEDIA_TYPE = re.compile(r"\s*([A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60})\s*(?:;|\Z)")
_PARAMETER = re.compile(r';\s*([A-Za-z0-9*-]{1,40})\s*=\s*(?:"([^"]{0,300})"|([^\s;"]{1,300}))')

_CHARSETS = frozenset(
    {"us-ascii", "ascii", "utf-8", "utf8", "koi8-r", "koi8-u", "gb2312", "gbk", "gb18030"}
    | {"big5", "shift_jis", "euc-jp", "iso-2022-jp", "euc-kr"}
    | {f"iso-8859-{n}" for n in (*range(1, 12), 13, 14, 15, 16)}
    | {f"windows-125{n}" for n in range(9)}
)


class MessageRefused(BackupdError):
    """A mail is beyond what is parsed; `reason` says why, without any of its text.

    `message_key` names the mail by the digest of its bytes, for those who remember it.
    """

    def __init__(self, reason: str, message_key: str = "") -> None:
        super().__init__(f"read mail: {reason}", "look at the mail in a mail program")
        self.reason = reason
        self.message_key = message_key


@dataclass(frozen=True, slots=True)
class Field:
    """One header field: `name` in lower case, `value` unfolded and stripped, nothing decoded."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The text parts of a mail, joined by kind, and what was odd about its body."""

    plain: str | None
    html: str | None
    defects: tuple[str, ...]


def split(raw: bytes) -> tuple[bytes, bytes]:
    """Split a mail, or one of its parts, into header block and body at the first empty line."""
    if raw.startswith((b"\n", b"\r\n")):
        return b"", raw[raw.index(b"\n") + 1 :]
    match = _BLANK_LINE.search(raw)
    return (raw, b"") if match is None else (raw[: match.start()], raw[match.end() :])


def fields(head: bytes) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Read a header block into fields, top first, and the defects of its syntax.

    Raises:
        MessageRefused: more than 256 KiB or more than 500 fields.
    """
    if len(head) > MAX_HEADER_BYTES:
        raise MessageRefused(f"the header is larger than {MAX_HEADER_BYTES} bytes")
    defects: dict[str, None] = {}
    grouped: list[list[bytes]] = []
    for line in head.split(b"\n"):
        text = line.removesuffix(b"\r")
        if b"\r" in text or b"\0" in text:
            defects["a bare carriage return or NUL in the header"] = None
        if text[:1] in (b" ", b"\t") and grouped:
            grouped[-1].append(text)
        elif text:
            grouped.append([text])
    if len(grouped) > MAX_FIELDS:
        raise MessageRefused(f"more than {MAX_FIELDS} header fields")
    found: list[Field] = []
    for lines in grouped:
        name, colon, value = b"".join(lines).partition(b":")
        match = _FIELD_NAME.match(name)
        if not colon or match is None or match[2]:
            defects["a malformed header line"] = None
        if colon:
            found.append(Field(decode(name, "utf-8").strip().lower(), decode(value, "utf-8")))
    return tuple(found), tuple(defects)


def texts(head: Iterable[Field], body: bytes) -> Texts:
    """Collect the text/plain and text/html parts of a body, in order, each kind joined by newlines.

    Raises:
        MessageRefused: more than 50 parts, or parts nested more than 8 deep.
    """
    collected: dict[str, list[str]] = {"text/plain": [], "text/html": []}
    defects: dict[str, None] = {}
    waiting: list[tuple[tuple[Field, ...], bytes, int]] = [(tuple(head), body, 0)]
    seen = 0
    while waiting:
        part, content, depth = waiting.pop()
        seen += 1
        if seen > MAX_PARTS:
            raise MessageRefused(f"more than {MAX_PARTS} parts")
        kind, parameters = _media_type(part)
        if kind.startswith("multipart/"):
            if depth == MAX_DEPTH:
                raise MessageRefused(f"parts nested more than {MAX_DEPTH} deep")
            children, problems = _children(content, parameters.get("boundary", ""))
            waiting.extend((*child, depth + 1) for child in reversed(children))
        elif kind in collected and not _is_attachment(part):
            decoded, problems = _transfer_decoded(
                content, _value(part, "content-transfer-encoding")
            )
            collected[kind].append(decode(decoded, parameters.get("charset", "utf-8")))
        else:
            problems = ()
        defects.update(dict.fromkeys(problems))
    plain, html = ("\n".join(found) if found else None for found in collected.values())
    return Texts(plain, html, tuple(defects))


def decode(data: bytes, charset: str) -> str:
    """Decode by a charset of the fixed list, else as UTF-8: some codecs are slow or no charset."""
    name = charset.strip().lower()
    return data.decode(name if name in _CHARSETS else "utf-8", "replace")


def _value(part: Iterable[Field], name: str) -> str:
    return next((field.value for field in part if field.name == name), "")


def _media_type(part: Iterable[Field]) -> tuple[str, dict[str, str]]:
    """Return the lower-case media type, text/plain when there is none, and its parameters."""
    value = _value(part, "content-type")[:2000]
    match = _MEDIA_TYPE.match(value)
    if match is None:
        return "text/plain", {}
    pairs = _PARAMETER.finditer(value, match.end(1))
    return match[1].lower(), {pair[1].lower(): pair[2] or pair[3] or "" for pair in pairs}


def _is_attachment(part: Iterable[Field]) -> bool:
    return _value(part, "content-disposition").strip().lower().startswith("attachment")


def _children(
    body: bytes, boundary: str
) -> tuple[list[tuple[tuple[Field, ...], bytes]], tuple[str, ...]]:
    """Cut a multipart body at its boundary lines; preamble and epilogue are dropped."""
    if not boundary:
        return [], ("a multipart without a boundary",)
    line = re.compile(
        rb"(?:\A|\r?\n)--" + re.escape(boundary.encode("utf-8")) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
    )
    cuts: list[bytes] = []
    start: int | None = None
    closed = False
    for match in line.finditer(body):
        if start is not None:
            cuts.append(body[start : match.start()])
        if len(cuts) > MAX_PARTS:
            raise MessageRefused(f"more than {MAX_PARTS} parts")
        start = match.end()
        if match[1]:
            closed = True
            break
    if start is not None and not closed:
        cuts.append(body[start:])
    children = [_child(cut) for cut in cuts]
    return children, () if closed else ("a multipart that is not closed",)


def _child(cut: bytes) -> tuple[tuple[Field, ...], bytes]:
    """Read one part; `cut` begins with the line end of its boundary line."""
    head, body = split(cut.removeprefix(b"\r\n") if cut[:1] == b"\r" else cut.removeprefix(b"\n"))
    return fields(head)[0], body


def _transfer_decoded(content: bytes, encoding: str) -> tuple[bytes, tuple[str, ...]]:
    """Undo a transfer encoding; what cannot be undone is returned as it is, with a defect."""
    match encoding.strip().lower():
        case "quoted-printable":
            return binascii.a2b_qp(content), ()
        case "base64":
            try:
                return binascii.a2b_base64(content), ()
            except binascii.Error:
                return content, ("a broken base64 part",)
        case "" | "7bit" | "8bit" | "binary":
            return content, ()
        case _:
            return content, ("an unknown transfer encoding",)
