"""Entry point of the `backupd` command and of `python -m backupd`."""

from __future__ import annotations

import sys

from backupd.cli.app import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
