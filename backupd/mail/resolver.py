"""The one place that asks the DNS for keys; owner of dnspython.

`TxtResolver` gives its answer within `limit` seconds, whatever the servers do: slow, silent,
endless and lying ones end as `LookupFailed`. Only "there is no such name" and "it has no TXT
record" are answers that mean none. The machine's resolver is used (/etc/resolv.conf, read at each
question); search lists are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from backupd.mail.message import safe
from backupd.mail.signature import LookupFailed

LIMIT = 3.0
MOST_RECORDS = 10


class TxtResolver:
    """Looks TXT records up; `servers` (addresses) and `port` replace the machine's own."""

    def __init__(
        self, servers: Sequence[str] | None = None, port: int = 53, limit: float = LIMIT
    ) -> None:
        self._servers = servers
        self._port = port
        self._limit = limit

    def __call__(self, name: str) -> tuple[bytes, ...]:
        """Return the TXT records of a full name, the strings of each joined; none if there is none.

        Raises:
            LookupFailed: no usable answer came in time.
        """
        try:
            answer = self._resolver().resolve(
                dns.name.from_text(f"{name}."), dns.rdatatype.TXT, search=False
            )
            return tuple(b"".join(record.strings) for record in list(answer)[:MOST_RECORDS])
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.name.LabelTooLong, dns.name.EmptyLabel, dns.name.NameTooLong):
            return ()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise LookupFailed(
                f'look up "{safe(name, 120)}": {type(error).__name__}',
                "see that this machine's name resolution works",
            ) from error

    def _resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=self._servers is None)
        if self._servers is not None:
            resolver.nameservers = list(self._servers)
            resolver.port = self._port
        resolver.lifetime = self._limit
        resolver.timeout = self._limit / 2
        resolver.use_edns(0, 0, 1232)
        return resolver
