"""The bounds of a download and the ways of its network, as the caller sets them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Address: TypeAlias = tuple[int, Any]
"""An address family, and an address as sockets of that family take it."""
Lookup: TypeAlias = Callable[[str, int], Sequence[Address]]
"""Returns the addresses of a host and port, the best first; raises OSError."""

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds one attempt keeps to.

    `min_rate` (bytes per second) is measured over `min_rate_window` seconds of waiting for the
    server; time spent writing to the disk does not count. `reserve` bytes stay free on the disk.
    """

    max_size: int = 50 * GIB
    min_rate: int = 1024
    min_rate_window: float = 60.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    reserve: int = 256 * MIB


@dataclass(frozen=True, slots=True)
class Network:
    """Whom to trust and where to connect.

    `ca_file` (PEM) replaces the system's certificate store. `connect_to` maps "host:port" to
    "address:port" (IPv6 in brackets): only the TCP connection goes elsewhere; the URL, the Host
    field and the name checked by TLS stay. What it names may lie anywhere; every other name must
    lead to public addresses, unless `anywhere`: for names that the person, not a mail, has given.
    `lookup` replaces the system's resolver.
    """

    ca_file: Path | None = None
    connect_to: Mapping[str, str] = field(default_factory=dict)
    lookup: Lookup | None = None
    anywhere: bool = False

    def is_free(self, host: str, port: int) -> bool:
        """Say whether a URL's host and port may lead to any address."""
        return self.anywhere or f"{host.lower()}:{port}" in self.connect_to

    def route(self, host: str, port: int) -> tuple[str, int]:
        """Return the host and port to connect to for a URL's host and port."""
        target = self.connect_to.get(f"{host.lower()}:{port}")
        if target is None:
            return host, port
        name, _, number = target.rpartition(":")
        return name.removeprefix("[").removesuffix("]"), int(number)
