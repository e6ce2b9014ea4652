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
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol

from backupd.config import ChannelSettings
from backupd.errors import BackupdError
from backupd.notice import Notice, Severity

LIMIT = timedelta(seconds=30)

_LOUD = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib", "markdown", "slixmpp")
_KINDS = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "failure"}
_STATUS = re.compile(r"\berror=(\d{3})\b")
_silence = threading.Lock()


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
    apprise, reasons = _load()
    target = apprise.Apprise(
        asset=apprise.AppriseAsset(
            app_id="backupd",
            app_desc="backupd",
            app_url="",
            image_url_mask="",
            image_url_logo="",
            async_mode=False,
        )
    )
    if not target.add(url):
        return "the URL is not one that Apprise knows"
    reasons.forget()
    # The result is an object: only its truth tells whether every service took the notice.
    done = target.notify(
        title=f"backupd: {notice.title}",
        body=notice.body,
        notify_type=_KINDS[notice.severity],
        body_format="text",
    )
    return "" if done else reasons.reason()


def _load() -> tuple[Any, _Reasons]:
    """Import apprise once, silenced before it can write anything."""
    with _silence:
        for name in _LOUD:
            logger = logging.getLogger(name)
            logger.propagate = False
            if not any(isinstance(handler, _Reasons) for handler in logger.handlers):
                logger.handlers = [_REASONS]
            logger.setLevel(logging.WARNING)
        import apprise
    return apprise, _REASONS


class _Reasons(logging.Handler):
    """Swallows what apprise logs; keeps, for each thread, a cause that can hold no address."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Reduce one log record to a status or to "no connection"."""
        if status := _STATUS.search(record.getMessage()):
            self._last.reason = f"the service answered with status {status[1]}"
        elif "onnection" in str(record.msg):
            self._last.reason = "no connection to the service"

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Stay silent: the default prints the record with its arguments."""

    def forget(self) -> None:
        """Forget this thread's last cause."""
        self._last.reason = ""

    def reason(self) -> str:
        """Return this thread's last cause, in words."""
        return getattr(self._last, "reason", "") or "the service did not take the notice"


_REASONS = _Reasons()
