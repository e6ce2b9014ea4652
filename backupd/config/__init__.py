"""The configuration file: TOML to frozen settings, all problems reported together.

`load` reads a file, `locate` says which one, `cautions` lists what is allowed but likely unwanted.
"""

from __future__ import annotations

from backupd.config.checks import cautions
from backupd.config.load import example_text, load, locate
from backupd.config.schema import (
    AccountSettings,
    ChannelSettings,
    CredentialSettings,
    DownloadSettings,
    HeartbeatSettings,
    MailboxSettings,
    RepositorySettings,
    ScheduleSettings,
    Settings,
    StateSettings,
)
from backupd.config.show import show

__all__ = [
    "AccountSettings",
    "ChannelSettings",
    "CredentialSettings",
    "DownloadSettings",
    "HeartbeatSettings",
    "MailboxSettings",
    "RepositorySettings",
    "ScheduleSettings",
    "Settings",
    "StateSettings",
    "cautions",
    "example_text",
    "load",
    "locate",
    "show",
]
