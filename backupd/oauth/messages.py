"""What is said to an OAuth server and what its answers mean. Pure.

Forms are tuples of fields, answers are status and bytes. An answer is hostile until read: at most
64 KiB, JSON, tokens printable ASCII without blanks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from backupd.errors import MailboxRefused, MailboxUnreachable

Form = tuple[tuple[str, str], ...]

USUAL_LIFE = timedelta(hours=1)
"""Of an access token, where the server does not say: what all known providers give at least."""
LONGEST_LIFE = timedelta(days=3660)
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_LIFE = timedelta(minutes=15)
USUAL_INTERVAL = 5.0
"""Seconds between two questions for a device's tokens, where the server does not say (RFC 8628)."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_CODE = re.compile(r"[a-z_]{1,40}", re.ASCII)
_NUMBER = re.compile(r"AADSTS[0-9]{1,9}", re.ASCII)
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


class SignInRefused(MailboxRefused):
    """The provider wants a person to sign in anew, or the client is set up wrongly."""


class SignInUnreachable(MailboxUnreachable):
    """The provider's OAuth server cannot be reached or had a bad moment; worth another try."""


@dataclass(frozen=True, slots=True)
class Client:
    """As whom and where one signs in; an empty endpoint or secret means there is none.

    `place` names the token server for people, `credential` what the refresh token is kept as.
    """

    client_id: str
    scope: str
    token_endpoint: str
    device_endpoint: str
    authorize_endpoint: str
    place: str
    credential: str
    secret: str = field(default="", repr=False)
    extra: Form = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What an OAuth server answered; the body is a secret."""

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in gave. Times are aware UTC; None where the server does not tell."""

    access: str = field(repr=False)
    begins_at: datetime
    expires_at: datetime
    refresh: str | None = field(default=None, repr=False)
    refresh_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person needs to sign in elsewhere; `interval` is seconds between two questions."""

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    expires_at: datetime
    interval: float


def refresh_form(client: Client, refresh_token: str) -> Form:
    """Ask for a new access token."""
    return (
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("scope", client.scope),
        *_who(client),
    )


def device_form(client: Client) -> Form:
    """Ask for a code to be entered on another device."""
    return (("client_id", client.client_id), ("scope", client.scope))


def device_token_form(client: Client, code: DeviceCode) -> Form:
    """Ask whether the person has entered the code."""
    return (("grant_type", DEVICE_GRANT), ("device_code", code.device_code), *_who(client))


def code_form(client: Client, code: str, verifier: str, redirect_uri: str) -> Form:
    """Exchange what the browser brought back."""
    return (
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", verifier),
        ("redirect_uri", redirect_uri),
        *_who(client),
    )


def _who(client: Client) -> Form:
    secret = (("client_secret", client.secret),) if client.secret else ()
    return (("client_id", client.client_id), *secret)


def read_tokens(answer: Answer, now: datetime, client: Client) -> Tokens:
    """Return the tokens of an answer.

    Raises:
        SignInRefused: the server refuses, and asking again is no use.
        SignInUnreachable: it had a bad moment, or its answer makes no sense.
    """
    values = _values(answer)
    if answer.status != 200:
        raise refusal(answer, client)
    access, refresh = values.get("access_token"), values.get("refresh_token")
    if not _is_token(access):
        raise SignInUnreachable(f'sign in at "{client.place}": the answer holds no access token')
    expiry = _seconds(values, "refresh_token_expires_in", "refresh_expires_in")
    return Tokens(
        access=str(access),
        begins_at=now,
        expires_at=now + (_seconds(values, "expires_in") or USUAL_LIFE),
        refresh=str(refresh) if _is_token(refresh) else None,
        refresh_expires_at=None if expiry is None else now + expiry,
    )


def read_device_code(answer: Answer, now: datetime, client: Client) -> DeviceCode:
    """Return what the person is to be shown.

    Raises:
        SignInRefused, SignInUnreachable: as `read_tokens`.
    """
    if answer.status != 200:
        raise refusal(answer, client)
    values = _values(answer)
    device, user = values.get("device_code"), values.get("user_code")
    address = values.get("verification_uri") or values.get("verification_url")
    if not _is_token(device) or not _is_shown(user) or not _is_shown(address):
        raise SignInUnreachable(f'sign in at "{client.place}": the answer holds no device code')
    interval = values.get("interval")
    asked = isinstance(interval, int | float) and not isinstance(interval, bool)
    return DeviceCode(
        device_code=str(device),
        user_code=str(user),
        verification_uri=str(address),
        expires_at=now + (_seconds(values, "expires_in") or DEVICE_LIFE),
        interval=min(max(float(interval or 0), 0.0), 60.0) if asked else USUAL_INTERVAL,
    )


def error_code(answer: Answer) -> str | None:
    """Return the standard's short code of a refusal, if the answer is one."""
    code = _values(answer).get("error")
    found = isinstance(code, str) and _CODE.fullmatch(code)
    return str(code) if found and answer.status != 200 else None


def refusal(answer: Answer, client: Client) -> MailboxRefused | MailboxUnreachable:
    """Tell a refusal for good from a bad moment.

    Only the server's clear word, an error code with a 4xx status, is for good.
    """
    code = error_code(answer)
    lasting = 400 <= answer.status < 500 and answer.status not in (408, 425, 429)
    if code is None or code in _PASSING or not lasting:
        return SignInUnreachable(f'sign in at "{client.place}": status {answer.status}')
    number = _NUMBER.search(str(_values(answer).get("error_description", "")))
    told = f"{code} {number[0]}" if number else code
    return SignInRefused(f'sign in at "{client.place}": refused: {told}', _remedy(code, client))


def _remedy(code: str, client: Client) -> str:
    if code in ("invalid_client", "unauthorized_client", "invalid_scope"):
        return "correct oauth_client_id, oauth_secret_credential or oauth_scope"
    return f"sign in again: `backupd secret set {client.credential} --oauth`"


def _values(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _is_shown(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _seconds(values: dict[str, Any], *keys: str) -> timedelta | None:
    """Return the first length of time above zero; some servers write numbers as text."""
    for key in keys:
        text = str(values.get(key, ""))
        if text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0:
            return min(timedelta(seconds=int(text)), LONGEST_LIFE)
    return None
