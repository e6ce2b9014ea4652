"""A certificate authority that lives as long as the demo, for names that resolve to loopback."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Issues server certificates; clients trust them through the PEM that `write_ca` writes."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="backupd demo")

    def write_ca(self, path: Path) -> Path:
        """Write the authority's certificate as PEM and return `path`."""
        self._ca.cert_pem.write_to_path(str(path))
        return path

    def server_context(self, *names: str) -> ssl.SSLContext:
        """Return a TLS context for a server that answers to all of `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._ca.issue_cert(*names).configure_cert(context)
        return context
