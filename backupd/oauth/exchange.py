"""The edge of the room: send a form to an OAuth server, over the downloads' sockets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from backupd.config import MailboxSettings
from backupd.download.form import NoAnswer, send_form
from backupd.download.terms import Network
from backupd.oauth.messages import Answer, Client, Form, SignInUnreachable, Tokens, read_tokens
from backupd.providers import Endpoints, endpoints_of


class OAuthServer:
    """Talks to the OAuth servers of one mailbox; `ca_file` (PEM) replaces the authorities."""

    def __init__(self, ca_file: Path | None, clock: Callable[[], datetime]) -> None:
        self._network = Network(ca_file=ca_file, anywhere=True)
        self._clock = clock

    def send(self, url: str, form: Form, place: str) -> Answer:
        """Send a form and return the answer, whatever it says.

        Raises:
            SignInUnreachable: there is none.
        """
        reason = ""
        try:
            reply = send_form(url, form, self._network, self._clock)
            return Answer(reply.status, reply.body)
        except NoAnswer as problem:
            reason = str(problem)
        raise SignInUnreachable(
            f'sign in at "{place}": {reason}', "check the network, or the endpoints of the mailbox"
        )

    def tokens(self, client: Client, form: Form) -> Tokens:
        """Send a form to the token endpoint and return what it gives.

        Raises:
            SignInRefused, SignInUnreachable: as `read_tokens`.
        """
        answer = self.send(client.token_endpoint, form, client.place)
        return read_tokens(answer, self._clock(), client)


def client_of(settings: MailboxSettings, secret: str = "") -> Client:
    """Return as whom and where a mailbox signs in: what is configured, else what is known."""
    nothing = Endpoints("", "", "", "")
    known = endpoints_of(settings.oauth_provider, settings.host) or nothing
    token = settings.oauth_token_endpoint or known.token
    return Client(
        client_id=settings.oauth_client_id or "",
        scope=settings.oauth_scope or known.scope,
        token_endpoint=token,
        device_endpoint=settings.oauth_device_endpoint or known.device,
        authorize_endpoint=settings.oauth_authorize_endpoint or known.authorize,
        place=urlsplit(token).hostname or "",
        credential=settings.credential,
        secret=secret,
        extra=known.extra,
    )
