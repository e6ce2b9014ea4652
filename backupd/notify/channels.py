"""Channels: where notices go besides the journal and the notice log, by Apprise.

This module owns apprise: it is imported at the first send (it takes a second and much memory), its
loggers and those of the libraries below it are silenced for good (they write URLs, which hold
tokens), and of its failures only what cannot hold an address gets out. A channel is known by its
id, never by its URL (I6).

A send has a time limit. One that outlives it is not given up but remembered: the next send waits
for it first, and does not repeat the same notice if that came through after all.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from typing import Any, Protocol

from backupd.config import ChannelSettings
from backupd.errors import BackupdError
from backupd.notice import Notice, Severity

LIMIT = timedelta(seconds=30)

_BELOW = ("urllib3", "requests", "requests_oauthlib", "oauthlib", "markdown", "slixmpp", "paho")
_NEVER = logging.CRITICAL + 1
_KINDS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "failure"}
_STATUS = re.compile(r"\berror=(\d{3})\b")
_loading = threading.Lock()


class Secrets(Protocol):
    """Gives a credential by its name."""

    def get(self, name: str) -> str:
        """Return the secret, or raise CredentialError."""


class Channel(Protocol):
    """One way to a person."""

    @property
    def id(self) -> str:
        """Name the channel in logs and in the outbox; never a part of its URL but the scheme."""

    @property
    def min_severity(self) -> Severity:
        """Return the least severity that this channel is told of."""

    def send(self, notice: Notice, limit: timedelta = LIMIT) -> str:
        """Deliver one notice; return why that failed, or an empty string. Never raises."""


def open_channels(
    settings: Iterable[ChannelSettings], secrets: Secrets
) -> tuple[AppriseChannel, ...]:
    """Return the configured channels; nothing is looked up or connected before the first send."""
    return tuple(_channel(one, secrets) for one in settings)


def _channel(settings: ChannelSettings, secrets: Secrets) -> AppriseChannel:
    def url() -> str:
        if settings.url is not None:
            return settings.url.get_secret_value()
        return secrets.get(settings.credential or "").strip()

    return AppriseChannel(settings.id, Severity(settings.min_severity), url)


class AppriseChannel:
    """A channel behind an Apprise URL, which is asked for at every send. One send at a time."""

    def __init__(self, id: str, min_severity: Severity, url: Callable[[], str]) -> None:  # noqa: A002
        self._id = id
        self._min_severity = min_severity
        self._url = url
        self._under_way: _Sending | None = None
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """Name the channel; holds no part of the URL but the scheme."""
        return self._id

    @property
    def min_severity(self) -> Severity:
        """Return the least severity that this channel is told of."""
        return self._min_severity

    def send(self, notice: Notice, limit: timedelta = LIMIT) -> str:
        """Deliver one notice; return why that failed, or an empty string."""
        with self._lock:
            return self._send(notice, limit.total_seconds())

    def _send(self, notice: Notice, limit: float) -> str:
        late = self._under_way
        if late is not None:
            if not late.done.wait(limit):
                return "an earlier notice is still under way"
            self._under_way = None
            if late.notice == notice and not late.problem:
                return ""
        sending = self._under_way = _Sending(self._url, notice)
        if not sending.done.wait(limit):
            return f"no answer within {limit:.0f} seconds"
        self._under_way = None
        return sending.problem


class _Sending:
    """One notice on its way, in a thread that does not keep the process from ending."""

    def __init__(self, url: Callable[[], str], notice: Notice) -> None:
        self.notice = notice
        self.problem = ""
        self.done = threading.Event()
        self._url = url
        threading.Thread(target=self._run, name="notice", daemon=True).start()

    def _run(self) -> None:
        try:
            self.problem = _deliver(self._url(), self.notice)
        except BackupdError as error:  # the credential; its text holds no secret
            self.problem = error.message
        except Exception as error:  # noqa: BLE001  # any plugin's any error; its text may hold the URL
            self.problem = f"the service's plugin failed with {type(error).__name__}"
        finally:
            self.done.set()


def _deliver(url: str, notice: Notice) -> str:
    """Send one notice in this thread; Apprise's own pool would hold up the process's end."""
    with _loading:
        apprise, reasons = _load()
    service = apprise.Apprise.instantiate(url, asset=_asset(apprise))
    if service is None:
        return "the URL is not one that Apprise knows"
    reasons.forget()
    # Only the truth of the result tells: some releases return an object, not a bool.
    done = service.notify(
        title=f"backupd: {notice.title}",
        body=notice.body,
        notify_type=_KINDS[notice.severity],
        body_format="text",
    )
    return "" if done else reasons.reason()


def _asset(apprise: Any) -> Any:
    """Return how backupd presents itself: without pictures, which would be addresses (I6)."""
    return apprise.AppriseAsset(
        app_id="backupd", app_desc="backupd", app_url="", image_url_mask="", image_url_logo=""
    )


@cache
def _load() -> tuple[Any, _Reasons]:
    """Import apprise and its plugins, silenced before they can write anything."""
    reasons = _Reasons()
    for name in _BELOW:  # children take the level of these
        logging.getLogger(name).setLevel(_NEVER)
    logging.getLogger("apprise").setLevel(logging.WARNING)
    logging.getLogger("apprise").addFilter(reasons)  # not a handler: nothing may get past it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its plugins import what Python is about to drop
        import apprise

        apprise.Apprise.instantiate("json://localhost")  # the first URL makes it import its plugins
    return apprise, reasons


class _Reasons(logging.Filter):
    """Drops what apprise logs; keeps, for each thread, a cause that can hold no address."""

    def __init__(self) -> None:
        super().__init__()
        self._last = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Reduce one log record to a status or to "no connection"; let none pass."""
        if status := _STATUS.search(record.getMessage()):
            self._last.reason = f"the service answered with status {status[1]}"
        elif "onnection" in str(record.msg):
            self._last.reason = "no connection to the service"
        return False

    def forget(self) -> None:
        """Forget this thread's last cause."""
        self._last.reason = ""

    def reason(self) -> str:
        """Return this thread's last cause, in words."""
        return getattr(self._last, "reason", "") or "the service did not take the notice"
