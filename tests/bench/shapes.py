"""The series that are measured, made by the project's generator; the same at every run."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backupd.demo.exports import Churn, Era, GeneratedExport, Options, series

SEED = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """A series: its length, its first size, what a week does, and the week that changes all."""

    name: str
    exports: int
    first: int
    schema_week: int
    churn: Churn


SHAPES = {
    "S": Shape(
        "S", 12, 379, 7,
        Churn(new=12, continued=4, edited=1, rewritten=1, deleted=1, retitled=2, flipped=4),
    ),
    "M": Shape(
        "M", 26, 2425, 14,
        Churn(new=25, continued=8, edited=3, rewritten=1, deleted=2, retitled=3, flipped=10),
    ),
}  # fmt: skip


def quick(shape: Shape) -> Shape:
    """Return a series of the same kind that takes seconds."""
    return replace(shape, exports=4, first=max(40, shape.first // 10), schema_week=2)


def exports(shape: Shape, era: Era) -> Iterator[GeneratedExport]:
    """Yield the series, and after it one export of 2026 of the same account."""
    eras: list[Era] = [era] * shape.exports
    options = Options(churn=shape.churn, schema_week=shape.schema_week, reordered_week=-1)
    return series(SEED, [*eras, "2026"], shape.exports + 1, shape.first, options)


def redate(source: Path, target: Path) -> None:
    """Copy a ZIP with another time stamp on every member: the same content, exported again."""
    data = bytearray(source.read_bytes())
    stamp = struct.pack("<HH", 0x4B21, 0x5B44)
    with zipfile.ZipFile(source) as archive:
        position = archive.start_dir
        for item in archive.infolist():
            data[item.header_offset + 10 : item.header_offset + 14] = stamp
            data[position + 12 : position + 16] = stamp
            name, extra, comment = struct.unpack_from("<3H", data, position + 28)
            position += 46 + name + extra + comment
    target.write_bytes(data)


def assets(path: Path) -> dict[tuple[int, int], int]:
    """Return the stored size of each asset of a ZIP by what tells it from others."""
    with zipfile.ZipFile(path) as archive:
        return {
            (item.CRC, item.file_size): item.compress_size
            for item in archive.infolist()
            if not item.filename.endswith((".json", ".html"))
        }


def page(path: Path) -> int:
    """Return the size of a ZIP's `chat.html`."""
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo("chat.html").file_size
