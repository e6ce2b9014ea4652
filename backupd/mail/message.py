"""One received mail as a value: who sent it, what it says, what its own server thinks of it.

Pure, for hostile bytes: `parse` takes any bytes up to 5 MiB and raises nothing but
`MessageRefused`. The rules that must stay here:

- What the mail *server* checked and what *we* believe must be the same thing. So the sender is
  read by one strict pattern: exactly one From field, ASCII, one mailbox, no comments, groups or
  routes. Whatever else a lenient reader would make of it, `sender` is None and a defect says so.
- A field that may occur once must occur once (From, Subject, Date, Message-ID) or at most once
  (the other singletons); otherwise another program may have looked at the other one.
- No text of a mail reaches a log or a notice except through `safe`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.errors import HeaderParseError
from email.header import decode_header
from enum import Enum

from backupd.mail.mime import Field, MessageRefused, decode, fields, split, texts

__all__ = ["Kind", "Message", "MessageRefused", "classify", "parse", "safe", "worth_fetching"]

MAX_BYTES = 5 * 1024 * 1024

SENDER_DOMAINS = frozenset({"tm.openai.com", "openai.com"})

_EXACTLY_ONE = ("from", "subject", "date", "message-id")
_AT_MOST_ONE = (
    *("sender", "reply-to", "to", "cc"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,200}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = rf"{_ATOM}(?:\.{_ATOM}){{0,20}}@{_LABEL}(?:\.{_LABEL}){{1,10}}"
_PHRASE = rf'(?:"(?:[ !#-\[\]-~]|\\[ -~]){{0,300}}"|{_ATOM}(?:[ \t.]{{1,5}}{_ATOM}){{0,20}}\.?)'
_FROM = re.compile(rf"\s*(?:{_PHRASE}?\s*<(?P<angled>{_ADDRESS})>|(?P<bare>{_ADDRESS}))\s*")
_ANY_ADDRESS = re.compile(rf"(?<![^\s<,;:\"]){_ADDRESS}(?![^\s>,;\"])")
_TAKEN_IN_BY = re.compile(rf"\sby\s+({_LABEL}(?:\.{_LABEL}){{1,10}})(?=[\s;]|\Z)")
_MESSAGE_ID = re.compile(r"\s*(<[!-;=?-~]{3,250}>)\s*")
_DATE = re.compile(
    r"\s*(?:[A-Za-z]{3},)?\s*(\d{1,2})\s+([A-Za-z]{3})\s+(\d{4})\s+(\d\d):(\d\d)(?::(\d\d))?"
    r"\s+([+-]\d{4}|GMT|UTC?|Z)\s*(?:\([^()]{0,40}\))?\s*"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_STARTED = re.compile(r"\bexport\s+has\s+started\b", re.IGNORECASE)
_READY = re.compile(r"\bdata\s+export\b.{0,40}\bready\b", re.IGNORECASE)


class Kind(Enum):
    """What a mail claims to be; a claim, not a proof."""

    READY = "ready"
    STARTED = "started"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Message:
    """One parsed mail.

    `sender` is the exact address (domain in lower case) or None if there is any doubt about it;
    `sender_shown` and `subject` are escaped for people. `message_key` is the Message-ID, or
    "sha256:" and the digest of the raw bytes where there is no sane one. `authentication_results`
    is top first, unfolded; `hops` holds, for each, the number of Received fields above it.
    `defects` are faults of the header, any of which denies the mail a proof; `body_defects` are
    for information.
    """

    message_id: str | None
    message_key: str
    sender: str | None
    sender_domain: str | None
    sender_shown: str
    subject: str
    date: datetime | None
    text: str | None
    html: str | None
    authentication_results: tuple[str, ...]
    hops: tuple[int, ...]
    taken_in_by: tuple[str, ...]
    recipients: tuple[str, ...]
    defects: tuple[str, ...]
    body_defects: tuple[str, ...]

    def __repr__(self) -> str:
        """Show the key and the escaped subject only: bodies hold signed links (I6)."""
        return f"Message(key={self.message_key!r}, subject={self.subject!r})"


def parse(raw: bytes) -> Message:
    """Parse the bytes of a mail, or of its header alone.

    Raises:
        MessageRefused: larger than 5 MiB, or a header or part structure beyond the bounds of
            `backupd.mail.mime`. Nothing else is ever raised.
    """
    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    if len(raw) > MAX_BYTES:
        raise MessageRefused(f"the mail is larger than {MAX_BYTES} bytes", digest)
    head, body = split(raw)
    try:
        found, problems = fields(head)
        content = texts(found, body)
    except MessageRefused as refused:
        raise MessageRefused(refused.reason, digest) from None
    values = _by_name(found)
    sender = _sender(values.get("from", ()))
    message_id = _message_id(values.get("message-id", ()))
    results, hops, takers = _authentication_results(found)
    return Message(
        message_id=message_id,
        message_key=message_id or digest,
        sender=sender,
        sender_domain=sender.rpartition("@")[2] if sender else None,
        sender_shown=safe(" | ".join(_words(value) for value in values.get("from", ())), 120),
        subject=safe(_words(" | ".join(values.get("subject", ())))),
        date=_date(values.get("date", ())),
        text=content.plain,
        html=content.html,
        authentication_results=results,
        hops=hops,
        taken_in_by=takers,
        recipients=_addresses(values.get("to", ())),
        defects=(*problems, *_defects(values, sender)),
        body_defects=content.defects,
    )


def safe(text: str, limit: int = 200) -> str:
    r"""Escape a string of unknown origin for logs, notices and terminals; at most `limit` signs.

    Control, format (bidirectional, zero-width), surrogate, private and unassigned characters and
    line separators become `\xNN`, `\uNNNN` or `\UNNNNNNNN`, a backslash is doubled, and the result
    is cut with an ellipsis.
    """
    escaped = "".join(_printable(sign) for sign in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


def classify(message: Message) -> Kind:
    """Say what a mail claims to be.

    READY: it names openai.com as its sender and either its subject says that an export is ready or
    it holds a link to a ZIP; in any language, since subjects may be translated. STARTED: the same
    sender, the acknowledgement's subject and no such link. The claim may be false: forgeries are
    READY too, so that `prove` refuses them and the person hears of it.
    """
    if "openai.com" not in f"{message.sender} {message.sender_shown}".lower():
        return Kind.OTHER
    if _mentions_zip(message.text) or _mentions_zip(message.html):
        return Kind.READY
    if _STARTED.search(message.subject):
        return Kind.STARTED
    return Kind.READY if _READY.search(message.subject) else Kind.OTHER


def worth_fetching(header: Message) -> bool:
    """Tell from the header alone whether the body of a mail must be looked at.

    Yes for everything OpenAI may have sent, whatever its subject, and for what only claims to be an
    export mail, so that the person hears of it.
    """
    if header.sender is None or header.sender_domain in SENDER_DOMAINS:
        return True
    return classify(header) is not Kind.OTHER


def _mentions_zip(text: str | None) -> bool:
    """Tell whether one of the first 50 `.zip` in a text follows a URL scheme within 400 signs."""
    if text is None:
        return False
    at = text.find(".zip")
    for _ in range(50):
        if at < 0:
            return False
        if "://" in text[max(0, at - 400) : at]:
            return True
        at = text.find(".zip", at + 4)
    return False


def _printable(sign: str) -> str:
    if sign == "\\":
        return "\\\\"
    if sign == " " or (sign.isprintable() and unicodedata.category(sign)[0] != "C"):
        return sign
    code = ord(sign)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _by_name(found: tuple[Field, ...]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for field in found:
        values.setdefault(field.name, []).append(field.value)
    return values


def _sender(values: list[str] | tuple[()]) -> str | None:
    if len(values) != 1 or len(values[0]) > 998:
        return None
    match = _FROM.fullmatch(values[0])
    if match is None:
        return None
    local, _, domain = (match["angled"] or match["bare"]).rpartition("@")
    return f"{local}@{domain.lower()}"


def _message_id(values: list[str] | tuple[()]) -> str | None:
    match = _MESSAGE_ID.fullmatch(values[0]) if len(values) == 1 else None
    return match[1] if match else None


def _date(values: list[str] | tuple[()]) -> datetime | None:
    """Read the Date field as aware UTC; None if it is missing, repeated or not a date."""
    match = _DATE.fullmatch(values[0]) if len(values) == 1 and len(values[0]) < 200 else None
    if match is None or match[2].lower() not in _MONTHS:
        return None
    day, month, year = int(match[1]), _MONTHS.index(match[2].lower()) + 1, int(match[3])
    zone = match[7] if match[7][0] in "+-" else "+0000"
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    hour, minute, second = int(match[4]), int(match[5]), min(int(match[6] or 0), 59)
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _words(value: str) -> str:
    """Decode the encoded words of a header value; the value itself where they are broken."""
    value = value.strip()[:2000]
    try:
        return "".join(_word(piece, charset) for piece, charset in decode_header(value))
    except (HeaderParseError, ValueError):
        return value


def _word(piece: str | bytes, charset: str | None) -> str:
    """Decode one piece of `decode_header`, which hands plain text back as raw-unicode-escape."""
    if isinstance(piece, str):
        return piece
    return decode(piece, charset) if charset else piece.decode("raw-unicode-escape")


def _addresses(values: list[str] | tuple[()]) -> tuple[str, ...]:
    """Find the addresses in a recipients' field; whoever signed the field has written it."""
    found = (match[0].lower() for value in values for match in _ANY_ADDRESS.finditer(value[:4000]))
    return tuple(dict.fromkeys(found))


def _authentication_results(
    found: tuple[Field, ...],
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Return the fields, how many Received fields stand above each, and who wrote the one below."""
    results: list[str] = []
    hops: list[int] = []
    takers: list[str] = []
    received = 0
    for field in found:
        if field.name == "received":
            received += 1
            match = _TAKEN_IN_BY.search(field.value[:2000])
            takers += [match[1] if match else ""] * (len(results) - len(takers))
        elif field.name == "authentication-results":
            results.append(field.value.strip())
            hops.append(received)
    takers += [""] * (len(results) - len(takers))
    return tuple(results), tuple(hops), tuple(takers)


def _defects(values: dict[str, list[str]], sender: str | None) -> list[str]:
    shown = {"message-id": "Message-ID", "mime-version": "MIME-Version"}
    found = [
        f"{'no' if name not in values else 'more than one'} {shown.get(name, name.title())} field"
        for name in _EXACTLY_ONE
        if len(values.get(name, ())) != 1
    ]
    found += [
        f"more than one {shown.get(name, name.title())} field"
        for name in _AT_MOST_ONE
        if len(values.get(name, ())) > 1
    ]
    if sender is None and len(values.get("from", ())) == 1:
        found.append("a malformed From field")
    return found
