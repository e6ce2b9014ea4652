"""Why a mail is believed to come from OpenAI: the verdict of the receiver's own mail server.

The rules (Authentication-Results, RFC 8601), which must all stay in this file:

1. The header has no defect: `backupd.mail.message` saw the same single sender as the server.
2. The sender's domain equals one of OpenAI's. No suffix, no sub-domain.
3. Only lines of the configured authserv-ids count, and among those only the topmost and those
   beside it: a line below a further Received field was there before the mail reached that server.
4. The first of these lines with a DMARC verdict decides, and it must hold exactly one: `pass`,
   with exactly one `header.from` that covers the sender's domain. SPF or DKIM alone is no proof.
5. A line is read by its grammar, comments and quoted strings included, so that an address chosen
   by an attacker cannot pose as a verdict. A line of ours that does not parse denies the proof.

Not guaranteed: that the configured server strips forged lines with its own id (RFC 8601 §5
demands it); a server that neither writes a verdict nor strips such lines must not be configured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from backupd.errors import BackupdError
from backupd.mail.message import SENDER_DOMAINS, Message, safe

MAX_LINE = 16 * 1024

# A server may report the domain whose DMARC record it used: the sender's own or the one above it.
# Source: Gmail on mails of tm.openai.com, 2023 (openai.com) and 2025 (tm.openai.com).
_COVERED_BY = {domain: frozenset({domain, "openai.com"}) for domain in SENDER_DOMAINS}

_RESULT = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)(?:\s*/\s*\d+)?\s*=\s*([A-Za-z]+)(?=\s|\Z)")
_PROPERTY = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9._-]*)\s*=\s*((?:"(?:[^"\\]|\\.)*"|[^\s";])+)(?=\s|\Z)'
)
_AUTHSERV_ID = re.compile(r'\s*"?([A-Za-z0-9._-]{1,255})"?(?:\s+\d+)?\s*')


class ProofMissing(BackupdError):
    """A mail cannot be proven to come from OpenAI; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"prove mail: {reason}",
            "open the mail yourself only if you asked for an export; nothing was fetched",
        )
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Proof:
    """What proved a mail: the method, the server that vouched, and the domain it vouched for."""

    method: str
    authserv_id: str
    domain: str


@dataclass(frozen=True, slots=True)
class _Line:
    """One Authentication-Results field: who wrote it, and its DMARC verdicts in order."""

    authserv_id: str
    verdicts: tuple[tuple[str, tuple[str, ...]], ...]


def prove(message: Message, authserv_ids: tuple[str, ...]) -> Proof:
    """Prove by the own server's DMARC verdict that OpenAI sent `message`.

    `authserv_ids` are the names under which the configured server writes its results; letter case
    does not matter.

    Raises:
        ProofMissing: any rule of this module is not met; `.reason` says which, escaped.
    """
    domain = _sender_domain(message)
    if not authserv_ids:
        raise ProofMissing("no authserv_id is configured for this mailbox")
    for line in _own_lines(message, frozenset(name.lower() for name in authserv_ids)):
        if line.verdicts:
            _require_pass(line, domain)
            return Proof("dmarc", line.authserv_id, domain)
    raise ProofMissing(f"no DMARC verdict by {', '.join(authserv_ids)}")


def _sender_domain(message: Message) -> str:
    if message.defects:
        raise ProofMissing("; ".join(message.defects[:5]))
    if message.sender_domain is None:
        raise ProofMissing("the sender cannot be told")
    if message.sender_domain not in SENDER_DOMAINS:
        raise ProofMissing(f"the sender's domain {safe(message.sender_domain)} is not OpenAI's")
    return message.sender_domain


def _own_lines(message: Message, own: frozenset[str]) -> list[_Line]:
    """Return the topmost line of our server and the further ones beside it, in order."""
    lines: list[_Line] = []
    level: int | None = None
    for value, hop in zip(message.authentication_results, message.hops, strict=True):
        if level is not None and hop != level:
            break
        line = _read(value, own)
        if line is not None:
            lines.append(line)
            level = hop
    return lines


def _require_pass(line: _Line, domain: str) -> None:
    if len(line.verdicts) != 1:
        raise ProofMissing(f"{line.authserv_id} gave more than one DMARC verdict")
    result, header_from = line.verdicts[0]
    if result != "pass":
        raise ProofMissing(f"{line.authserv_id} says dmarc={safe(result, 30)}")
    if len(header_from) != 1:
        raise ProofMissing(f"{line.authserv_id} does not say whose DMARC passed")
    if header_from[0] not in _COVERED_BY[domain]:
        raise ProofMissing(f"DMARC passed for {safe(header_from[0], 80)}, not for {domain}")


def _read(value: str, own: frozenset[str]) -> _Line | None:
    """Read one field; None if another server wrote it.

    Raises:
        ProofMissing: it is ours, or may be ours, and breaks the grammar.
    """
    segments = _segments(value[: MAX_LINE + 1])
    writer = _AUTHSERV_ID.fullmatch(segments[0]) if segments else None
    name = writer[1].lower() if writer else ""
    if segments is None and any(known in value.lower() for known in own):
        raise ProofMissing("an Authentication-Results field cannot be read")
    if segments is None or name not in own:
        return None
    verdicts = [_verdict(segment) for segment in segments[1:]]
    return _Line(name, tuple(verdict for verdict in verdicts if verdict is not None))


def _verdict(segment: str) -> tuple[str, tuple[str, ...]] | None:
    """Return a DMARC result and its header.from values; None for another method."""
    match = _RESULT.match(segment)
    if match is None or match[1].lower() != "dmarc":
        if "dmarc" in segment.lower().partition("=")[0]:
            raise ProofMissing("a DMARC verdict cannot be read")
        return None
    header_from: list[str] = []
    at = match.end()
    while at < len(segment.rstrip()):
        prop = _PROPERTY.match(segment, at)
        if prop is None:
            raise ProofMissing("a DMARC verdict cannot be read")
        if prop[1].lower() == "header.from":
            header_from.append(prop[2].strip('"').lower())
        at = prop.end()
    return match[2].lower(), tuple(header_from)


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
