"""Cookies of a browser session: read from a credential, sent and renewed by the rules of cookies.

Which cookie goes where (domain, path, secure, expiry) and which the server may set is decided by
`http.cookiejar`, with its strict settings; nothing of that is written again here. What this file
adds: reading the two forms a credential may have, and bounds on what is taken from anybody.

The credential holds either a Netscape cookies.txt, as browser extensions and other programs write
it, or pairs `name=value`, one a line or separated by semicolons; pairs are cookies of `HOST` for
every path, over TLS only, and say no end. Cookies of other sites in a file are left out.

The session itself is the cookie `SESSION` (in pieces `.0`, `.1` … where it is long): its end is the
session's end. All other cookies are by-work and may end when they like.
Source: RFC 6265; docs.python.org/3/library/http.cookiejar.html; curl.se/docs/http-cookies.html.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit
from urllib.request import Request

import msgspec

from backupd.download.headers import Headers
from backupd.download.session import HOST, Fields
from backupd.errors import CredentialError

SESSION = "__Secure-next-auth.session-token"
MOST = 200
"""Cookies of one jar; more are refused, as a browser refuses them."""
LAST_SECOND = 253402300799
"""The end of the year 9999; a later end counts as this."""
LONGEST = 32 * 1024
"""Bytes of the header field; servers take no more."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[ !-:<-~]*")
_HTTP_ONLY = "#HttpOnly_"
_COLUMNS = 7
_HINT = 'see "Cookies" in docs/signed-in.md for what the credential must hold'


@dataclass(frozen=True, slots=True)
class Crumb:
    """One cookie as it is written down: `domain` as in a cookies.txt, `expires` in epoch seconds.

    `wide`: it goes to the hosts below `domain`, too.
    """

    name: str
    value: str
    domain: str
    wide: bool
    path: str
    secure: bool
    expires: int | None

    def __repr__(self) -> str:
        """Show the name only: the value is a secret."""
        return f"Crumb({self.name} for {self.domain})"


class _Policy(DefaultCookiePolicy):
    """The stdlib's rules, strict; and nothing that would break a request's head."""

    def __init__(self) -> None:
        super().__init__(
            rfc2965=False,
            strict_domain=True,
            strict_ns_domain=DefaultCookiePolicy.DomainStrict,
            strict_ns_set_path=True,
        )

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        return _is_clean(cookie) and super().set_ok(cookie, request)

    def return_ok(self, cookie: Cookie, request: Request) -> bool:
        return _is_clean(cookie) and super().return_ok(cookie, request)


class Jar:
    """A session of cookies; `changed` once an answer has set or removed one."""

    def __init__(self, crumbs: Iterable[Crumb]) -> None:
        self._jar = _filled(crumbs)
        self._before = self.crumbs()

    def __repr__(self) -> str:
        """Show how many cookies there are."""
        return f"Jar({len(self._jar)} cookies)"

    @property
    def changed(self) -> bool:
        """Say whether what is in the jar is not what was put in."""
        return self.crumbs() != self._before

    def crumbs(self) -> tuple[Crumb, ...]:
        """Return all cookies, in an order that depends on nothing but them."""
        found = (_crumb(cookie) for cookie in self._jar)
        return tuple(sorted(found, key=lambda one: (one.domain, one.path, one.name)))

    def headers_for(self, url: str, hop: int = 0) -> Fields:  # noqa: ARG002 - cookies know by URL
        """Return the cookies that a request for `url` carries, wherever in an attempt it is."""
        request = Request(url)  # noqa: S310 - never opened; the URL passed the link rules
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie")
        return (("Cookie", value),) if value and len(value) <= LONGEST else ()

    def learn(self, url: str, answer: Headers) -> None:
        """Keep what the one host sets, as far as the rules allow it for this URL.

        Any other would have no business here; to remove a cookie, the rules ask for no leave.
        """
        if urlsplit(url).hostname != HOST:
            return
        fields = [value for name, value in answer.fields if name == "set-cookie"]
        if fields:
            self._jar.extract_cookies(_Answer(fields), Request(url))  # type: ignore[arg-type]  # noqa: S310
            if len(self._jar) > MOST:
                self._jar = _filled(self._before)

    def session_until(self) -> datetime | None:
        """Return when the session itself ends; None where no cookie says so."""
        ends = [crumb.expires for crumb in self._session() if crumb.expires is not None]
        return datetime.fromtimestamp(min(*ends, LAST_SECOND), UTC) if ends else None

    def has_session(self) -> bool:
        """Say whether the session's own cookie is there."""
        return any(True for _ in self._session())

    def _session(self) -> Iterable[Crumb]:
        for crumb in self.crumbs():
            if crumb.name == SESSION or crumb.name.startswith(f"{SESSION}."):
                yield crumb


def _filled(crumbs: Iterable[Crumb]) -> CookieJar:
    jar = CookieJar(_Policy())
    for crumb in crumbs:
        jar.set_cookie(_cookie(crumb))
    return jar


class _Answer:
    """What `http.cookiejar` wants to know of an answer."""

    def __init__(self, set_cookie: list[str]) -> None:
        self._message = http.client.HTTPMessage()
        for value in set_cookie:
            self._message["Set-Cookie"] = value

    def info(self) -> http.client.HTTPMessage:
        """Return the header fields."""
        return self._message


def read(text: str) -> tuple[Crumb, ...]:
    """Read the cookies of a credential, in either form; those that could go to `HOST`.

    Cookies that have ended are returned as well: who asks knows the time.

    Raises:
        CredentialError: it has neither form, or nothing in it is for that host.
    """
    lines = [line.strip("\r") for line in text.removeprefix("\ufeff").split("\n")]
    is_file = any(line.count("\t") >= _COLUMNS - 1 for line in lines)
    found = tuple(_of_file(lines) if is_file else _of_pairs(text))
    wanted = tuple(crumb for crumb in found if _is_for_host(crumb))
    if not wanted:
        held = "cookies of other sites only" if found else "no cookie"
        raise CredentialError(f"use cookies: the credential holds {held}", _HINT)
    if len(wanted) > MOST:
        raise CredentialError(f"use cookies: more than {MOST} for {HOST}", _HINT)
    return wanted


def dump(crumbs: tuple[Crumb, ...]) -> str:
    """Write cookies down as text, a secret as they are."""
    return msgspec.json.encode(crumbs).decode()


def reload(text: str | None) -> tuple[Crumb, ...] | None:
    """Read what `dump` wrote; None for anything else."""
    try:
        return None if text is None else tuple(msgspec.json.decode(text, type=list[Crumb]))
    except msgspec.MsgspecError:
        return None


def _of_file(lines: list[str]) -> Iterable[Crumb]:
    for number, raw in enumerate(lines, start=1):
        line = raw.removeprefix(_HTTP_ONLY)
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != _COLUMNS:
            raise CredentialError(f"use cookies: line {number} has not seven columns", _HINT)
        domain, wide, path, secure, expires, name, value = columns
        yield Crumb(
            name=_checked(_NAME, name, number),
            value=_checked(_VALUE, value, number),
            domain=domain.lower(),
            wide=wide.upper() == "TRUE",
            path=path,
            secure=secure.upper() == "TRUE",
            expires=_seconds(expires, number),
        )


def _of_pairs(text: str) -> Iterable[Crumb]:
    body = re.sub(r"\A\s*cookie:", "", text, count=1, flags=re.IGNORECASE)
    for number, pair in enumerate(re.split(r"[;\n]", body), start=1):
        if not pair.strip() or pair.lstrip().startswith("#"):
            continue
        name, mark, value = pair.strip().partition("=")
        if not mark:
            raise CredentialError(f"use cookies: pair {number} has no =", _HINT)
        name, value = _checked(_NAME, name, number), _checked(_VALUE, value, number)
        yield Crumb(name, value, HOST, wide=False, path="/", secure=True, expires=None)


def _checked(shape: re.Pattern[str], text: str, number: int) -> str:
    if not shape.fullmatch(text):
        raise CredentialError(
            f"use cookies: entry {number} holds characters that no cookie has", _HINT
        )
    return text


def _seconds(text: str, number: int) -> int | None:
    """Read an end; 0 and nothing stand for a cookie that ends with the browser."""
    if not re.fullmatch(r"-?\d{0,15}(\.\d{0,9})?", text, re.ASCII):
        raise CredentialError(f"use cookies: entry {number} has no readable end", _HINT)
    seconds = int(text.partition(".")[0] or "0") if text != "-" else 0
    return seconds if seconds > 0 else None


def _is_for_host(crumb: Crumb) -> bool:
    """Ask the rules whether the host could set it and would get it, were it still good."""
    lasting = replace(crumb, expires=None)
    place = crumb.path if crumb.path.startswith("/") else "/"
    url = f"https://{HOST}{place}"
    could_set = _Policy().set_ok(_cookie(lasting), Request(url))
    return could_set and bool(Jar((lasting,)).headers_for(url))


def _is_clean(cookie: Cookie) -> bool:
    value = cookie.value
    return bool(value is not None and _NAME.fullmatch(cookie.name) and _VALUE.fullmatch(value))


def _cookie(crumb: Crumb) -> Cookie:
    return Cookie(
        version=0,
        name=crumb.name,
        value=crumb.value,
        port=None,
        port_specified=False,
        domain=crumb.domain,
        domain_specified=crumb.wide,
        domain_initial_dot=crumb.domain.startswith("."),
        path=crumb.path,
        path_specified=True,
        secure=crumb.secure,
        expires=crumb.expires,
        discard=crumb.expires is None,
        comment=None,
        comment_url=None,
        rest={},
    )


def _crumb(cookie: Cookie) -> Crumb:
    return Crumb(
        name=cookie.name,
        value=cookie.value or "",
        domain=cookie.domain,
        wide=cookie.domain_specified,
        path=cookie.path,
        secure=cookie.secure,
        expires=int(cookie.expires) if cookie.expires is not None else None,
    )
