"""Notices about what signs downloads in: ending soon, dead, good again. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from backupd.notice.model import Notice, Severity
from backupd.notice.words import cause, plain, span

_THINGS = {"bearer": "bearer token", "cookies": "browser session", "browser": "browser profile"}
_THEN = (
    "an export whose link needs a sign-in waits for you, and its link dies 24 hours after its mail"
)


def session_expiring(
    *, place: str, kind: str, credential: str | None, until: datetime, left: timedelta
) -> Notice:
    """What signs downloads in ends before the next export could be due.

    `place` is the table of the configuration that names it, `credential` its name, if it has one.
    """
    return Notice(
        event="session_expiring",
        severity=Severity.WARNING,
        title=f"The sign-in for downloads ends in {span(left)}",
        body=(
            f"The {_thing(kind)} of [{plain(place)}]{_named(credential)} ends on {until:%Y-%m-%d} "
            f"at {until:%H:%M} UTC, before the next export could be due. Downloads are signed in "
            f"until then; after it {_THEN}. All stored exports are safe.\n"
            f"What to do before then: {_renew(credential)}. This alarm then ends by itself."
        ),
        fault=f"session:{place}:expiring",
        clears=(f"session:{place}:dead",),
        fields={
            "place": plain(place),
            "session": plain(kind),
            "seconds_left": int(left.total_seconds()),
        },
    )


def session_dead(
    *, place: str, kind: str, credential: str | None, reason: str, hint: str = ""
) -> Notice:
    """What signs downloads in cannot be used now; `hint` is what its source says to do."""
    advice = f" ({cause(hint)})" if hint else ""
    return Notice(
        event="session_dead",
        severity=Severity.ERROR,
        title="Downloads cannot be signed in",
        body=(
            f"The {_thing(kind)} of [{plain(place)}]{_named(credential)} cannot be used: "
            f"{cause(reason)}{advice}. Until it is renewed, {_THEN}. All stored exports are safe.\n"
            f"What to do now, before an export comes: {_renew(credential)}. backupd looks again "
            "every hour, and this alarm then ends by itself."
        ),
        fault=f"session:{place}:dead",
        clears=(f"session:{place}:expiring",),
        fields={"place": plain(place), "session": plain(kind)},
    )


def session_renewed(*, place: str) -> Notice:
    """What signs downloads in is good again; told once, and only if an alarm had been told."""
    return Notice(
        event="session_renewed",
        severity=Severity.INFO,
        title="Downloads can be signed in again",
        body=f"The session of [{plain(place)}] is good for the next export. Nothing to do.",
        clears=(f"session:{place}:*",),
        recovery=True,
        fields={"place": plain(place)},
    )


def _thing(kind: str) -> str:
    return _THINGS.get(kind, "session")


def _named(credential: str | None) -> str:
    return f' (credential "{plain(credential)}")' if credential else ""


def _renew(credential: str | None) -> str:
    if credential is None:
        return "sign in anew; docs/signed-in.md says how, and `backupd session test` how it stands"
    return (
        "get a new one as docs/signed-in.md says and put it where it comes from (for the keyring: "
        f"`backupd secret set {plain(credential)}`); `backupd session test` shows how it stands"
    )
