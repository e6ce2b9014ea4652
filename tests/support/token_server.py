"""An OAuth server on loopback: tokens over TLS, device codes, PKCE, and introspection for Dovecot.

`TokenServer()` is a context manager. It keeps books: every form that came (`forms`), every token
it made (`made`), so that a test can look for them where they must not be.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import trustme

CLIENT = "backupd-test"
CLIENT_SECRET = "canary-client-secret"
SCOPE = "imap offline"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_MARK = "canaryTOKEN"


@dataclass
class _Code:
    """An authorization code: for whom, and what the exchange must match."""

    account: str
    challenge: str
    redirect_uri: str


class TokenServer:
    """One account signs in; what the server does can be changed between two requests.

    `script`: what the token endpoint answers next instead of its own answer, as status and JSON;
    `before`: what happens once, before the next answer;
    `device_script`: error codes for the next questions about a device code.
    """

    def __init__(self, account: str = "user1") -> None:
        self.account = account
        self.rotate = False
        self.lifetime: int | None = 3600
        self.refresh_lifetime: int | None = None
        self.interval: float = 0
        self.device_lifetime = 60
        self.wants_secret = False
        self.before: list[Callable[[], object]] = []
        self.script: list[tuple[int, dict[str, Any]]] = []
        self.device_script: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.logins: list[str] = []
        self.made: list[str] = []
        self._refresh: set[str] = set()
        self._access: dict[str, float] = {}
        self._codes: dict[str, _Code] = {}
        self._devices: set[str] = set()

    def __enter__(self) -> TokenServer:
        self._authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("localhost").configure_cert(context)
        self._secure = _server(self, context)
        self._plain = _server(self, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._secure, self._plain):
            server.shutdown()
            server.server_close()

    def url(self, path: str) -> str:
        """Return the address of an endpoint that speaks TLS."""
        return f"https://localhost:{self._secure.server_address[1]}{path}"

    @property
    def introspection(self) -> str:
        """Return where a mail server may ask about a token."""
        return f"http://127.0.0.1:{self._plain.server_address[1]}/introspect"

    def write_ca(self, path: Path, *others: Path) -> Path:
        """Write the server's authority, and those of other files, into one."""
        parts = [self._authority.cert_pem.bytes(), *(other.read_bytes() for other in others)]
        path.write_bytes(b"".join(parts))
        return path

    def settings(self) -> dict[str, str]:
        """Return the keys of a mailbox that signs in here."""
        return {
            "auth": "oauth2",
            "oauth_client_id": CLIENT,
            "oauth_scope": SCOPE,
            "oauth_token_endpoint": self.url("/token"),
            "oauth_device_endpoint": self.url("/device"),
        }

    def new_refresh_token(self) -> str:
        """Make a refresh token as a sign-in would."""
        token = self._token("refresh")
        self._refresh.add(token)
        return token

    def end_access(self) -> None:
        """End every access token at once."""
        self._access.clear()

    def revoke(self) -> None:
        """Make every refresh token worthless."""
        self._refresh.clear()

    def grants(self, kind: str) -> list[dict[str, str]]:
        """Return the forms of one grant type, oldest first."""
        return [form for _, form in self.forms if form.get("grant_type") == kind]

    def post(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Answer one form."""
        self.forms.append((path, form))
        if self.before:
            self.before.pop()()
        if path == "/device":
            return self._device(form)
        if self.script:
            return self.script.pop(0)
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        if self.wants_secret and form.get("client_secret") != CLIENT_SECRET:
            return 401, {"error": "invalid_client"}
        match form.get("grant_type"):
            case "refresh_token":
                return self._refreshed(form)
            case "authorization_code":
                return self._exchanged(form)
            case "urn:ietf:params:oauth:grant-type:device_code":
                return self._entered(form)
        return 400, {"error": "unsupported_grant_type"}

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser is sent after the person has agreed."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = self._token("code")
        self._codes[code] = _Code(self.account, query["code_challenge"], query["redirect_uri"])
        return f"{query['redirect_uri']}?{urlencode({'state': query['state'], 'code': code})}"

    def introspect(self, token: str) -> dict[str, str]:
        """Tell a mail server whether a token is good."""
        self.logins.append(token)
        good = self._access.get(token, 0.0) > time.monotonic()
        return {"active": "true", "username": self.account} if good else {"active": "false"}

    def _device(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("client_id") != CLIENT or form.get("scope") != SCOPE:
            return 400, {"error": "invalid_client"}
        code = self._token("device")
        self._devices.add(code)
        return 200, {
            "device_code": code,
            "user_code": "ABCD-EFGH",
            "verification_uri": "https://example.org/enter",
            "expires_in": self.device_lifetime,
            "interval": self.interval,
        }

    def _entered(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("device_code") not in self._devices:
            return 400, {"error": "invalid_grant"}
        if self.device_script:
            return 400, {"error": self.device_script.pop(0)}
        return self._grant(self.new_refresh_token())

    def _exchanged(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        code = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if code is None or challenge != code.challenge:
            return 400, {"error": "invalid_grant"}
        if form.get("redirect_uri") != code.redirect_uri:
            return 400, {"error": "invalid_grant"}
        return self._grant(self.new_refresh_token())

    def _refreshed(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        token = form.get("refresh_token", "")
        if token not in self._refresh:
            return 400, {"error": "invalid_grant", "error_description": f"bad token {token}"}
        if not self.rotate:
            return self._grant(None)
        self._refresh.discard(token)
        return self._grant(self.new_refresh_token())

    def _grant(self, refresh: str | None) -> tuple[int, dict[str, Any]]:
        access = self._token("access")
        life = 3600 if self.lifetime is None else self.lifetime
        self._access[access] = time.monotonic() + life
        values: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if self.lifetime is not None:
            values["expires_in"] = self.lifetime
        if refresh is not None:
            values["refresh_token"] = refresh
        if self.refresh_lifetime is not None:
            values["refresh_token_expires_in"] = self.refresh_lifetime
        return 200, values

    def _token(self, kind: str) -> str:
        self.made.append(f"{kind}-{TOKEN_MARK}-{secrets.token_urlsafe(12)}")
        return self.made[-1]


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up, as one that does not trust the certificate."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


def _server(owner: TokenServer, context: ssl.SSLContext | None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        """Hands requests to the owner."""

        timeout = 10

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            form = dict(parse_qs(self.rfile.read(length).decode(), keep_blank_values=True))
            status, values = owner.post(self.path, {name: v[0] for name, v in form.items()})
            self._send(status, values)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", owner.authorize(query))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self._send(200, owner.introspect(token))

        def _send(self, status: int, values: dict[str, Any]) -> None:
            body = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = _Quiet(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
