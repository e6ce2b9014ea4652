"""The gate every URL passes before it is opened: the raw string first, then an exact table.

`check_url` is used for links of mails and again for every redirect target. Its rules:

1. On the raw string, before any parsing: printable ASCII without backslash, quote or angle
   bracket, at most 8 KiB, beginning with `https://`; no `%` and no `@` before the path; no
   fragment. (URL parsers disagree about all of these, browsers with them.)
2. The host, in lower case and without one trailing dot, *equals* a listed name. No suffix match,
   no port but 443, no address in any notation, no internationalised name.
3. The path and the parameters fit the rule of that host. Hosts that serve anybody's files are
   listed with the one account path that is OpenAI's.

The table is data: `HOSTS` is what ships, callers may pass another.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from backupd.errors import LinkError
from backupd.mail.message import safe

MAX_URL = 8 * 1024
MAX_PARAMETERS = 50

_RAW = re.compile(r"[!#-;=?-\[\]-~]{1,8192}")
_HOST = re.compile(r"([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)\.?(?::443)?")
_PARAMETER = re.compile(r"([A-Za-z0-9_-]{1,40})=([^=][^&]*|)")
_FILE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]*(?:\.[0-9A-Za-z_-]+)*\.zip")


class Era(StrEnum):
    """Which kind of link OpenAI sent: an anonymous Azure URL, or one that needs a sign-in."""

    AZURE = "azure"
    ESTUARY = "estuary"


class LinkRefused(LinkError):
    """A link is not one of OpenAI's export links; `host` names its host if that is not listed."""

    def __init__(self, reason: str, host: str | None = None) -> None:
        super().__init__(
            f"read link: {reason}",
            "open the mail yourself, download the export in a browser and import the file",
        )
        self.reason = reason
        self.host = host


class SecretUrl:
    """A signed URL. Whoever has it has the export, so it shows only its host and a digest (I6)."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def reveal(self) -> str:
        """Return the URL itself; never for a log, a notice, an exception or a command line."""
        return self._url

    def __str__(self) -> str:
        scheme, _, rest = self._url.partition("://")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        digest = hashlib.sha256(self._url.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return f"{safe(scheme, 10)}://{safe(host, 80)}/… ({digest})"

    def __repr__(self) -> str:
        return f"SecretUrl({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)


@dataclass(frozen=True, slots=True)
class HostRule:
    """One listed host: what its export links look like.

    `path` must match whole; its group `file`, or else the parameter `file_parameter`, is the file
    name. `required` are parameters with the exact value they must have, or None for any but empty.
    """

    host: str
    era: Era
    path: str
    required: tuple[tuple[str, str | None], ...]
    file_parameter: str | None = None
    example: str = ""


_ESTUARY = (("p", "de"), ("id", None), ("sig", None))

HOSTS: tuple[HostRule, ...] = (
    HostRule(
        host="chatgpt.com",
        era=Era.ESTUARY,
        path=r"/backend-api/estuary/content",
        required=_ESTUARY,
        file_parameter="id",
        example="2025-09 or earlier until now",
    ),
    HostRule(
        host="chat.openai.com",
        era=Era.ESTUARY,
        path=r"/backend-api/estuary/content",
        required=_ESTUARY,
        file_parameter="id",
        example="the older name of the same service",
    ),
    HostRule(
        host="proddatamgmtqueue.blob.core.windows.net",
        era=Era.AZURE,
        path=r"/exportcontainer/(?P<file>[^/]+)",
        required=(("sig", None),),
        example="2023-04 until 2024-10 or later",
    ),
)


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that passed the gate, with its host in lower case and its parameters decoded once."""

    url: SecretUrl
    host: str
    era: Era
    file_name: str
    parameters: tuple[tuple[str, str], ...]

    def parameter(self, name: str) -> str | None:
        """Return the value of a parameter, or None."""
        return dict(self.parameters).get(name)

    def __repr__(self) -> str:
        """Show nothing that signs (I6)."""
        return f"CheckedUrl({self.url})"


def check_url(raw: str, table: tuple[HostRule, ...] = HOSTS) -> CheckedUrl:
    """Pass one URL, exactly as received, through the gate.

    Raises:
        LinkRefused: it breaks a rule of this module; `.host` is set if its host is not listed.
    """
    host, tail = _split(raw)
    rule = next((rule for rule in table if rule.host == host), None)
    if rule is None:
        raise LinkRefused(f"the host {safe(host, 100)} is not on the list", host=host)
    path, mark, query = tail.partition("?")
    match = re.fullmatch(rule.path, path)
    if match is None:
        raise LinkRefused(f"not the path of an export on {host}")
    parameters = _parameters(query) if mark else {}
    for name, wanted in rule.required:
        value = parameters.get(name, "")
        if value != wanted if wanted is not None else not value:
            raise LinkRefused(f"the parameter {name} is missing or not an export's")
    name = parameters[rule.file_parameter] if rule.file_parameter else match["file"]
    return CheckedUrl(
        url=SecretUrl(f"https://{host}{tail}"),
        host=host,
        era=rule.era,
        file_name=_file_name(name),
        parameters=tuple(parameters.items()),
    )


def _split(raw: str) -> tuple[str, str]:
    """Apply the rules for the raw string; return the host and everything behind it."""
    if len(raw) > MAX_URL:
        raise LinkRefused("the URL is longer than 8 KiB")
    if not _RAW.fullmatch(raw):
        raise LinkRefused("the URL holds characters that do not belong there")
    if not raw.startswith("https://"):
        raise LinkRefused("the URL is not https")
    rest = raw.removeprefix("https://")
    end = re.search(r"[/?#]", rest)
    authority, tail = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if "@" in authority or "%" in authority:
        raise LinkRefused("the URL hides its host behind a user name or an escape")
    match = _HOST.fullmatch(authority)
    if match is None:
        raise LinkRefused("the URL has a port or a malformed host", host=authority[:255])
    if "#" in tail:
        raise LinkRefused("the URL has a fragment")
    return match[1].lower(), tail


def _parameters(query: str) -> dict[str, str]:
    """Read a query string, each name once, values decoded once."""
    pieces = query.split("&")
    if len(pieces) > MAX_PARAMETERS:
        raise LinkRefused(f"the URL has more than {MAX_PARAMETERS} parameters")
    found: dict[str, str] = {}
    for piece in filter(None, pieces):
        match = _PARAMETER.fullmatch(piece)
        if match is None:
            raise LinkRefused("the URL has a malformed parameter")
        if match[1] in found:
            raise LinkRefused(f"the URL has the parameter {match[1]} twice")
        found[match[1]] = unquote(match[2], errors="replace")
    return found


def _file_name(name: str) -> str:
    """Accept only the name of a ZIP that could not be anything else, such as a path."""
    if len(name) > 255 or not _FILE_NAME.fullmatch(name) or name.startswith("file"):
        raise LinkRefused("the URL does not name an export's ZIP")
    return name
