"""Sign in by a code that is entered in any browser: the device grant (RFC 8628).

The server sets the pace: so many seconds between two questions, five more each time it says
`slow_down`, and an end. A server that cannot be reached for a while does not end the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from backupd.oauth.exchange import OAuthServer
from backupd.oauth.messages import (
    Client,
    SignInRefused,
    SignInUnreachable,
    Tokens,
    device_form,
    device_token_form,
    error_code,
    read_device_code,
    read_tokens,
)

SLOWER = 5.0
"""Seconds added at each `slow_down`, as the standard wants it."""
LEAST = 0.05
"""Seconds: never a busy loop, whatever interval the server wishes."""

Show = Callable[[str], None]
Pause = Callable[[float], bool]


def sign_in_by_device(
    client: Client, server: OAuthServer, show: Show, pause: Pause, clock: Callable[[], datetime]
) -> Tokens:
    """Show a code and wait until the person has entered it.

    `pause` waits so many seconds and says whether the person has given up.

    Raises:
        SignInRefused: denied, too late, given up, or the client is set up wrongly.
        SignInUnreachable: the server could not be reached at the start.
    """
    answer = server.send(client.device_endpoint, device_form(client), client.place)
    code = read_device_code(answer, clock(), client)
    show(f"open {code.verification_uri} in any browser and enter the code {code.user_code}")
    wait = code.interval
    while clock() < code.expires_at:
        if pause(max(wait, LEAST)):
            raise SignInRefused(f'sign in at "{client.place}": given up')
        try:
            answer = server.send(
                client.token_endpoint, device_token_form(client, code), client.place
            )
            match error_code(answer):
                case "authorization_pending":
                    continue
                case "slow_down":
                    wait += SLOWER
                case "access_denied" | "authorization_declined":
                    raise SignInRefused(
                        f'sign in at "{client.place}": it was denied in the browser', "begin again"
                    )
                case "expired_token" | "code_expired":
                    break
                case _:
                    return read_tokens(answer, clock(), client)
        except SignInUnreachable:
            wait += SLOWER
    raise SignInRefused(
        f'sign in at "{client.place}": the code was not entered in time', "begin again"
    )
