"""The real daemon against real servers on loopback: mail in, snapshot out, person told."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupd.demo import mails
from backupd.demo.imap import DemoImap
from tests.support.stage import PASSWORD, Stage, demo_stage, exports, just_now, until

Staged = tuple[Stage, DemoImap]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    with demo_stage(tmp_path) as both:
        yield both


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def big_zip(path: Path, mebibytes: int) -> Path:
    """Write a ZIP with one asset that does not compress."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", "[]")
        archive.writestr("file-a.png", random.Random(1).randbytes(mebibytes << 20))
    return path


def states(stage: Stage) -> list[str]:
    rows = stage.ledger("SELECT state FROM deliveries ORDER BY created_at")
    return [row["state"] for row in rows]


def test_a_mail_becomes_a_snapshot_that_comes_back_byte_for_byte(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    source = stage.offer(export, drops=(0.5,))
    with stage.daemon():
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: "stored" in stage.events(), 30, "the export to be stored")

    (snapshot,) = stage.json("snapshots")
    stage.run("restore", "latest", "--output", str(stage.root / "back.zip"))

    assert snapshot["sha256"] == sha256(source) == sha256(stage.root / "back.zip")
    assert snapshot["conversations"]["new"] == export.truth.total
    assert [request.start > 0 for request in stage.downloads.requests] == [False, True]
    assert stage.events() == ["service_started", "mail_found", "stored", "service_stopped"]
    assert stage.json("status")["state"] == "OK"


def test_a_login_wall_is_told_at_once_and_the_drop_folder_clears_it(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    source = stage.offer(export, wall="login-redirect")
    with stage.daemon():
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: "sign_in_needed" in stage.events(), 20, "the person to be told")
        status = stage.json("status")
        assert status["state"] == "ACTION NEEDED"
        assert status["running"] is True
        assert "browser" in status["deliveries"][0]["needs"]

        shutil.copyfile(source, stage.drop / "half.zip.crdownload")
        shutil.copyfile(source, stage.drop / f"{export.file_name[:-4]} (1).zip")
        until(lambda: "stored" in stage.events(), 60, "the dropped file to be stored")

    assert states(stage) == ["stored"]
    assert stage.json("status")["state"] == "OK"
    assert [path.name for path in stage.drop.iterdir()] == ["half.zip.crdownload"]
    assert "daemon: not running" in stage.run("status")


@pytest.mark.parametrize("kind", ["forged-from", "look-alike", "no-proof"])
def test_an_unproven_mail_is_told_of_and_nothing_is_fetched(staged: Staged, kind: str) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    verdict = {"forged-from": "fail", "look-alike": "pass", "no-proof": "none"}[kind]
    extra = {"header_from": "evil.example"} if kind == "look-alike" else {}
    raw = stage.ready_mail(export, verdict=verdict, **extra)
    with stage.daemon():
        imap.deliver(raw, just_now())
        until(lambda: "mail_refused" in stage.events(), 20, "the refusal")

    assert stage.downloads.requests == ()
    assert states(stage) == ["needs-you"]
    assert stage.json("snapshots") == []


def test_a_person_lets_an_unproven_mail_through(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    with stage.daemon():
        imap.deliver(stage.ready_mail(export, verdict="none"), just_now())
        until(lambda: "mail_refused" in stage.events(), 20, "the question")
        (asked,) = stage.json("notices")[-1:]
        (waiting,) = stage.json("status")["deliveries"]
        stage.run("approve", waiting["id"], code=2)
        assert states(stage) == ["needs-you"]
        shown = stage.run("approve", waiting["id"][:3], "--yes")
        until(lambda: "stored" in stage.events(), 50, "the export")

    assert f"backupd approve {waiting['id']}" in asked["body"]
    assert "noreply@tm.openai.com" in asked["body"]
    assert waiting["needs"] == f"look at its mail, then `backupd approve {waiting['id']}`"
    assert "dmarc=none" in shown
    assert states(stage) == ["stored"]
    stage.run("approve", waiting["id"], "--yes", code=2)


def test_a_person_turns_an_unproven_mail_down(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    imap.deliver(stage.ready_mail(export, verdict="fail"), just_now())
    stage.run("poll", code=21)
    (waiting,) = stage.json("status")["deliveries"]
    stage.run("approve", waiting["id"], "--reject", "--yes")

    assert stage.json("status")["state"] == "OK"
    assert stage.events() == ["mail_refused", "approval_closed"]
    assert stage.ledger("SELECT link FROM deliveries")[0]["link"] is None
    stage.run("poll")
    assert stage.downloads.requests == ()


def test_doctor_suggests_whose_verdicts_to_believe(staged: Staged) -> None:
    stage, imap = staged
    for number in range(4):
        kind = mails.Envelope(just_now(), subject=f"code {number}", authserv_id="mx.example.org")
        imap.deliver(mails.started(kind), just_now())
    stage.config.write_text(stage.config.read_text().replace('authserv_id = "mx.example.org"', ""))

    found = {one["check"]: one for one in stage.json("doctor")}["verdicts in personal"]

    assert found["verdict"] == "caution"
    assert "of 4 mails, mx.example.org on 4 gave a DMARC verdict" in found["seen"]
    assert 'set authserv_id = "mx.example.org"' in found["fix"]


def test_a_started_mail_opens_a_request_that_the_export_closes(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    with stage.daemon():
        now = just_now()
        imap.deliver(mails.started(mails.Envelope(date=now, subject=mails.STARTED)), now)
        until(lambda: "export_started" in stage.events(), 20, "the started mail")
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: "stored" in stage.events(), 30, "the export")

    closed = stage.ledger("SELECT closed_at FROM requests")
    assert [row["closed_at"] is not None for row in closed] == [True]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_that_ended_resumes_the_download_where_it_was(
    staged: Staged, how: signal.Signals
) -> None:
    stage, imap = staged
    (export,) = exports(1)
    source = big_zip(stage.root / export.file_name, 40)
    stage.offer(export, stall_after=30 << 20)
    with stage.daemon() as daemon:
        imap.deliver(stage.ready_mail(export), just_now())
        incoming = stage.root / "repository" / "incoming"
        until(
            lambda: any(path.stat().st_size >= 30 << 20 for path in incoming.glob("*.part")),
            20,
            "the first half",
        )
        daemon.send_signal(how)
        daemon.wait(10)
    stage.offer(export)
    with stage.daemon():
        until(lambda: "stored" in stage.events(), 30, "the export")

    assert stage.downloads.requests[-1].start > 15 << 20
    assert stage.json("snapshots")[0]["sha256"] == sha256(source)
    assert list(incoming.iterdir()) == []


def test_sigterm_ends_a_stalled_download_within_five_seconds(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1, conversations=60)
    stage.offer(export, stall_after=200_000)
    with stage.daemon() as daemon:
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: states(stage) == ["fetching"], 20, "the download to begin")
        time.sleep(0.5)
        began = time.monotonic()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0

    assert time.monotonic() - began < 5
    assert "service_stopped" in stage.events()


def test_the_same_mail_in_another_folder_or_under_another_uid_is_fetched_once(
    staged: Staged,
) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    raw = stage.ready_mail(export)
    with stage.daemon():
        imap.deliver(raw, just_now())
        until(lambda: "stored" in stage.events(), 30, "the export")
        imap.deliver(raw, just_now())
        other = stage.ready_mail(export, message_id="<another@geopod-ismtpd-1>")
        imap.deliver(other, just_now())
        second, third = exports(2)[1], just_now()
        stage.offer(second)
        imap.deliver(stage.ready_mail(second), third)
        until(lambda: stage.events().count("stored") == 2, 30, "the second export")

    names = [request.file_name for request in stage.downloads.requests]
    assert names == [export.file_name, second.file_name]


def test_a_refused_login_is_told_once_and_ends_with_the_right_password(staged: Staged) -> None:
    stage, imap = staged
    stage.set_password("wrong")
    stage.config.write_text(stage.config.read_text().replace('poll = "2s"', 'poll = "1s"'))
    with stage.daemon() as daemon:
        until(lambda: "mailbox_refused" in stage.events(), 20, "the refusal")
        time.sleep(2.5)  # two polls long: whoever retried would have done so by now
        assert stage.events().count("mailbox_refused") == 1
        assert stage.json("status")["mailboxes"][0]["state"] == "refused"
        stage.run("status", code=12)

        stage.set_password(PASSWORD)
        daemon.send_signal(signal.SIGHUP)
        until(lambda: "mailbox_recovered" in stage.events(), 20, "the recovery")
    assert imap.port


def test_an_invalid_file_at_reload_keeps_the_old_settings(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export)
    with stage.daemon() as daemon:
        until(lambda: "service_started" in stage.events(), 20, "the start")
        good = stage.config.read_text()
        stage.config.write_text(good.replace("[schedule]", "[schedul]"))
        daemon.send_signal(signal.SIGHUP)
        until(lambda: "reload: " in stage.log_text(), 20, "the complaint")
        stage.config.write_text(good)
        until(lambda: "reload_failed" in stage.events(), 20, "the notice")
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: "stored" in stage.events(), 30, "the export")
        assert daemon.poll() is None


def test_a_second_daemon_and_a_poll_are_refused_with_exit_code_11(staged: Staged) -> None:
    stage, _ = staged
    with stage.daemon():
        until(lambda: "service_started" in stage.events(), 20, "the start")
        stage.run("run", code=11)
        stage.run("poll", code=11)


def test_poll_does_one_pass_and_exits(staged: Staged) -> None:
    stage, imap = staged
    first, second = exports(2)
    stage.offer(first)
    path = stage.offer(second)
    imap.deliver(stage.ready_mail(first), just_now())
    shutil.copyfile(path, stage.drop / "by-hand.zip")

    stage.run("poll")

    assert len(stage.json("snapshots")) == 2
    assert not list(stage.drop.iterdir())


@pytest.mark.parametrize(("wall", "code"), [("forbidden", 21), ("expired", 21), ("broken", 22)])
def test_poll_says_by_its_exit_code_that_an_export_is_not_here(
    staged: Staged, wall: str, code: int
) -> None:
    stage, imap = staged
    (export,) = exports(1)
    stage.offer(export, wall=wall)
    imap.deliver(stage.ready_mail(export), just_now())

    stage.run("poll", code=code)


def test_a_broken_zip_is_quarantined_and_asked_for_once_more(staged: Staged) -> None:
    stage, imap = staged
    (export,) = exports(1)
    path = stage.offer(export)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with stage.daemon():
        imap.deliver(stage.ready_mail(export), just_now())
        until(lambda: states(stage) == ["needs-you"], 60, "the second damaged download")

    kept = list((stage.root / "repository" / "quarantine").glob("*.zip"))
    assert [sha256(file) for file in kept] == [hashlib.sha256(data).hexdigest()]
    assert "quarantined" in stage.events()
    assert stage.json("snapshots") == []


def test_no_secret_and_no_signature_is_left_anywhere(staged: Staged) -> None:
    stage, imap = staged
    stored, walled = exports(2, conversations=60)  # large enough to be resumed at once
    stage.offer(stored, drops=(0.6,))
    stage.offer(walled, wall="forbidden")
    raws = [stage.ready_mail(export) for export in (stored, walled)]
    with stage.daemon() as daemon:
        for raw in raws:
            imap.deliver(raw, just_now())
        until(lambda: {"stored", "sign_in_needed"} <= set(stage.events()), 40, "both ends")
        process = Path(f"/proc/{daemon.pid}")
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    seen += stage.log_text().encode() + stage.run("notices").encode()
    seen += json.dumps([stage.json("status"), stage.json("notices")]).encode()
    ledger = b"".join(path.read_bytes() for path in (stage.root / "state").glob("ledger*"))
    links = [_signature(raw) for raw in raws]

    assert b"sig=" not in seen
    assert PASSWORD.encode() not in seen + ledger
    assert links[0] not in ledger
    assert links[1] in ledger
    files = [path for path in (stage.root / "repository").rglob("*") if path.is_file()]
    assert not [path for path in files if b"sig=" in path.read_bytes()]


def _signature(raw: bytes) -> bytes:
    text = raw.replace(b"=\r\n", b"").replace(b"=3D", b"=")
    return text.partition(b"sig=")[2][:64]


def test_import_works_while_the_daemon_runs(staged: Staged) -> None:
    stage, _ = staged
    (export,) = exports(1)
    path = stage.offer(export)
    with stage.daemon():
        until(lambda: "service_started" in stage.events(), 20, "the start")
        stage.run("import", str(path))

    assert len(stage.json("snapshots")) == 1
