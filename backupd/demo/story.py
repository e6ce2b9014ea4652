"""What the demo shows, step by step: claims about the real daemon, each with its evidence.

Three exports of one invented account are used, a week of chats apart; their mails arrive now,
because a link lives for a day only.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backupd.demo import mails
from backupd.demo.answers import Plan
from backupd.demo.exports import Churn, Era, GeneratedExport, Options, series
from backupd.demo.report import Step, expect
from backupd.demo.stage import AUTHSERV_ID, PASSWORD, Stage
from backupd.notice import amount

_ERAS: tuple[Era, ...] = ("2025", "2025", "2026")
_CONVERSATIONS = 60
_CHURN = Churn(new=4, continued=3, edited=1, rewritten=1, deleted=2, retitled=2, flipped=2)
_COUNTS = ("total", "new", "changed", "metadata_changed", "unchanged", "gone")
_FORGED = "0" * 64 + "-2026-01-01-00-00-00.zip"


class Story:
    """The steps of the demo on one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        start = datetime.now(UTC) - timedelta(days=14, hours=1)
        options = Options(churn=_CHURN, asset_share=0.01, start=start.timestamp(), schema_week=-1)
        self._exports = list(series(20, _ERAS, len(_ERAS), _CONVERSATIONS, options))
        originals = stage.root / "originals"
        originals.mkdir()
        self._files = [export.write(originals / export.file_name) for export in self._exports]
        self._hashes = [_sha256(path) for path in self._files]
        self._signatures: list[str] = []

    def steps(self) -> tuple[Step, ...]:
        """Return all steps, in an order in which each builds on those before."""
        return (
            Step("The real daemon starts and watches a mailbox", self._start),
            Step(
                "A mail brings a link; the ZIP is fetched though the server drops it", self._first
            ),
            Step("The next week's export shows what changed, and costs little", self._second),
            Step("A forged mail is refused, and its link is not touched", self._forgery),
            Step("A link behind a login becomes a notice that says what to do", self._wall),
            Step("The ZIP downloaded by hand clears it, by way of the drop folder", self._drop),
            Step("The daemon stops when it is told to", self._stop),
            Step("Every ZIP comes back, byte for byte", self._restore),
            Step("The repository is checked, every stored byte read", self._check),
            Step("No password and no signed link is left in any file", self._secrets),
        )

    def _start(self) -> Iterator[str]:
        stage = self._stage
        stage.done("init")
        daemon = stage.start_daemon()
        stage.wait(lambda: stage.imap.connections > 0, "the daemon to log in")
        stage.wait(lambda: _mailbox_is_ok(stage), "the mailbox to be read")
        yield f"backupd run: process {daemon.pid}, configuration {stage.root}/config.toml"
        yield f"mailbox personal: localhost:{stage.imap.port} over TLS, waiting in IDLE"

    def _first(self) -> Iterator[str]:
        name, size = self._offer(0, Plan(drops=(0.5,)))
        mail = mails.ready(self._envelope(), self._link(mails.azure_url, name), "plain")
        yield from self._arrives(mail, name)
        yield f"proof: dmarc=pass for tm.openai.com, said by {AUTHSERV_ID}"
        done = self._stage.downloads.wait_for_requests(name, 2, 20)
        expect(done, "the daemon did not come back for the rest")
        first, second = [one for one in self._stage.downloads.requests if one.file_name == name][:2]
        expect(not first.complete, "the server did not drop the connection")
        expect(second.status == 206 and second.start > 0, "the download was not resumed")
        yield (
            f"the server hung up after {amount(first.sent)} of {amount(size)}; "
            f"the download went on at byte {second.start:,}"
        )
        yield from self._stored(0, 1)

    def _second(self) -> Iterator[str]:
        name, size = self._offer(1, Plan())
        mail = mails.ready(self._envelope(), self._link(mails.estuary_url, name), "html")
        yield from self._arrives(mail, name)
        yield from self._stored(1, 2)
        cost = self._snapshot(1)["stored_bytes"]
        expect(cost < size / 4, f"it took {amount(cost)} of disk")
        yield f"on disk it took {amount(cost)}: {100 * cost / size:.1f} % of the ZIP"

    def _forgery(self) -> Iterator[str]:
        stage = self._stage
        stage.downloads.offer(_FORGED, self._files[0])
        stage.imap.deliver(
            mails.phishing(_now(), "forged-from", mails.azure_url(_FORGED, _now())), _now()
        )
        notice = stage.notice("mail_refused", 1)
        yield f'notice, {notice["severity"]}: "{notice["title"]}"'
        yield str(notice["body"]).split("\n")[0]
        asked = [one for one in stage.downloads.requests if one.file_name == _FORGED]
        expect(not asked, "the forged link was opened")
        yield "requests for its link: 0"
        stage.done("approve", str(notice["delivery"]), "--reject", "--yes")
        expect(not stage.json("status")["deliveries"], "the forgery is still asked about")
        yield "backupd approve … --reject: nothing is asked any more"

    def _wall(self) -> Iterator[str]:
        name, _ = self._offer(2, Plan(wall="login-redirect"))
        mail = mails.ready(self._envelope(), self._link(mails.estuary_url, name))
        yield from self._arrives(mail, name)
        notice = self._stage.notice("sign_in_needed", 1)
        yield f'notice, {notice["severity"]}: "{notice["title"]}"'
        yield str(notice["body"])
        status = self._stage.verb("status", "--json")
        expect(status.code == 21, f"status ended with {status.code}")
        expect("ACTION NEEDED" in status.stdout, "status does not ask for action")
        yield "backupd status: ACTION NEEDED, exit code 21"

    def _drop(self) -> Iterator[str]:
        stage, source = self._stage, self._files[2]
        # As a browser does it: another name until the download is complete.
        partial = stage.drop / f"{source.name}.crdownload"
        shutil.copyfile(source, partial)
        partial.rename(stage.drop / source.name)
        yield from self._stored(2, 3)
        stage.wait(lambda: not any(stage.drop.iterdir()), "the drop folder to be emptied")
        status = stage.json("status")
        expect(not status["deliveries"], "a delivery is still pending")
        expect(status["state"] == "OK", f"status says {status['state']}")
        yield "drop folder empty, nothing pending, backupd status: OK"
        yield "this export is in the format of 2026: other bytes, the same conversations"

    def _stop(self) -> Iterator[str]:
        start = time.monotonic()
        code = self._stage.stop_daemon()
        seconds = time.monotonic() - start
        expect(code == 0, f"it ended with {code}")
        expect(seconds < 5, f"it took {seconds:.1f} s")
        yield f"SIGTERM: ended with exit code 0 after {seconds:.1f} s"

    def _restore(self) -> Iterator[str]:
        ids = {one["sha256"]: one["id"] for one in self._stage.json("snapshots")}
        for number, expected in enumerate(self._hashes):
            expect(expected in ids, f"export {number + 1} is not among the snapshots")
            target = self._stage.root / f"restored-{number}.zip"
            self._stage.done("restore", ids[expected], "--output", str(target))
            found = _sha256(target)
            expect(found == expected, f"snapshot {ids[expected][:12]} has SHA-256 {found}")
            yield f"snapshot {ids[expected][:12]}: SHA-256 {found[:32]}… as the server sent it"

    def _check(self) -> Iterator[str]:
        ended = self._stage.done("check", "--read-data")
        said = (ended.stdout + ended.stderr).strip().splitlines()
        yield said[-1] if said else "no damage"

    def _secrets(self) -> Iterator[str]:
        stage = self._stage
        said = [stage.verb(verb, "--json").stdout for verb in ("notices", "status")]
        kept = [stage.log, *_files_below(stage.root / "state", stage.root / "repository")]
        written = [text.encode() for text in said] + [path.read_bytes() for path in kept]
        for secret in (PASSWORD, *self._signatures):
            found = sum(secret.encode() in data for data in written)
            expect(not found, f"{found} of {len(written)} texts and files hold a secret")
        size = sum(map(len, written))
        yield (
            f"searched: notices, status, log, and the {len(kept) - 1} files of ledger and "
            f"repository, {amount(size)}"
        )

    def _offer(self, number: int, plan: Plan) -> tuple[str, int]:
        """Let the server have an export; return its name and size."""
        path = self._files[number]
        self._stage.downloads.offer(path.name, path, plan)
        return path.name, path.stat().st_size

    def _link(self, make: Callable[[str, datetime], str], name: str) -> str:
        """Return a link, and remember the signature in it."""
        url = make(name, _now())
        # Its first part is free of characters that a URL, JSON or a log would write differently.
        self._signatures.append(parse_qs(urlsplit(url).query)["sig"][0][:32])
        return url

    def _envelope(self) -> mails.Envelope:
        return mails.Envelope(date=_now(), authserv_id=AUTHSERV_ID)

    def _arrives(self, mail: bytes, name: str) -> Iterator[str]:
        """Deliver a mail and wait until its link is opened."""
        start = time.monotonic()
        self._stage.imap.deliver(mail, _now())
        opened = self._stage.downloads.wait_for_requests(name, 1, 20)
        expect(opened, "nobody asked for the export within 20 s")
        seconds = time.monotonic() - start
        yield f"mail delivered; found, proven and its link opened {seconds:.2f} s later"

    def _stored(self, number: int, notices: int) -> Iterator[str]:
        """Wait until an export is stored, and compare what is said of it with the truth."""
        self._stage.notice("stored", notices)
        snapshot = self._snapshot(number)
        counts, truth = snapshot["conversations"], _counts(self._exports[number])
        expect(counts is not None, "its conversations were not counted")
        said = {name: counts[name] for name in _COUNTS}
        expect(said == truth, f"counted {said}, but the truth is {truth}")
        yield (
            f"stored as snapshot {snapshot['id'][:12]}: {truth['total']} conversations, "
            f"{truth['new']} new, {truth['changed']} changed, {truth['metadata_changed']} retitled "
            f"or flagged, {truth['unchanged']} unchanged, {truth['gone']} gone"
        )

    def _snapshot(self, number: int) -> dict[str, Any]:
        """Return what is said of the snapshot of an export."""
        found = [
            snapshot
            for snapshot in self._stage.json("snapshots")
            if snapshot["sha256"] == self._hashes[number]
        ]
        expect(len(found) == 1, f"{len(found)} snapshots have the SHA-256 of export {number + 1}")
        return dict(found[0])


def _files_below(*roots: Path) -> list[Path]:
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file())


def _mailbox_is_ok(stage: Stage) -> bool:
    return all(mailbox["state"] == "ok" for mailbox in stage.json("status")["mailboxes"])


def _counts(export: GeneratedExport) -> dict[str, int]:
    truth = export.truth
    return {
        "total": truth.total,
        "new": len(truth.new),
        "changed": len(truth.changed),
        "metadata_changed": len(truth.metadata_changed),
        "unchanged": len(truth.unchanged),
        "gone": len(truth.gone),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)
