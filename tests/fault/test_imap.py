"""Every kind of IMAP fault at each position: survived, cheaply, and no mail lost or taken twice.

All under BACKUPD_FULL=1, else an even sample. Cases run beside each other; the processor time is
that of a watcher's own thread.
"""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from pathlib import Path

from backupd.mail.watcher import Pace, Watcher
from tests.support import FULL
from tests.support.campaign import campaign
from tests.support.imap_faults import KINDS, POSITIONS, Fault, Kind
from tests.support.mail_sink import MemorySink, export_mail, now
from tests.support.scripted_imap import ScriptedImap
from tests.support.watching import watching

PACE = Pace(idle=1, settle=0.2, tick=0.5, rest=0.3, retry=0.1, retry_most=1, steady=60)
POLL = timedelta(seconds=1)
HOLD = 2.0 if FULL else 1.0
"""Seconds for which a fault lasts after it first struck."""
FOUND_WITHIN = 10.0
CPU_SHARE = 0.05
AT_ONCE = 6
SAMPLE = 11  # odd to the three positions: each of them, and kinds of every sort
CASES = [*product(KINDS, POSITIONS)]


def cpu_of(watcher: Watcher) -> float:
    """Return the processor time that a watcher's worker has used."""
    name = f"mailbox-{watcher.name}"
    (worker,) = [thread for thread in threading.enumerate() if thread.name == name]
    assert worker.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(worker.ident))


def survive(kind: Kind, position: str, directory: Path) -> float:
    """Play one case; return the share of a processor that the watcher took under the fault."""
    directory.mkdir()
    with ScriptedImap() as server:
        inbox = server.folders["INBOX"]
        sink = MemorySink(time.monotonic)
        settings = server.settings(directory, connect_timeout=0.5, read_timeout=0.5)
        watcher = Watcher(
            f"{kind.name} {position}", settings, lambda: server.password_of_user, sink, now, POLL,
            pace=PACE,
        )  # fmt: skip
        fault = Fault(server, kind, position)
        if position == "start":
            fault.begin()
            server.put(inbox, export_mail())
        with watching(watcher):
            if position != "start":
                server.wait(lambda server: server.idling >= 1)
                fault.begin()
            if position == "fetch":
                server.deliver(export_mail())
            server.wait(lambda server: fault.struck > 0 and server.connections > 0)
            if position == "IDLE":
                server.put(inbox, export_mail())
            share = hold(watcher, server, kind)
            fault.mend()
            mended = time.monotonic()
            if kind.refused:
                assert sink.events.count("refused") == 1
                watcher.wake()
            sink.wait(lambda sink: len(sink.found_mails) == 1, FOUND_WITHIN)
            server.deliver(export_mail())
            sink.wait(lambda sink: len(sink.found_mails) == 2, FOUND_WITHIN)
            assert sink.found_mails[1].at - mended < FOUND_WITHIN
        assert len({mail.raw for mail in sink.found_mails}) == len(sink.found_mails) == 2
        assert ("refused" in sink.events) is kind.refused
        assert "canary" not in str(sink.reasons)
    return share


def hold(watcher: Watcher, server: ScriptedImap, kind: Kind) -> float:
    """Let the fault last; see that nothing is done too often, and no refused login again."""
    if kind.refused:
        server.wait(lambda server: tries(server) > 0 and server.refusals > 0)
    used, began = cpu_of(watcher), time.monotonic()
    connections, logins = server.connections, tries(server)
    server.wait_out(HOLD)
    lasted = time.monotonic() - began
    made = server.connections - connections
    share = (cpu_of(watcher) - used) / max(lasted, by_default(made + 1))
    assert share < CPU_SHARE, f"{share:.0%} of a processor"
    assert made <= 8 * lasted
    if kind.refused:
        assert tries(server) == logins
    return share


def by_default(connections: int) -> float:
    """Return in how many seconds so many connections fail one after the other by default.

    The pauses here are a twentieth of the default ones, so that what each connection costs would
    seem to be twenty times as much.
    """
    pauses = (min(Pace().retry * 2.0**number, Pace().retry_most) for number in range(connections))
    return 0.75 * sum(pauses)


def tries(server: ScriptedImap) -> int:
    """Count the logins that were tried."""
    return sum("AUTHENTICATE" in line or " LOGIN " in line for line in list(server.commands))


def test_every_fault_at_every_position_is_survived(tmp_path: Path) -> None:
    chosen = list(enumerate(CASES))[:: 1 if FULL else SAMPLE]
    table = campaign("IMAP faults (T8)")
    failures: list[str] = []
    shares: list[float] = []

    def play(case: tuple[int, tuple[Kind, str]]) -> None:
        number, (kind, position) = case
        try:
            with table.case(kind.name, position):
                shares.append(survive(kind, position, tmp_path / str(number)))
        except Exception:  # noqa: BLE001 - all that failed are reported together
            failures.append(f"{kind.name} at {position}:\n{traceback.format_exc(limit=-1)}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(play, chosen))

    assert failures == [], "\n".join(failures)
    table.note = f"most processor time {max(shares):.1%} of one, while the fault lasted"


def test_the_table_is_large_enough_and_names_each_kind_once() -> None:
    names = [kind.name for kind in KINDS]

    assert len(names) == len(set(names))
    assert len(names) >= 30
    assert {position for _, position in CASES[::SAMPLE]} == set(POSITIONS)
