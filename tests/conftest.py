"""What holds for all tests: after them, the table of the fault campaigns that ran."""

from __future__ import annotations

import pytest

from tests.support.campaign import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the campaigns: kinds and positions tried, cases, how many passed and failed."""
    lines = table()
    if lines:
        terminalreporter.section("fault campaigns")
        for line in lines:
            terminalreporter.write_line(line)
