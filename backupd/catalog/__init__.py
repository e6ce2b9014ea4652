"""The catalog: what every stored export holds, new, changed and gone. Derived, deletable.

Read `schema` for what is kept, `folding` for how an export is taken in, `catalog` for the rest.
"""

from __future__ import annotations

from backupd.catalog.catalog import Catalog
from backupd.catalog.database import CatalogBusy, CatalogDamaged
from backupd.catalog.query import QueryRefused
from backupd.catalog.values import (
    ConversationChange,
    ConversationRow,
    Hit,
    Hits,
    SnapshotFacts,
    SnapshotSummary,
    Source,
    Synced,
    VersionRow,
    Wanted,
)

__all__ = [
    "Catalog",
    "CatalogBusy",
    "CatalogDamaged",
    "ConversationChange",
    "ConversationRow",
    "Hit",
    "Hits",
    "QueryRefused",
    "SnapshotFacts",
    "SnapshotSummary",
    "Source",
    "Synced",
    "VersionRow",
    "Wanted",
]
