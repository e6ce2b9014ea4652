"""Sign in by the own browser: redirect to this machine, with PKCE (RFC 8252 §7.3, RFC 7636).

A listener on 127.0.0.1, on a port of the system's choice, takes the browser's return. Only a
request with the `state` of this very sign-in counts; everything else is answered 404 and changes
nothing. Where the browser runs elsewhere, as over SSH, it ends on a page that cannot be shown: the
address of that page, pasted, is as good. The verifier never leaves this process but to the token
endpoint, so whoever sees the code cannot use it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from backupd.oauth.exchange import OAuthServer
from backupd.oauth.messages import Client, SignInRefused, Tokens, code_form

PATIENCE = 600.0
"""Seconds in which a person has signed in."""
TICK = 0.2
LONGEST_REQUEST = 16 * 1024

_CODE = re.compile(r"[a-z_]{1,40}", re.ASCII)
_PAGE = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Length: {length}\r\n\r\n"
    "{text}"
)
_DONE = "backupd has what it needs. You can close this page."
_NOT_DONE = "The sign-in was not granted. You can close this page; backupd says more."


class _Lines:
    """What a person types or pastes, by its descriptor: a buffer would hide lines from `select`."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self._begun = b""

    def read(self) -> list[str]:
        """Return the lines that are whole now; once the input has ended, `descriptor` is None."""
        try:
            got = b"" if self.descriptor is None else os.read(self.descriptor, 4096)
        except OSError:
            got = b""
        if not got:
            self.descriptor, rest = None, self._begun
            return [rest.decode("ascii", "replace")] if rest else []
        *whole, self._begun = (self._begun + got)[-LONGEST_REQUEST:].split(b"\n")
        return [line.decode("ascii", "replace") for line in whole]


@dataclass(frozen=True, slots=True)
class _Return:
    """What the browser brought back: a code, or the reason why there is none."""

    code: str = field(default="", repr=False)
    error: str = ""


def sign_in_by_redirect(
    client: Client,
    server: OAuthServer,
    show: Callable[[str], None],
    typed: int | None,
    patience: float = PATIENCE,
) -> Tokens:
    """Show an address to be opened, and wait for the browser, or a pasted address, to come back.

    `typed` is the descriptor of what the person types, if anything.

    Raises:
        SignInRefused: denied, too late, or the client is set up wrongly.
        SignInUnreachable: the token endpoint cannot be reached.
    """
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        redirect_uri = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        show(f"open this address in a browser:\n{_address(client, redirect_uri, state, verifier)}")
        if typed is not None:
            show(
                "if that browser is on another machine, paste the address of the page that it "
                "cannot show here, and press Enter"
            )
        returned = _wait(listener, typed, state, time.monotonic() + patience)
    if returned is None:
        raise SignInRefused(
            f'sign in at "{client.place}": nobody signed in within {patience / 60:.0f} minutes',
            "begin again",
        )
    if returned.error:
        raise SignInRefused(
            f'sign in at "{client.place}": refused: {returned.error}', "begin again"
        )
    return server.tokens(client, code_form(client, returned.code, verifier, redirect_uri))


def _address(client: Client, redirect_uri: str, state: str, verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    query = (
        ("response_type", "code"),
        ("client_id", client.client_id),
        ("redirect_uri", redirect_uri),
        ("scope", client.scope),
        ("state", state),
        ("code_challenge", base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")),
        ("code_challenge_method", "S256"),
        *client.extra,
    )
    return f"{client.authorize_endpoint}?{urlencode(query)}"


def _wait(listener: socket.socket, typed: int | None, state: str, until: float) -> _Return | None:
    """Take returns from the listener and typed lines until one is of this sign-in."""
    lines = _Lines(typed)
    while time.monotonic() < until:
        sources = [one for one in (listener.fileno(), lines.descriptor) if one is not None]
        ready, _, _ = select.select(sources, [], [], TICK)
        found: list[_Return | None] = []
        if lines.descriptor in ready:
            found += [_read(line.strip(), state) for line in lines.read()]
        if listener.fileno() in ready:
            found.append(_from_browser(listener, state))
        for one in found:
            if one is not None:
                return one
    return None


def _from_browser(listener: socket.socket, state: str) -> _Return | None:
    """Answer one request; what is not a return of this sign-in is told nothing."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(2.0)
        try:
            method, _, rest = _request_line(connection).partition(" ")
            found = _read(rest.partition(" ")[0], state) if method == "GET" else None
            if found is None:
                connection.sendall(_page("404 Not Found", "Nothing here."))
            else:
                connection.sendall(_page("200 OK", _NOT_DONE if found.error else _DONE))
        except OSError:
            return None  # somebody else's connection, or one that says nothing
    return found


def _request_line(connection: socket.socket) -> str:
    got, until = b"", time.monotonic() + 2.0
    while b"\r\n\r\n" not in got and len(got) < LONGEST_REQUEST and time.monotonic() < until:
        chunk = connection.recv(4096)
        if not chunk:
            break
        got += chunk
    return got.partition(b"\r\n")[0].decode("ascii", "replace")


def _page(status: str, text: str) -> bytes:
    return _PAGE.format(status=status, length=len(text), text=text).encode("ascii")


def _read(address: str, state: str) -> _Return | None:
    """Return what an address brings back, or None if it is not of this sign-in."""
    try:
        parts = urlsplit(address)
        values = parse_qs(parts.query, max_num_fields=20)
    except ValueError:
        return None
    given = values.get("state", [""])
    ours = len(given) == 1 and hmac.compare_digest(given[0].encode(), state.encode())
    if parts.path != "/" or not ours:
        return None
    if len(values.get("code", [])) == 1:
        return _Return(code=values["code"][0])
    error = values.get("error", [""])[0]
    return _Return(error=error if _CODE.fullmatch(error) else "no reason was given")
