"""The one download link of an export mail, with its deadline.

`find` reads the links of the HTML part first, then those in angle brackets of the text part, then
bare ones: in this order they are less and less likely to be cut by a line break. A genuine mail
names one export, perhaps several times; two different exports in one mail are refused, because a
person should look at that. Nothing but a link of the shipped table is ever returned: help pages,
pixels and click trackers are never opened.

The clock: an Azure link carries its expiry (`se`); an estuary link carries none and dies 24 hours
after it was mailed. `deadline` is the earliest moment it may be dead and sets the urgency;
`give_up_at` is 6 hours past the latest moment it may still be alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import islice

from backupd.mail.gate import (
    HOSTS,
    CheckedUrl,
    Era,
    HostRule,
    LinkRefused,
    SecretUrl,
    check_url,
)
from backupd.mail.message import Message, safe

__all__ = [
    *("HOSTS", "CheckedUrl", "Era", "HostRule", "Link", "LinkRefused", "SecretUrl"),
    *("check_url", "find", "parse_link"),
]

LIFETIME = timedelta(hours=24)
GRACE = timedelta(hours=6)
MAX_LINKS = 200
MAX_JOINED_LINES = 8

_HREF = re.compile(
    r"href\s{0,20}=\s{0,20}(?:\"([^\"]{1,9000})\"|'([^']{1,9000})'|([^\s>\"']{1,9000}))",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"<\s{0,20}(https?://[^<>]{1,9000})>", re.IGNORECASE)
_BARE = re.compile(r"https?://[^\s<>\"]{1,9000}", re.IGNORECASE)
_BREAK = re.compile(r"[ \t]{0,80}\r?\n[ \t]{0,80}")
_NEXT_LINE = re.compile(r"[ \t]{0,80}\r?\n[ \t]{0,80}([!-~]{1,2000})(?=[ \t\r]{0,80}(?:\n|\Z))")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|equals|num|[#][0-9]{1,7}|[#][xX][0-9A-Fa-f]{1,6});")
_STAMPED = re.compile(
    r"(?P<account>[0-9a-f]{64})-(?P<stamp>\d{4}(?:-\d\d){5})(?:-[0-9a-f]{32})?\.zip"
)
_EXPIRY = re.compile(r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:\.\d{1,7})?)?Z)?")
_SIGNATURE = {
    Era.AZURE: re.compile(r"[A-Za-z0-9+/]{43}="),
    Era.ESTUARY: re.compile(r"[0-9a-f]{64}"),
}


@dataclass(frozen=True, slots=True)
class Link:
    """A download link that passed the gate.

    All times are aware UTC; `mail_at` is the mail's own Date, if it had a readable one. With it,
    `parse_link` rebuilds the same value from the URL. `account_prefix` is the part of the file
    name that stays the same for one account; `exported_at` is the stamp in the file name. Both are
    None for other names.
    """

    url: SecretUrl
    era: Era
    host: str
    file_name: str
    account_prefix: str | None
    exported_at: datetime | None
    mail_at: datetime | None
    deadline: datetime
    give_up_at: datetime
    signed_in: bool


def find(message: Message, received_at: datetime, table: tuple[HostRule, ...] = HOSTS) -> Link:
    """Find the one download link of an export mail; `received_at` is the server's own time.

    Raises:
        LinkRefused: no export link, links to more than one export, or a ZIP on a host that is not
            listed, whose name is then in `.host`.
    """
    passed: dict[str, CheckedUrl] = {}
    refused: list[tuple[str, LinkRefused]] = []
    for spellings in islice(_candidates(message), MAX_LINKS):
        checked = _check_spellings(spellings, table, refused)
        if checked is not None:
            known = passed.get(checked.file_name)
            if known is None or (_is_whole(checked) and not _is_whole(known)):
                passed[checked.file_name] = checked
    if len(passed) > 1:
        raise LinkRefused(f"the mail has links to {len(passed)} different exports")
    if not passed:
        raise _explain(refused)
    return _with_times(next(iter(passed.values())), message.date, received_at)


def parse_link(
    url: str,
    mail_at: datetime | None,
    received_at: datetime,
    table: tuple[HostRule, ...] = HOSTS,
) -> Link:
    """Rebuild a link from its URL, as `find` returned it, and the two times of its mail.

    Raises:
        LinkRefused: the URL does not pass the gate.
    """
    return _with_times(check_url(url, table), mail_at, received_at)


def _candidates(message: Message) -> Iterator[tuple[str, ...]]:
    """Yield each link of a mail as the spellings it may have had before a line break cut it."""
    for match in _HREF.finditer(message.html or ""):
        yield (_unescaped(_BREAK.sub("", (match[1] or match[2] or match[3]).strip())),)
    text = message.text or ""
    for match in _BRACKETED.finditer(text):
        yield (_unescaped(_BREAK.sub("", match[1].strip())),)
    for match in _BARE.finditer(text):
        yield tuple(_unescaped(spelling) for spelling in _bare_spellings(text, match))


def _bare_spellings(text: str, match: re.Match[str]) -> Iterator[str]:
    """Yield a URL of running text as it stands, then joined with the lines that follow it."""
    url, at = match[0], match.end()
    if text[match.start() - 1 : match.start()] == "<":
        return
    spellings = [url.rstrip(".,;:!?)]}'*")]
    for _ in range(MAX_JOINED_LINES):
        following = _NEXT_LINE.match(text, at)
        if following is None or following[1].lower().startswith(("http://", "https://")):
            break
        sure = url[-1] in "&=?%" or following[1][0] in "&=?%"
        url, at = url + following[1], following.end(1)
        spellings = [url] if sure else [*spellings, url]
    yield from spellings


def _unescaped(url: str) -> str:
    """Undo HTML entities once; only those with a semicolon, for `&sect=` is a parameter."""
    return _ENTITY.sub(lambda entity: unescape(entity[0]), url)


def _check_spellings(
    spellings: tuple[str, ...],
    table: tuple[HostRule, ...],
    refused: list[tuple[str, LinkRefused]],
) -> CheckedUrl | None:
    """Return the first spelling with a whole signature, else the first that passes the gate."""
    best: CheckedUrl | None = None
    for spelling in spellings:
        try:
            checked = check_url(spelling, table)
        except LinkRefused as problem:
            refused.append((spelling, problem))
            continue
        if _is_whole(checked):
            return checked
        best = best or checked
    return best


def _is_whole(checked: CheckedUrl) -> bool:
    """Tell whether the signature has the usual length, so that no line break cut it."""
    return _SIGNATURE[checked.era].fullmatch(checked.parameter("sig") or "") is not None


def _explain(refused: list[tuple[str, LinkRefused]]) -> LinkRefused:
    """Choose the reason a person needs: the refused link to a ZIP, else where the links go."""
    for spelling, problem in refused:
        if ".zip" in spelling:
            return problem
    hosts = dict.fromkeys(problem.host for _, problem in refused if problem.host)
    foreign = [host for host in hosts if not f".{host}".endswith((".openai.com", ".chatgpt.com"))]
    if not hosts:
        return LinkRefused("the mail has no download link")
    named = safe(", ".join(list(hosts)[:5]), 200)
    return LinkRefused(
        f"the mail has no download link; its links go to {named}",
        host=foreign[0] if foreign else None,
    )


def _with_times(checked: CheckedUrl, mail_at: datetime | None, received_at: datetime) -> Link:
    stamped = _STAMPED.fullmatch(checked.file_name)
    earliest, latest = _dies(checked, mail_at, received_at)
    return Link(
        url=checked.url,
        era=checked.era,
        host=checked.host,
        file_name=checked.file_name,
        account_prefix=stamped["account"] if stamped else None,
        exported_at=_stamp(stamped["stamp"]) if stamped else None,
        mail_at=mail_at,
        deadline=earliest,
        give_up_at=latest + GRACE,
        signed_in=checked.era is Era.ESTUARY,
    )


def _dies(
    checked: CheckedUrl, mail_at: datetime | None, received_at: datetime
) -> tuple[datetime, datetime]:
    """Return the earliest and the latest moment at which the link may die.

    A Date far ahead of the server's own time is a wrong clock: it may put off the giving up by one
    lifetime, not by years.
    """
    expiry = _expiry(checked.parameter("se")) if checked.era is Era.AZURE else None
    if expiry is not None:
        return expiry, expiry
    sent = received_at if mail_at is None else mail_at
    return (
        min(sent, received_at) + LIFETIME,
        max(received_at, min(sent, received_at + LIFETIME)) + LIFETIME,
    )


def _expiry(value: str | None) -> datetime | None:
    """Read `se` of an Azure URL (ISO 8601, UTC); None if it is absent or senseless."""
    match = _EXPIRY.fullmatch(value or "")
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}:{match[3] or '00'}")
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if 2000 <= moment.year < 2200 else None


def _stamp(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None
