"""Keys that sign mails in tests, as OpenAI's and a forwarder's would, and the mails to sign."""

from __future__ import annotations

import base64
import re
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from backupd.demo import mails
from tests.support import needs

DOMAIN = "tm.openai.com"
ME = "me@example.org"
ACCOUNT = "5f" * 32
SENDGRID = (
    b"content-type", b"from", b"mime-version", b"subject", b"x-feedback-id", b"to", b"cc",
    b"content-type", b"from", b"subject", b"to",
)  # fmt: skip
"""What SendGrid signs, in its order: neither a Date nor `t=`."""
MANDRILL = (
    b"from", b"subject", b"to", b"date", b"message-id", b"content-type", b"mime-version",
)  # fmt: skip


def key(name: str = "openai", bits: int = 2048) -> tuple[bytes, bytes]:
    """Return a private key (PEM) and its DNS record, the same for the same arguments."""
    return _made(name, bits)


@cache
def _made(name: str, bits: int) -> tuple[bytes, bytes]:
    del name
    if bits < 1024:
        private = _openssl("genrsa", "-traditional", str(bits))
        public = _openssl("rsa", "-pubout", "-outform", "DER", given=private)
        return private, _record(public)
    made = rsa.generate_private_key(65537, bits)
    private = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    encodings = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return private, _record(made.public_key().public_bytes(*encodings))


def _record(public: bytes) -> bytes:
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def _openssl(*arguments: str, given: bytes = b"") -> bytes:
    """Run openssl, which makes keys that are too small to be made otherwise."""
    needs("openssl")
    done = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True)
    return done.stdout


def records() -> dict[str, bytes]:
    """Return the key records of the world: OpenAI's selectors, a forwarder's, a stranger's."""
    return {
        f"s1._domainkey.{DOMAIN}": key()[1],
        f"mandrill._domainkey.{DOMAIN}": key()[1],
        "s1._domainkey.openai.com": key("parent")[1],
        "fwd._domainkey.forwarder.example": key("forwarder")[1],
        "s1._domainkey.evil.example": key("evil")[1],
        f"small._domainkey.{DOMAIN}": key("small", 1024)[1],
        f"testing._domainkey.{DOMAIN}": key()[1].replace(b"k=rsa;", b"k=rsa; t=y;"),
        f"other._domainkey.{DOMAIN}": key("other")[1],
        f"withdrawn._domainkey.{DOMAIN}": b"v=DKIM1; k=rsa; p=",
        f"chat._domainkey.{DOMAIN}": key()[1].replace(b"k=rsa;", b"k=rsa; s=tlsrpt;"),
        f"sha1._domainkey.{DOMAIN}": key()[1].replace(b"k=rsa;", b"k=rsa; h=sha1;"),
    }


@dataclass(frozen=True, slots=True)
class Signing:
    """How a mail is signed; `time` None gives no `t=`, as SendGrid does."""

    fields: tuple[bytes, ...] = SENDGRID
    selector: str = "s1"
    domain: str = DOMAIN
    owner: str = "openai"
    bits: int = 2048
    canonical: tuple[bytes, bytes] = (b"relaxed", b"relaxed")
    algorithm: bytes = b"rsa-sha256"
    time: datetime | None = None
    extra: tuple[tuple[str, str], ...] = ()
    length: bool = False


def file_name(date: datetime) -> str:
    """Return the name of an export that was made a few minutes before `date`."""
    made = date - timedelta(minutes=4)
    return f"{ACCOUNT}-{made:%Y-%m-%d-%H-%M-%S}-{'c' * 32}.zip"


def plain_mail(date: datetime, **kind: object) -> bytes:
    """Return a ready-mail without a verdict of any server."""
    envelope = replace(mails.Envelope(date, verdict="absent"), **kind)  # type: ignore[arg-type]
    return mails.ready(envelope, mails.estuary_url(file_name(date), date))


def sign(raw: bytes, how: Signing | None = None) -> bytes:
    """Put a DKIM signature on top of a mail; tags of `extra` are signed too."""
    how = how or Signing()
    signer = _Signer(raw, how)
    return signer.header() + raw


class _Signer:
    """dkimpy's signer, with the tags of the test instead of its own."""

    def __init__(self, raw: bytes, how: Signing) -> None:
        self._how = how
        self._dkim = dkim.DKIM(raw, signature_algorithm=how.algorithm, minkey=512)
        self._dkim.should_not_sign = set()

    def header(self) -> bytes:
        how = self._how
        original = self._dkim.gen_header

        def with_tags(fields: list[tuple[bytes, bytes]], *rest: object, **more: object) -> bytes:
            dropped = {b"t", b"q", b"i"} | {name.encode() for name, _ in how.extra}
            kept = [pair for pair in fields if pair[0] not in dropped]
            added = [(name.encode(), value.encode()) for name, value in how.extra]
            if how.time is not None:
                added.append((b"t", str(int(how.time.astimezone(UTC).timestamp())).encode()))
            at = next(i for i, pair in enumerate(kept) if pair[0] == b"h")
            fields[:] = [*kept[:at], *added, *kept[at:]]
            return bytes(original(fields, *rest, **more))

        self._dkim.gen_header = with_tags
        private = key(how.owner, how.bits)[0]
        return bytes(
            self._dkim.sign(
                how.selector.encode(),
                how.domain.encode(),
                private,
                canonicalize=how.canonical,
                include_headers=list(how.fields),
                length=how.length,
            )
        )


def seal(
    raw: bytes,
    date: datetime,
    verdict: str = f"dmarc=pass header.from={DOMAIN}",
    *,
    owner: str = "forwarder",
    domain: str = "forwarder.example",
    validation: bytes = b"none",
    instance: int = 1,
) -> bytes:
    """Put one ARC set on top of a mail, as a forwarder does that found `verdict`."""
    results = b"ARC-Authentication-Results: i=%d; mx.%s; %s\r\n" % (
        instance,
        domain.encode(),
        verdict.encode(),
    )
    how = Signing(
        fields=MANDRILL,
        selector="fwd",
        domain=domain,
        owner=owner,
        time=date,
        extra=(("i", str(instance)),),
    )
    message = sign(raw, how)[: -len(raw)].replace(b"DKIM-Signature:", b"ARC-Message-Signature:", 1)
    message = _as_arc(raw, message, how, instance)
    return _sealed(results, message, raw, how, validation, instance)


def _as_arc(raw: bytes, header: bytes, how: Signing, instance: int) -> bytes:
    """Sign a mail under the name of the ARC field, which the signature covers."""
    body = _Arc(raw, how)
    fields = [
        (b"i", str(instance).encode()),
        (b"a", b"rsa-sha256"),
        (b"c", b"relaxed/relaxed"),
        (b"d", how.domain.encode()),
        (b"s", how.selector.encode()),
        *([(b"t", str(int(how.time.timestamp())).encode())] if how.time else []),
        (b"h", b":".join(how.fields)),
        (b"bh", _body_hash(header)),
        (b"b", b"0" * 60),
    ]
    return body.field(fields, list(how.fields), b"ARC-Message-Signature")


class _Arc:
    def __init__(self, raw: bytes, how: Signing) -> None:
        self._arc = dkim.ARC(raw, minkey=512)
        self._arc.hasher = dkim.HASH_ALGORITHMS[b"rsa-sha256"]
        self._key = dkim.parse_pem_private_key(key(how.owner, how.bits)[0])

    def field(self, fields: list[tuple[bytes, bytes]], signed: list[bytes], name: bytes) -> bytes:
        policy = dkim.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
        value = self._arc.gen_header(fields, signed, policy, name, self._key)
        return name + b": " + bytes(value)


def _body_hash(header: bytes) -> bytes:
    match = re.search(rb"bh=([A-Za-z0-9+/=\s]+);", header)
    assert match
    return b"".join(match[1].split())


def _sealed(
    results: bytes, message: bytes, raw: bytes, how: Signing, validation: bytes, instance: int
) -> bytes:
    earlier = _earlier_sets(raw)
    arc = _Arc(message + results + raw, how)
    order: list[bytes] = []
    arc._arc.headers = [*earlier, _pair(results), _pair(message)]
    order = [name.lower() for name, _ in arc._arc.headers]
    fields = [
        (b"i", str(instance).encode()),
        (b"cv", validation),
        (b"a", b"rsa-sha256"),
        (b"d", how.domain.encode()),
        (b"s", how.selector.encode()),
        *([(b"t", str(int(how.time.timestamp())).encode())] if how.time else []),
        (b"b", b"0" * 60),
    ]
    # dkimpy selects from the bottom, so the order of the chain is given by reversing the list.
    arc._arc.headers = list(reversed(arc._arc.headers))
    return arc.field(fields, order, b"ARC-Seal") + message + results + raw


def _earlier_sets(raw: bytes) -> list[list[bytes]]:
    headers, _ = dkim.rfc822_parse(raw)
    sets = [pair for pair in headers if pair[0].lower().startswith(b"arc-")]
    return list(reversed(sets))


def _pair(line: bytes) -> list[bytes]:
    name, _, value = line.partition(b":")
    return [name, value]
