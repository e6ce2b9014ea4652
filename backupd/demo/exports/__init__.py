"""Generated exports: seeded series of every era, with the truth about what changed.

    for export in series(seed=7, era=["2023", "2025", "2026"], exports=3, conversations=40):
        export.write(directory / export.file_name)
        print(len(export.truth.new), len(export.truth.gone))

The content is invented, but the bytes are shaped like real exports: encoders, key order, escapes,
volatile fields, container. The same arguments give the same bytes wherever zlib deflates alike.
"""

from __future__ import annotations

from backupd.demo.exports.big import write_big
from backupd.demo.exports.series import GeneratedExport, series
from backupd.demo.exports.values import Account, Churn, Era, Options, TextChange, Truth

__all__ = [
    "Account",
    "Churn",
    "Era",
    "GeneratedExport",
    "Options",
    "TextChange",
    "Truth",
    "series",
    "write_big",
]
