"""What a mail server's failures mean, in words that quote no mail.

imaplib puts raw lines of the server into its exceptions, and a raw line may be part of a mail, a
signed link included. So only status lines are quoted, escaped, short and without links (I6).
"""

from __future__ import annotations

import re
import ssl
from imaplib import IMAP4

from backupd.mail.message import safe

# What imapclient and imaplib raise at an answer they do not understand.
FOREIGN: tuple[type[Exception], ...] = (
    *(IMAP4.error, OSError, EOFError, ValueError, TypeError, LookupError),
    *(AttributeError, AssertionError, RecursionError, MemoryError),
)

_LINK = re.compile(r"https?:\S*", re.IGNORECASE)
_CODE = re.compile(r"\[([A-Z-]+)")
_STATUS = re.compile(r"(?:[A-Za-z]+ failed: |[A-Z]+ command error: )")
_LASTING = frozenset(
    {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN"}
)
_PASSING = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA", "THROTTLED"})
_PASSING_WORDS = re.compile(
    r"temporar|try again|too many|unavailable|internal error|throttl", re.IGNORECASE
)
_SENSELESS = "an answer made no sense"


def is_passing(answer: str) -> bool:
    """Tell a server's bad moment from a refusal by the code, or else the words, of its answer.

    In doubt it is a refusal: trying a refused login again and again locks accounts.
    Source: RFC 5530; Dovecot 2.3 says `[UNAVAILABLE] Temporary authentication failure`.
    """
    code = _CODE.search(answer)
    if code is not None and code[1] in _LASTING:
        return False
    return (code is not None and code[1] in _PASSING) or bool(_PASSING_WORDS.search(answer))


def is_broken(problem: BaseException) -> bool:
    """Tell imaplib's own complaints about a line from a server's answer to a command."""
    return str(problem).startswith(("command: ", "got more than "))


def quoted(problem: BaseException) -> str:
    """Quote the status line in an imaplib exception."""
    text = str(problem)
    if text[:2] in ("b'", 'b"'):
        text = text[2:-1]
    return safe(_LINK.sub("<link>", text), 160)


def cause(problem: BaseException) -> str:
    """Put a foreign exception into words."""
    match problem:
        case IMAP4.abort():
            closed = any(word in str(problem) for word in ("EOF", "BYE", "socket error"))
            return "the server closed the connection" if closed else _SENSELESS
        case IMAP4.error():
            return quoted(problem) if _STATUS.match(str(problem)) else _SENSELESS
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"TLS failed: {safe(problem.reason or 'unknown', 80)}"
        case OSError():
            return safe(problem.strerror or str(problem), 120)
        case _:
            return _SENSELESS
