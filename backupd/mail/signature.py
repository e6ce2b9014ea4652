"""OpenAI's own signature on a mail (DKIM, RFC 6376), checked here; and a forwarder's seal (ARC).

Owner of dkimpy; pure but for the `Lookup` that it is handed. dkimpy answers whether bytes were
signed; what that is worth is decided here, because a valid signature says less than it seems:

1. The signing domain is one of OpenAI's and covers the sender's; no other name is ever looked up,
   and at most five signatures are looked at.
2. RSA with SHA-256, a key of at least 1024 bits, not withdrawn, not in test.
3. From, To, Subject, Content-Type and MIME-Version are signed: they say who, to whom and what.
4. `l=` lets anybody append to the body: such a signature does not vouch, it denies.
5. It is fresh: `t=`, else a signed Date, else the time stamp of the export in the (signed) body
   lies at most 48 hours before the arrival; `x=` is not over. Else an old mail could be sent again.
   (SendGrid, through which OpenAI sends, gives no `t=` and does not sign the Date.)
6. It was written to the owner of the mailbox: a signed To names one of the owner's addresses, or
   one at a trusted forwarder. Else anybody's genuine mail could be sent here.

A seal (ARC, RFC 8617) vouches if the whole chain verifies, the seal and the mail's signature are a
trusted forwarder's, the mail is as the forwarder sealed it, the forwarder's own verdict was
dmarc=pass for the sender, and rules 3 to 6 hold for the forwarder's signature.

A mail that would cost much to check is not checked: dkimpy's patterns take quadratic time on runs
of blanks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dkim
from dkim.util import InvalidTagValueList, parse_tag_value

from backupd.errors import BackupdError
from backupd.mail.message import SENDER_DOMAINS, Message, safe
from backupd.mail.mime import Field, fields, split
from backupd.mail.proof import Proof, Says, Statement, covers
from backupd.mail.results import read_field

Lookup = Callable[[str], tuple[bytes, ...]]
"""Returns the TXT records of a full name, none if there are none; raises `LookupFailed`."""

MAX_CHECKED = 512 * 1024
MAX_HEADER = 64 * 1024
MAX_FIELD = 4 * 1024
MAX_BLANKS = 200
MAX_KEY_RECORD = 1600
MOST_SIGNATURES = 5
SMALLEST_KEY = 1024
FRESH = timedelta(hours=48)
AHEAD = timedelta(hours=12)
"""So far may the signer's clock, or the own server's, be wrong."""

REQUIRED = ("from", "to", "subject", "content-type", "mime-version")
_TAB_TO_SPACE = bytes.maketrans(b"\t", b" ")
_LONG_BLANK = re.compile(r"\s{101}")
_SELECTOR = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63}){0,5}")
_NUMBER = re.compile(r"[0-9]{1,11}")
_INSTANCE = re.compile(r"\s*i\s*=\s*([0-9]{1,2})\s*;")


class LookupFailed(BackupdError):
    """A name could not be looked up just now; it may be there."""

    transient = True


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom mails of a mailbox are written to: the owner's addresses, and trusted forwarders.

    A forwarder is an address, or a domain: any address at it, and what it seals.
    """

    addresses: tuple[str, ...]
    forwarders: tuple[str, ...] = ()

    def owns(self, address: str) -> bool:
        """Say whether mail for `address` may come here; a `+tag` makes no difference."""
        plain = _untagged(address)
        known = {_untagged(one) for one in (*self.addresses, *self.forwarders) if "@" in one}
        return plain in known or plain.rpartition("@")[2] in self.domains()

    def domains(self) -> frozenset[str]:
        """Return the domains of trusted forwarders."""
        return frozenset(one.lower() for one in self.forwarders if "@" not in one)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail as it came: its bytes, what was read in them, and when it came.

    `stamped_at` is the time stamp of the export that the body links to, if it has one.
    """

    raw: bytes
    message: Message
    received_at: datetime
    stamped_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Tags:
    """The tags of one signature field, names in lower case, values without blanks."""

    index: int
    values: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Return a tag's value, or None."""
        return dict(self.values).get(name)

    @property
    def domain(self) -> str:
        """The signing domain in lower case."""
        return (self.get("d") or "").lower()

    @property
    def signed(self) -> frozenset[str]:
        """The names of the signed fields."""
        return frozenset((self.get("h") or "").lower().split(":"))


def witnesses(arrival: Arrival, addressee: Addressee, lookup: Lookup) -> tuple[Statement, ...]:
    """Ask what can be asked of a mail itself; the own server's verdict is not looked at."""
    message = arrival.message
    domain = message.sender_domain
    if message.defects or domain not in SENDER_DOMAINS:
        return ()
    head, _ = split(arrival.raw)
    found = fields(head)[0]
    signatures = _tags(found, "dkim-signature")
    aligned = [tags for tags in signatures if covers((tags.domain,), domain)]
    sealed = addressee.domains() and any(field.name == "arc-seal" for field in found)
    if not aligned and not sealed:
        return (Statement(Says.NOTHING, f"no signature by {domain}"),)
    if not _is_cheap(arrival.raw, head):
        return (Statement(Says.NOTHING, "its signature is too costly to check"),)
    said = _signatures(arrival, addressee, aligned, lookup)
    if sealed:
        said += (_seal(arrival, addressee, found, lookup),)
    return said


def _signatures(
    arrival: Arrival, addressee: Addressee, aligned: list[_Tags], lookup: Lookup
) -> tuple[Statement, ...]:
    """Ask the first five signatures; the first that vouches speaks for all."""
    said = []
    for tags in aligned[:MOST_SIGNATURES]:
        statement = _signature(arrival, addressee, tags, lookup)
        if statement.proof is not None:
            return (statement,)
        said.append(statement)
    return tuple(said)


def _signature(arrival: Arrival, addressee: Addressee, tags: _Tags, lookup: Lookup) -> Statement:
    by = tags.domain
    if tags.get("a") != "rsa-sha256":
        return Statement(Says.NOTHING, f"the signature by {by} is not of the kind rsa-sha256")
    if _SELECTOR.fullmatch(tags.get("s") or "") is None:
        return Statement(Says.NOTHING, f"the signature by {by} names no key")
    keys = _Keys(frozenset({by}), lookup, tags.get("i"))
    valid = _verified(arrival.raw, tags.index, keys)
    if keys.unreachable:
        reason = f"the key of {by} could not be looked up just now"
        return Statement(Says.CANNOT_TELL_NOW, reason)
    if not valid:
        return Statement(Says.NOTHING, keys.problem or f"the signature by {by} does not verify")
    if tags.get("l") is not None:
        reason = f"the signature by {by} lets anybody append to the mail (l=)"
        return Statement(Says.FORGED, reason)
    problem = _too_little(arrival, addressee, tags)
    if problem is not None:
        return Statement(Says.NOTHING, f"the signature by {by} verifies, but {problem}")
    witness = f"{tags.get('s')}._domainkey.{by}"
    return Statement(Says.GENUINE, "signed", Proof("dkim", witness, by))


def _too_little(arrival: Arrival, addressee: Addressee, tags: _Tags) -> str | None:
    """Say why a signature that verifies is not enough; None if it is."""
    missing = [name for name in REQUIRED if name not in tags.signed]
    if missing:
        return f"does not cover {', '.join(missing)}"
    recipients = arrival.message.recipients
    if not any(addressee.owns(one) for one in recipients):
        named = safe(", ".join(recipients), 120) or "nobody"
        return f"the mail is written to {named}, which is not known as yours"
    return _stale(arrival, tags)


def _stale(arrival: Arrival, tags: _Tags) -> str | None:
    """Say why a signature is not fresh; None if it is."""
    ends = _moment(tags.get("x"))
    if tags.get("x") is not None and (ends is None or ends < arrival.received_at):
        return "it had expired when the mail came"
    signed_at = _moment(tags.get("t"))
    if signed_at is None and "date" in tags.signed:
        signed_at = arrival.message.date
    signed_at = signed_at or arrival.stamped_at
    if signed_at is None:
        return "nothing that is signed says when"
    if not -AHEAD <= arrival.received_at - signed_at <= FRESH:
        return f"it is of {signed_at:%Y-%m-%d}, not of the day the mail came"
    return None


def _seal(
    arrival: Arrival, addressee: Addressee, found: tuple[Field, ...], lookup: Lookup
) -> Statement:
    """Ask the seals of a forwarded mail."""
    trusted = addressee.domains()
    if sum(field.name == "arc-seal" for field in found) > MOST_SIGNATURES:
        return Statement(Says.NOTHING, "it was sealed too often to check")
    keys = _Keys(trusted, lookup, None)
    results = _verified_seals(arrival.raw, keys)
    if keys.unreachable:
        return Statement(
            Says.CANNOT_TELL_NOW, "the key of a forwarder could not be looked up just now"
        )
    problem = keys.problem or "the seals of its forwarders do not verify"
    for instance, domain in results:
        tags = _sealed_tags(found, instance)
        if tags is None or tags.domain != domain or domain not in trusted:
            continue
        problem = _unsealed(arrival, addressee, found, instance, tags) or ""
        if not problem:
            return Statement(Says.GENUINE, "sealed", Proof("arc", domain, _domain(arrival)))
    return Statement(Says.NOTHING, problem)


def _unsealed(
    arrival: Arrival,
    addressee: Addressee,
    found: tuple[Field, ...],
    instance: int,
    tags: _Tags,
) -> str | None:
    """Say why a valid seal of a trusted forwarder does not vouch; None if it does."""
    verdicts = [
        verdict
        for field in found
        if field.name == "arc-authentication-results" and _instance(field.value) == instance
        for results in [read_field(_INSTANCE.sub("", field.value, count=1))]
        if results is not None
        for verdict in results.of("dmarc")
    ]
    passed = len(verdicts) == 1 and verdicts[0].result == "pass"
    if not passed or not covers(verdicts[0].domains, _domain(arrival)):
        return f"the forwarder {tags.domain} does not say dmarc=pass"
    if tags.get("a") != "rsa-sha256" or tags.get("l") is not None:
        return f"the seal of {tags.domain} is too weak"
    problem = _too_little(arrival, addressee, tags)
    return None if problem is None else f"the seal of {tags.domain} verifies, but {problem}"


def _domain(arrival: Arrival) -> str:
    return arrival.message.sender_domain or ""


class _Silent:
    """Stands in for a logger: dkimpy logs at length, and its errors are answers here."""

    def debug(self, *_: object) -> None:
        """Say nothing."""

    error = debug

    def isEnabledFor(self, level: int) -> bool:  # noqa: ARG002, N802 - a logger's method
        """Say that nothing is logged."""
        return False


class _Keys:
    """Looks keys up for dkimpy: only of `domains`, only sane records; remembers what was wrong."""

    def __init__(self, domains: frozenset[str], lookup: Lookup, identity: str | None) -> None:
        self.unreachable = False
        self.problem: str | None = None
        self._domains = domains
        self._lookup = lookup
        self._identity = identity

    def __call__(self, name: bytes, timeout: float = 0) -> bytes | None:  # noqa: ARG002 - dkimpy's
        """Return the key record of a name, or None."""
        text = name.decode("ascii", "replace").lower().rstrip(".")
        selector, _, domain = text.partition("._domainkey.")
        if domain not in self._domains or _SELECTOR.fullmatch(selector) is None:
            self.problem = f"it was signed by {safe(domain, 80)}, which is not trusted"
            return None
        try:
            records = self._lookup(f"{selector}._domainkey.{domain}")
        except LookupFailed:
            self.unreachable = True
            return None
        if len(records) != 1 or len(records[0]) > MAX_KEY_RECORD:
            self.problem = f"{domain} publishes no such key as its signature names"
            return None
        self.problem = self._unusable(records[0], domain)
        return None if self.problem else records[0]

    def _unusable(self, record: bytes, domain: str) -> str | None:
        """Say why a key record must not be used (RFC 6376, 3.6.1); None if it may."""
        tags = _parsed(record)
        if tags is None or not tags.get("p"):
            return f"the key of {domain} is unreadable or was withdrawn"
        flags = (tags.get("t") or "").split(":")
        hashes = (tags.get("h") or "sha256").split(":")
        services = (tags.get("s") or "*").split(":")
        if "y" in flags or "sha256" not in hashes or not {"*", "email"} & set(services):
            return f"the key of {domain} is not meant for this"
        if (tags.get("k") or "rsa") != "rsa":
            return f"the key of {domain} is of another kind"
        if "s" in flags and self._identity and self._identity.rpartition("@")[2] != domain:
            return f"the key of {domain} is not meant for this"
        return None


def _verified(raw: bytes, index: int, keys: _Keys) -> bool:
    """Ask dkimpy about one signature; whatever goes wrong in it means that it does not verify."""
    try:
        signer = dkim.DKIM(raw, logger=_Silent(), minkey=SMALLEST_KEY)
        return bool(signer.verify(idx=index, dnsfunc=keys))
    except Exception:  # noqa: BLE001 - it meets hostile bytes and raises many kinds
        return False


def _verified_seals(raw: bytes, keys: _Keys) -> list[tuple[int, str]]:
    """Return instance and domain of each seal after which nothing changed, if all are valid."""
    try:
        sealer = dkim.ARC(raw, logger=_Silent(), minkey=SMALLEST_KEY)
        verdict, results, _ = sealer.verify(dnsfunc=keys)
    except Exception:  # noqa: BLE001 - as above
        return []
    if verdict != dkim.CV_Pass:
        return []
    return [
        (int(one["instance"]), one["as-domain"].decode("ascii", "replace").lower())
        for one in results
        if one["ams-valid"]
    ]


def _tags(found: tuple[Field, ...], name: str) -> list[_Tags]:
    """Read the fields called `name`; those that cannot be read are left out."""
    values = [field.value for field in found if field.name == name]
    read = ((index, _sane(value)) for index, value in enumerate(values))
    return [_Tags(index, values.values) for index, values in read if values is not None]


def _sealed_tags(found: tuple[Field, ...], instance: int) -> _Tags | None:
    seals = _tags(found, "arc-message-signature")
    fitting = [tags for tags in seals if tags.get("i") == str(instance)]
    return fitting[0] if len(fitting) == 1 else None


def _sane(value: str) -> _Tags | None:
    if len(value) > MAX_FIELD or _LONG_BLANK.search(value) is not None or not value.isascii():
        return None
    return _parsed(value.encode("ascii"))


def _parsed(record: bytes) -> _Tags | None:
    try:
        tags = parse_tag_value(record)
    except (InvalidTagValueList, IndexError):
        return None
    read = ((name.decode("ascii", "replace"), value) for name, value in tags.items())
    return _Tags(0, tuple((n, "".join(v.decode("ascii", "replace").split())) for n, v in read))


def _is_cheap(raw: bytes, head: bytes) -> bool:
    if len(raw) > MAX_CHECKED or len(head) > MAX_HEADER:
        return False
    return b" " * MAX_BLANKS not in raw.translate(_TAB_TO_SPACE)


def _instance(value: str) -> int | None:
    match = _INSTANCE.match(value)
    return int(match[1]) if match else None


def _moment(value: str | None) -> datetime | None:
    if value is None or _NUMBER.fullmatch(value) is None:
        return None
    return datetime.fromtimestamp(int(value), UTC)


def _untagged(address: str) -> str:
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"
