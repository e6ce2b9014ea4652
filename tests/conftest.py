"""What holds for all tests: after them, the table of the fault campaigns that ran."""

from __future__ import annotations

import pytest

from tests.support import campaign, truth


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the campaigns and the truth table, as far as they ran.

    Of campaigns: kinds and positions tried, cases, how many passed and failed. Of generated series:
    how many conversations are new, changed and so on, and how many the catalog counted.
    """
    counts = "counts of generated series, expected/found"
    for title, lines in (("fault campaigns", campaign.table()), (counts, truth.table())):
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
