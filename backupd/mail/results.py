"""Authentication-Results as mail servers write them (RFC 8601): fields to verdicts. Pure.

Whose field counts, and which verdict:

1. Only fields of the configured servers count, and among those only the topmost and those beside
   it: a field below a further Received field was there before the mail reached that server.
2. A field is read by its grammar, comments and quoted strings included, so that an address chosen
   by an attacker cannot pose as a verdict. A field of ours that does not parse is a fault.
3. Microsoft's servers name nobody in the field. Such a field counts only where Microsoft's name is
   configured, if it is the topmost of all, and if the server that took the mail in, named by the
   next Received field below, is one of Microsoft's. No other server takes such fields of strangers
   away, for they do not bear its name.

Formats seen: one field with all methods (Gmail, OpenDMARC, Fastmail); a field for each method,
under several names (iCloud); `NAME; none`; no name at all (Microsoft).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backupd.errors import BackupdError
from backupd.mail.message import Message

MAX_LINE = 16 * 1024

_RESULT = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)(?:\s*/\s*\d+)?\s*=\s*([A-Za-z]+)(?=\s|\Z)")
_PROPERTY = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9._-]*)\s*=\s*((?:"(?:[^"\\]|\\.)*"|[^\s";])+)(?=\s|\Z)'
)
_AUTHSERV_ID = re.compile(r'\s*"?([A-Za-z0-9._-]{1,255})"?(?:\s+\d+)?\s*')


class Unreadable(BackupdError):
    """A field that is ours, or may be ours, breaks the grammar; `message` says which."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One method's result; `domains` are the values of the property that says whom it is about."""

    method: str
    result: str
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """One Authentication-Results field: who wrote it, and its DMARC and DKIM verdicts in order."""

    server: str
    verdicts: tuple[Verdict, ...]

    def of(self, method: str) -> tuple[Verdict, ...]:
        """Return the verdicts of one method."""
        return tuple(verdict for verdict in self.verdicts if verdict.method == method)


NAMELESS = "protection.outlook.com"
"""The one service known to write its fields without a name."""

_ABOUT = {"dmarc": ("header.from",), "dkim": ("header.d", "header.i")}


def own_results(message: Message, names: tuple[str, ...]) -> list[Results]:
    """Return the topmost field of the servers called `names` and the ones beside it, in order.

    Raises:
        Unreadable: one of them, or one that may be one of them, breaks the grammar.
    """
    own = frozenset(name.lower() for name in names)
    found: list[Results] = []
    level: int | None = None
    for index, value in enumerate(message.authentication_results):
        hop = message.hops[index]
        if level is not None and hop != level:
            break
        results = _read(value, own) or _nameless(message, index, own)
        if results is not None:
            found.append(results)
            level = hop
    return found


def read_field(value: str) -> Results | None:
    """Read one field, whoever wrote it; None if it names nobody or breaks the grammar."""
    try:
        return _read(value, None)
    except Unreadable:
        return None


def _read(value: str, own: frozenset[str] | None) -> Results | None:
    """Read one field; None if a server that is not in `own` wrote it."""
    segments = _segments(value[: MAX_LINE + 1])
    writer = _AUTHSERV_ID.fullmatch(segments[0]) if segments else None
    name = writer[1].lower() if writer else ""
    if segments is None and (own is None or any(known in value.lower() for known in own)):
        raise Unreadable("an Authentication-Results field cannot be read")
    if segments is None or not name or (own is not None and name not in own):
        return None
    return Results(name, _verdicts(segments[1:]))


def _nameless(message: Message, index: int, own: frozenset[str]) -> Results | None:
    """Read a field without a name, if it is the topmost and its server is one of ours."""
    taken_in_by = message.taken_in_by[index].lower()
    if index or NAMELESS not in own or not taken_in_by.endswith(f".{NAMELESS}"):
        return None
    segments = _segments(message.authentication_results[index][: MAX_LINE + 1])
    if segments is None:
        raise Unreadable("an Authentication-Results field cannot be read")
    if _RESULT.match(segments[0]) is None:
        return None
    return Results(NAMELESS, _verdicts(segments))


def _verdicts(segments: list[str]) -> tuple[Verdict, ...]:
    found = (_verdict(segment) for segment in segments)
    return tuple(verdict for verdict in found if verdict is not None)


def _verdict(segment: str) -> Verdict | None:
    """Return a DMARC or DKIM result; None for another method, or a DKIM result of odd grammar."""
    match = _RESULT.match(segment)
    method = match[1].lower() if match else ""
    if match is None or method not in _ABOUT:
        if "dmarc" in segment.lower().partition("=")[0]:
            raise Unreadable("a DMARC verdict cannot be read")
        return None
    domains: list[str] = []
    at = match.end()
    while at < len(segment.rstrip()):
        prop = _PROPERTY.match(segment, at)
        if prop is None:
            if method == "dmarc":
                raise Unreadable("a DMARC verdict cannot be read")
            return None
        if prop[1].lower() in _ABOUT[method]:
            domains.append(prop[2].strip('"').lower().rpartition("@")[2])
        at = prop.end()
    return Verdict(method, match[2].lower(), tuple(domains))


def _segments(value: str) -> list[str] | None:
    """Split at semicolons outside quotes, comments replaced by a space; None if unbalanced."""
    if len(value) > MAX_LINE:
        return None
    segments: list[list[str]] = [[]]
    depth, quoted, escaped = 0, False, False
    for sign in value:
        if escaped:
            escaped = False
        elif sign == "\\" and (quoted or depth):
            escaped = True
        elif sign == '"' and not depth:
            quoted = not quoted
        elif quoted:
            pass
        elif sign == "(":
            depth += 1
        elif sign == ")":
            if not depth:
                return None
            depth -= 1
            segments[-1].append(" ")
            continue
        elif sign == ";" and not depth:
            segments.append([])
            continue
        if not depth:
            segments[-1].append(sign)
    return None if depth or quoted or escaped else ["".join(part) for part in segments]
