"""A series of exports of one invented account, the same for the same seed, and the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from backupd.demo.exports.container import Shape, ZipWriter
from backupd.demo.exports.conversations import Style
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.evolve import WEEK, first_step, next_step
from backupd.demo.exports.members import State, manifest, members
from backupd.demo.exports.privacy import write_archive
from backupd.demo.exports.values import Account, Churn, Era, Options, Truth

# When the first export of an era was made, if nothing else is asked for.
_STARTS: dict[Era, float] = {
    "2023": datetime(2023, 9, 3, 9, 12, 44, tzinfo=UTC).timestamp(),
    "2025": datetime(2025, 10, 5, 9, 12, 44, tzinfo=UTC).timestamp(),
    "2026": datetime(2026, 6, 7, 9, 12, 44, tzinfo=UTC).timestamp(),
    "privacy": datetime(2026, 8, 2, 9, 12, 44, tzinfo=UTC).timestamp(),
}


@dataclass(frozen=True, slots=True)
class GeneratedExport:
    """One export of a series; keeps the account's state, so it can be written at any time."""

    file_name: str
    exported_at: datetime
    era: Era
    account: Account
    truth: Truth
    state: State
    options: Options

    def write(self, path: Path) -> Path:
        """Write the ZIP to `path`, streamed, the same bytes at each call, and return `path`."""
        with path.open("wb") as file:
            self.write_to(file)
        return path

    def write_to(self, file: BinaryIO) -> None:
        """Write the ZIP to a seekable binary file that is at its beginning."""
        if self.era == "privacy":
            write_archive(self.state, file, self._write_members)
        else:
            self._write_members(file)

    def _write_members(self, file: BinaryIO) -> None:
        shape = Shape(self.options.zip64, self.options.data_descriptors)
        with ZipWriter(file, self.exported_at, shape) as writer:
            sizes = {
                member.name: writer.add(
                    member.name,
                    member.pieces(),
                    stored=member.is_asset and self.options.stored_assets,
                )
                for member in members(self.state)
            }
            if self.era in ("2026", "privacy"):
                last = manifest(sizes)
                writer.add(last.name, last.pieces())


def series(
    seed: int,
    era: Era | Sequence[Era] = "2025",
    exports: int = 4,
    conversations: int = 40,
    options: Options | None = None,
) -> Iterator[GeneratedExport]:
    """Yield weekly exports of an account that has `conversations` conversations at the first.

    `era` is one for all, or one for each export; the last given holds for the rest. A change of
    era leaves the conversations alone and writes them differently.
    """
    options = options or Options()
    eras: list[Era] = [era] if isinstance(era, str) else list(era)
    eras += [eras[-1]] * (exports - len(eras))
    churn = options.churn or Churn.for_size(conversations)
    dice = Dice(f"series/{seed}")
    account = make_account(seed)
    moments = _moments(dice, eras[:exports], options.start)
    step = first_step(dice, _style(eras[0], options), conversations, moments[0])
    for week, moment in enumerate(moments):
        if week:
            step = next_step(step, dice, _style(eras[week], options), churn, moment)
        exported_at = datetime.fromtimestamp(moment, UTC)
        state = State(
            account,
            eras[week],
            exported_at,
            step.conversations,
            later_keys=0 <= _week(options.schema_week, exports) <= week,
            by_update=_week(options.reordered_week, exports) == week,
        )
        name = export_name(account, exported_at, eras[week])
        yield GeneratedExport(name, exported_at, eras[week], account, step.truth, state, options)


def make_account(seed: int) -> Account:
    """Return the account whose exports a series of that seed shows."""
    dice = Dice(f"account/{seed}")
    prefix = hashlib.sha256(f"account/{seed}".encode()).hexdigest()
    return Account(prefix, f"user-{dice.alnum(24)}", "me@example.org")


def export_name(account: Account, exported_at: datetime, era: Era) -> str:
    """Return the file name of an export as its era writes it."""
    stamp = exported_at.strftime("%Y-%m-%d-%H-%M-%S")
    suffix = Dice(f"{account.prefix}/{stamp}").hex(32)
    if era == "privacy":
        return f"chatgpt_archive_{stamp}_{suffix[:8]}.zip"
    if era == "2023":
        return f"{account.prefix}-{stamp}.zip"
    return f"{account.prefix}-{stamp}-{suffix}.zip"


def _style(era: Era, options: Options) -> Style:
    return Style(rich=era != "2023", options=options)


def _week(chosen: int | None, exports: int) -> int:
    """Return the week of an event that by default falls into the middle of the series."""
    if chosen is not None:
        return chosen
    return exports // 2 if exports > 2 else -1


def _moments(dice: Dice, eras: list[Era], start: float | None) -> list[float]:
    """Return when the exports are made: about a week apart, in whole seconds."""
    moments = [_STARTS[eras[0]] if start is None else float(int(start))]
    for before, now in pairwise(eras):
        later = moments[-1] + WEEK + dice.between(-3600, 3600)
        moments.append(later if before == now else max(later, _STARTS[now]))
    return moments
