"""What the demo's download server answers: the behaviours of a link, and the pages of its walls.

Source: answers of Azure's blob store as documented, and of the newer endpoint as reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Wall = Literal[
    "login-redirect",
    "login-page",
    "unauthorized",
    "forbidden",
    "challenge",
    "expired",
    "mangled",
    "gone",
    "rate-limited",
    "broken",
]
Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one link behaves.

    `drops` breaks the connection off after that share of the requested bytes, once for each
    entry; `stall_after` sends that many bytes and then nothing more; `rate` is bytes per second.
    `wall` answers instead of the file, unless the request carries `bearer`. `length` may lie:
    "short" ends the body early but properly, "none" leaves the header away.
    """

    wall: Wall | None = None
    bearer: str | None = field(default=None, repr=False)
    drops: tuple[float, ...] = ()
    stall_after: int | None = None
    rate: int | None = None
    etag: Literal["strong", "weak", "none"] = "strong"
    ranges: bool = True
    length: Literal["true", "short", "none"] = "true"
    redirect_to: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response that is not the file."""

    status: int
    headers: Headers = ()
    body: bytes = b""


_HTML = ("Content-Type", "text/html; charset=utf-8")
_XML = ("Content-Type", "application/xml")
_JSON = ("Content-Type", "application/json")
_LOGIN = b"<!doctype html><html><body><h1>Log in to continue</h1></body></html>"


def _azure_error(code: str, detail: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>Server failed to authenticate the request.</Message>"
        f"<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>"
    ).encode()


def _azure(wall: Wall) -> Answer | None:
    """Return the blob store's answer where it differs from the newer endpoint's."""
    refused: Headers = (_XML, ("x-ms-error-code", "AuthenticationFailed"))
    if wall == "expired":
        detail = "Signature not valid in the specified time frame"
        return Answer(403, refused, _azure_error("AuthenticationFailed", detail))
    if wall == "mangled":
        detail = "Signature did not match. String to sign used was r"
        return Answer(403, refused, _azure_error("AuthenticationFailed", detail))
    if wall == "gone":
        headers: Headers = (_XML, ("x-ms-error-code", "BlobNotFound"))
        return Answer(404, headers, _azure_error("BlobNotFound", ""))
    return None


_WALLS: dict[Wall, Answer] = {
    "login-redirect": Answer(302, (("Location", "https://chatgpt.com/auth/login"),)),
    "login-page": Answer(200, (_HTML,), _LOGIN),
    "unauthorized": Answer(401, (_JSON,), b'{"detail":"Unauthorized"}'),
    "forbidden": Answer(403, (_JSON,), b'{"detail":"Forbidden"}'),
    "challenge": Answer(403, (_HTML, ("cf-mitigated", "challenge")), _LOGIN),
    "expired": Answer(403, (_JSON,), b'{"detail":"Link expired"}'),
    "mangled": Answer(422, (_JSON,), b'{"detail":"Unprocessable"}'),
    "gone": Answer(404, (_JSON,), b'{"detail":"File not found"}'),
    "rate-limited": Answer(429, (_JSON, ("Retry-After", "1")), b'{"detail":"Too many"}'),
    "broken": Answer(503, (_HTML,), b"<html><body>Service unavailable</body></html>"),
}
NOT_FOUND = Answer(404, (_JSON,), b'{"detail":"Not Found"}')


def wall_answer(wall: Wall, *, azure: bool) -> Answer:
    """Return what a link behind that wall answers; `azure` chooses the older host's words."""
    return (azure and _azure(wall)) or _WALLS[wall]
