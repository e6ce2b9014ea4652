"""`session login`: what is refused before a browser is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(directory: Path, download: str, *words: str) -> subprocess.CompletedProcess[str]:
    config = directory / "config.toml"
    config.write_text(
        f'[repository]\npath = "{directory}/r"\n[state]\npath = "{directory}/s"\n{download}'
    )
    (directory / "s").mkdir(exist_ok=True)
    hidden = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    return subprocess.run(
        [sys.executable, "-m", "backupd", "--config", str(config), "session", *words],
        env=hidden,
        capture_output=True,
        text=True,
        timeout=60,
    )


BROWSER = '[download]\nsession = "browser"\n'


@pytest.mark.parametrize(
    ("download", "words", "code", "said"),
    [
        ("", ("login",), 2, "needs no sign-in here"),
        (BROWSER, ("login", "work"), 2, "no table [accounts.work]"),
        (BROWSER, ("login",), 2, "--cookies FILE"),
        (BROWSER, ("login", "--cookies", "/nowhere/cookies.txt"), 2, "no such file"),
        (BROWSER, ("login", "--cookies", "/dev/null"), 12, "no cookie"),
        (BROWSER, ("test",), 12, "nobody has signed in"),
    ],
)
def test_what_cannot_be_is_said_with_the_next_step(
    tmp_path: Path, download: str, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run(tmp_path, download, *words)

    assert done.returncode == code, done.stderr
    assert said in done.stderr + done.stdout
