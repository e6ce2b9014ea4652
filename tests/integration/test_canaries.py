"""Whole-program runs at debug level with a canary in every slot that holds a secret: no hits.

The daemon runs with an encrypted repository, fails, succeeds, is asked by every verb that shows
something, and is looked at from outside all the while. A case is one canary at one place.
Where the journal is off, what it would be given goes to the log, so that the log holds both.
Under BACKUPD_FULL=1 once for each way to sign in, with and without a server that accepts it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backupd.demo.certificates import Authority
from backupd.demo.downloads import DownloadServer
from backupd.demo.imap import DemoImap
from backupd.download.cookies import SESSION
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.canaries import files_below, hits, holds, shapes, watched
from tests.support.https import HOSTS, Exchange, Script, Server, serve
from tests.support.sessions import COOKIE, FAR, TOKEN, cookie_file, cookie_row, jwt, wall
from tests.support.sinks import HttpSink, http_sink
from tests.support.stage import PASSWORD, Stage, exports, just_now, until
from tests.support.storing import conversation, export_bytes

CANARIES = campaign("secret canaries")
_PROGRAM = """
import pathlib, sys, time
print(pathlib.Path(sys.argv[1]).read_text(), flush=True)
end = time.monotonic() + 5
while not pathlib.Path(sys.argv[2]).exists() and time.monotonic() < end:
    time.sleep(0.01)
"""
"""Prints a credential, and stays until it was seen from outside."""
PASSPHRASE = "canary-passphrase-eleven-words"
CHAT = "canaryCHATTEXT7f3a"
TITLE = "canaryCHATTITLE9b1c"
BODY = "canaryMAILBODY55e0"
HOOK = "canaryHOOK71aa"
HEARTBEAT = "canaryHEARTBEAT0c4d"
HOP = "canaryREDIRECT83fe"
ECHO = "canaryECHO6d21"
ROTATED = f"{COOKIE}-renewed"
SHOWN = (
    ("doctor",), ("status",), ("status", "--json"), ("notices",), ("notices", "--json"),
    ("snapshots", "--json"), ("stats", "--json"), ("session", "test", "--json"),
    ("config", "show"), ("config", "validate"), ("secret", "test", "imap-personal"),
    ("check", "--read-data", "--json"), ("notify", "test"), ("poll",), ("restore", "nothing"),
    ("approve", "nothing"), ("key", "list"),
)  # fmt: skip
SHORT = (("doctor",), ("status", "--json"), ("notices", "--json"))
RUNS = [
    (kind, ends)
    for kind in ("cookies", "bearer", "none")
    for ends in ("stored", "refused")
    if FULL or (kind, ends) == ("cookies", "stored")
]


@dataclass(frozen=True)
class Run:
    """One stage: its servers, its repository, its canaries by what they are."""

    stage: Stage
    imap: DemoImap
    server: Server
    hook: HttpSink
    canaries: dict[str, str]


@contextmanager
def prepared(root: Path, kind: str) -> Iterator[Run]:
    """Set the stage, with a canary wherever something secret can stand."""
    authority = Authority()
    with (
        DownloadServer(authority) as downloads,
        Server(authority.server_context(*HOSTS)) as server,
        DemoImap(authority.server_context("localhost"), "demo", PASSWORD) as imap,
        http_sink() as hook,
    ):
        stage = Stage(root, authority, downloads)
        printed = root / "printed"
        program = root / "program.py"
        program.write_text(_PROGRAM)
        printed.write_text(f"json://127.0.0.1:{hook.port}/{HOOK}?+X-Key={HOOK}")
        stage.configure(imap.port, extra=_extra(program, printed))
        routes = ", ".join(f'"{host}:443" = "127.0.0.1:{server.port}"' for host in HOSTS)
        lines = stage.config.read_text().splitlines()
        kept = "\n".join(line for line in lines if not line.startswith("connect_to"))
        signing = (
            f'session = "{kind}"\nsession_credential = "session-me"\n' if kind != "none" else ""
        )
        kept = kept.replace("[download]", f"[download]\n{signing}connect_to = {{ {routes} }}")
        path = f'path = "{root}/repository"'
        stage.config.write_text(kept.replace(path, f'{path}\ncredential = "repository"', 1))
        secret = cookie_file(cookie_row()) if kind == "cookies" else jwt(FAR)
        stage.set_password(secret, "session-me")
        stage.set_password(PASSPHRASE, "repository")
        stage.run("init", "--encrypt", "--recovery-key-file", str(root / "recovery"))
        yield Run(stage, imap, server, hook, _canaries(root, kind))


def _extra(program: Path, printed: Path) -> str:
    return f"""
[credentials.hook]
command = ["{sys.executable}", "{program}", "{printed}", "{printed}.seen"]
[[notify]]
credential = "hook"
[[notify]]
url = "json://127.0.0.1:9/{HOOK}"
[heartbeat]
url = "https://localhost/{HEARTBEAT}"
"""


def _canaries(root: Path, kind: str) -> dict[str, str]:
    recovery = re.findall(r"[A-Z0-9]{4,}(?:-[A-Z0-9]{4,})+", (root / "recovery").read_text())
    session = {"cookies": {"cookie": COOKIE, "renewed cookie": ROTATED}, "bearer": {"token": TOKEN}}
    return {
        "mailbox password": PASSWORD,
        "passphrase": PASSPHRASE,
        "recovery key": max(recovery, key=len),
        "channel": HOOK,
        "heartbeat": HEARTBEAT,
        "redirect": HOP,
        "server's text": ECHO,
        "mail text": BODY,
        "chat text": CHAT,
        "chat title": TITLE,
        **session.get(kind, {}),
    }


def answers(kind: str, ends: str, data: bytes) -> Script:
    """Fail in several ways that echo what was sent; then redirect, and serve or refuse."""

    def script(exchange: Exchange) -> None:
        fields = exchange.request.fields
        echoed = f"{ECHO} {fields.get('cookie', '')} {fields.get('authorization', '')}".encode()
        if "hop=" in exchange.request.target:
            serve(data)(exchange) if ends == "stored" else wall(exchange)
        elif exchange.number == 0 and FULL:  # the next attempt is ten seconds away
            exchange.answer(500, echoed, f"X-Echo: {ECHO}", f"Retry-After: {ECHO}")
        elif ends == "refused" and exchange.number > 1:
            exchange.answer(403, echoed, f"Set-Cookie: a={ECHO}")
        elif kind == "bearer" and ends == "stored":
            serve(data)(exchange)
        else:
            target = f"{exchange.request.target}&hop={HOP}"
            fresh = f"Set-Cookie: {SESSION}={ROTATED}; Domain=.chatgpt.com; Path=/; Max-Age=9999"
            exchange.answer(302, echoed, f"Location: {target}", f"{fresh}; Secure")

    return script


@pytest.mark.parametrize(("kind", "ends"), RUNS)
def test_no_secret_leaves_its_place(kind: str, ends: str, tmp_path: Path) -> None:
    talk = conversation(1)
    talk["title"] = TITLE
    talk["mapping"] = {"n": {"message": {"content": {"parts": [CHAT]}}}}
    with prepared(tmp_path, kind) as run:
        stage = run.stage
        run.server.play(answers(kind, ends, export_bytes([talk])))
        run.hook.statuses += [500]
        (export,) = exports(1)
        mail = stage.ready_mail(export)
        mail = mail.replace(b"Questions?", f"{BODY} Questions?".encode())
        sig = re.search(rb"sig=3?D?=?\r?\n?([0-9a-zA-Z%]{16,60})", mail)
        assert sig is not None and BODY.encode() in mail
        secrets = {**run.canaries, "link": sig[1].decode()[:24]}
        with stage.daemon() as daemon, watched(daemon.pid, tmp_path / "printed.seen") as watch:
            run.imap.deliver(mail, just_now())
            awaited = "stored" if ends == "stored" else "sign_in_needed"
            until(lambda: awaited in stage.events(), 60, awaited)
            places = _shown(stage, SHOWN if FULL else SHORT)
        places["log and journal"] = {"log": stage.log_text().encode()}
        places["argv"] = {"argv": b"\n".join(watch.argv)}
        places["environ"] = {"environ": b"\n".join(watch.environ)}
        places["notices that were sent"] = {"sent": repr(run.hook.requests).encode()}
        places.update(_files(stage))

        assert secrets["link"] in run.server.requests[0].target, "another canary than the link's"
        assert [request for request in run.server.requests if "hop=" in request.target] or (
            kind == "bearer" or ends == "refused"
        )
        _check(secrets, places, f"{kind}, {ends}", ends)
        assert len(watch.processes) > 1, "no child was seen"


def _shown(stage: Stage, verbs: tuple[tuple[str, ...], ...]) -> dict[str, dict[str, bytes]]:
    """Run the verbs that show something, at debug level; keep both streams."""
    shown = {}
    for verb in verbs:
        done = subprocess.run(
            [*stage.command(), "-vv", *verb],
            env=stage.environment(), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode < 100, (verb, done.stderr)
        shown[" ".join(verb)] = {"stdout": done.stdout, "stderr": done.stderr}
    return shown


def _files(stage: Stage) -> dict[str, dict[str, bytes]]:
    root = stage.root
    ledger = {
        name: data for name, data in files_below(root / "state").items() if "ledger.sqlite" in name
    }
    state = {n: d for n, d in files_below(root / "state").items() if n not in ledger}
    known = (
        root / "state", root / "repository", root / "credentials", root / "config.toml",
        root / "recovery", root / "printed", *stage.logs,
    )  # fmt: skip
    return {
        "ledger": ledger,
        "state": state,
        "repository": files_below(root / "repository"),
        "anywhere else": files_below(root, without=known),
    }


def _check(
    secrets: dict[str, str], places: dict[str, dict[str, bytes]], run: str, ends: str
) -> None:
    """A link that is not used yet stays in the ledger: the one place where it may be."""
    found = []
    for place, texts in places.items():
        for name, secret in secrets.items():
            if (name, place, ends) == ("link", "ledger", "refused"):
                continue
            if name == "channel" and place == "notices that were sent":
                continue  # the request of the channel itself
            seen = hits({name: secret}, texts)
            found += seen
            if not seen:
                with CANARIES.case(name, f"{place} ({run})"):
                    pass
            else:
                CANARIES.results[(name, f"{place} ({run})")] = False
    assert found == []


def test_a_traceback_holds_no_secret(tmp_path: Path) -> None:
    """What Python prints of an error deep inside has the secrets around it as values."""
    code = (
        "import sys, traceback\n"
        "from backupd.download.session import Secret, bearer\n"
        "from backupd.credentials.lookup import Found\n"
        f"held = [Secret({TOKEN!r}), bearer({TOKEN!r}), Found({TOKEN!r}, 'x')]\n"
        "try:\n    raise ValueError(*held)\n"
        "except ValueError as error:\n    print(traceback.format_exc(), repr(error), vars())\n"
    ).replace(" vars()", " held")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert "ValueError" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("secret", [COOKIE, "ä/+ b", "sig=abc%2B"])
def test_the_search_finds_what_is_encoded(secret: str) -> None:
    """The search itself is tried, so that no hits means that there are none."""
    for shape in shapes(secret):
        assert holds(b"before" + shape + b"after", secret)
    assert not holds(b"nothing of the kind", secret)
