"""`backupd snapshots`: what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from backupd.cli.context import Context, emit_json, iso
from backupd.cli.output import table, when
from backupd.notice import amount, count

if TYPE_CHECKING:
    from backupd.export.versions import Counts
    from backupd.intake.accounts import Account
    from backupd.store.repository import Snapshot

    _Row = tuple[Snapshot, Account, Counts | None]

_COUNTS = ("total", "new", "changed", "metadata_changed", "unchanged", "gone")


@click.command("snapshots")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """List the snapshots, oldest export first."""
    from backupd.intake.accounts import Accounts

    with context.repository() as repository, context.catalog(repository) as catalog:
        snapshots = repository.snapshots()
        accounts = Accounts(snapshots, context.named_accounts())
        rows = [(one, accounts.of(one), catalog.counts(one.id)) for one in snapshots]
    if as_json:
        emit_json([_json(*row) for row in rows])
    elif rows:
        click.echo(_text(rows))
        context.say(_legend(rows))
    else:
        context.say("no snapshots yet; next: `backupd import FILE…`, or run the daemon")


_HEADERS = ("ID", "EXPORTED", "SIZE", "ADDED", "TOTAL", "NEW", "CHANGED", "GONE", "STATE")
_NUMBERS = ("SIZE", "ADDED", "TOTAL", "NEW", "CHANGED", "GONE")


def _text(rows: list[_Row]) -> str:
    """Lay the snapshots out in 80 columns; whose they are is shown where they are of several."""
    lines = [_line(snapshot, counts) for snapshot, _, counts in rows]
    accounts = [account for _, account, _ in rows]
    if len({account.id for account in accounts}) == 1:
        return table(_HEADERS, lines, _NUMBERS)
    shown = [(account.name or account.label[:8])[:12] for account in accounts]
    with_account = [(account, *line) for account, line in zip(shown, lines, strict=True)]
    return table(("ACCOUNT", *_HEADERS), with_account, _NUMBERS)


def _legend(rows: list[_Row]) -> str:
    unproven = sum(snapshot.proven_at is None for snapshot, _, _ in rows)
    waiting = f"; {unproven} not proven yet: the daemon does it, or importing the file again"
    return f"{count(len(rows), 'snapshot')}{waiting if unproven else ', all proven byte for byte'}"


def _line(snapshot: Snapshot, counts: Counts | None) -> tuple[str, ...]:
    numbers: tuple[str, ...] = ("?",) * 4
    if counts is not None:
        numbers = tuple(
            f"{number:,}" for number in (counts.total, counts.new, counts.changed, counts.gone)
        )
    return (
        snapshot.id[:12],
        when(snapshot.exported_at or snapshot.received_at)[:10],
        amount(snapshot.size),
        amount(snapshot.stored_bytes),
        *numbers,
        ("proven" if snapshot.proven_at else "stored")
        + (", INCOMPLETE" if snapshot.complete is False else ""),
    )


def _json(snapshot: Snapshot, account: Account, counts: Counts | None) -> dict[str, object]:
    return {
        "id": snapshot.id,
        "account": snapshot.account,
        "account_name": account.name,
        "exported_at": iso(snapshot.exported_at),
        "received_at": iso(snapshot.received_at),
        "sha256": snapshot.sha256,
        "size": snapshot.size,
        "stored_bytes": snapshot.stored_bytes,
        "complete": snapshot.complete,
        "proven_at": iso(snapshot.proven_at),
        "era": snapshot.era,
        "file_name": snapshot.origin.file_name,
        "conversations": None
        if counts is None
        else {name: getattr(counts, name) for name in _COUNTS},
    }
