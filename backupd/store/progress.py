"""What long work tells of how far it has come. Pure."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Is told (stage, done, total), in units of the stage."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Show nothing."""
