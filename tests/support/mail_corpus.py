"""Crafted and genuine export mails, generated: every way to forge that is known, and every era.

A forged mail holds a link that would be fetched if the mail were believed; a mail of the group
"link" is believed, and its link must not be. The same seed makes the same corpus, but for keys.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupd.demo import mails
from tests.support.signed_mail import DOMAIN, MANDRILL, ME, SENDGRID, Signing, seal, sign

OWN = "mx.example.org"
PASS = f"dmarc=pass (p=REJECT) header.from={DOMAIN}"
LAYOUTS = ("plain", "html", "multipart")
ERAS = ("azure", "estuary")
Change = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """One mail, the mailbox it comes to, and its place in the table."""

    group: str
    kind: str
    variant: str
    mailbox: str
    raw: bytes

    def __repr__(self) -> str:
        """Name the case only."""
        return f"Case({self.group}: {self.kind}, {self.variant})"


MAILBOXES = {
    "personal": (OWN,),
    "unnamed": (),
    "gmail": ("mx.google.com",),
    "icloud": ("dmarc.icloud.com", "dkim-verifier.icloud.com", "spf.icloud.com"),
    "outlook": ("protection.outlook.com",),
}
"""The mailboxes of the corpus and whose verdicts each believes."""
FORWARDERS = ("old@forwarder.example", "forwarder.example")


class Corpus:
    """Makes the cases of one seed, all as of `now`."""

    def __init__(self, seed: int, now: datetime) -> None:
        self._random = random.Random(seed)
        self._now = now

    def hostile(self) -> Iterator[Case]:
        """Yield mails that must not lead to a download by themselves."""
        yield from self._froms()
        yield from self._results()
        yield from self._signatures()
        yield from self._seals()
        yield from self._bodies()
        yield from self._links()

    def genuine(self) -> Iterator[Case]:
        """Yield mails that OpenAI could have sent."""
        yield from self._proven_ways()
        yield from self._languages()
        yield from self._encodings()

    def _name(self, date: datetime | None = None) -> str:
        made = (date or self._now) - timedelta(minutes=self._random.randint(1, 40))
        account = self._random.randbytes(32).hex()
        return f"{account}-{made:%Y-%m-%d-%H-%M-%S}-{self._random.randbytes(16).hex()}.zip"

    def _url(self, era: str, date: datetime | None = None) -> str:
        make = mails.azure_url if era == "azure" else mails.estuary_url
        return make(self._name(date), date or self._now)

    def _mail(
        self, era: str = "estuary", layout: str = "html", url: str | None = None, **kind: object
    ) -> bytes:
        """Return a mail without any verdict, as OpenAI's server handed it over."""
        mark = self._random.randbytes(11).hex()
        settings = {
            "date": self._now,
            "verdict": "absent",
            "message_id": f"<{mark}@geopod>",
            **kind,
        }
        envelope = mails.Envelope(**settings)  # type: ignore[arg-type]
        date = envelope.date
        return mails.ready(envelope, url or self._url(era, date), layout)  # type: ignore[arg-type]

    def _variants(self) -> Iterator[tuple[str, str]]:
        yield from ((era, layout) for era in ERAS for layout in LAYOUTS)

    def _each(
        self, group: str, kinds: dict[str, Change], mailbox: str = "personal", **mail: object
    ) -> Iterator[Case]:
        """Apply each change to a mail of each era and layout."""
        for kind, change in kinds.items():
            for era, layout in self._variants():
                raw = change(self._mail(era, layout, **mail))
                yield Case(group, kind, f"{era}, {layout}", mailbox, raw)

    def _froms(self) -> Iterator[Case]:
        """Senders that one reader takes for OpenAI and another for the stranger who passed."""
        top = f"Authentication-Results: {OWN}; dmarc=pass header.from=evil.example\r\n".encode()
        believed = f"Authentication-Results: {OWN}; {PASS}\r\n".encode()
        for verdict, head in (("passed as itself", top), ("passed as OpenAI", believed)):
            kinds = {
                f"{name}, {verdict}": _with_from(value, head) for name, value in _FROMS.items()
            }
            yield from self._each("from", kinds)

    def _results(self) -> Iterator[Case]:
        """Fields that stand where, or say what, no believed server would write."""
        kinds = {name: _on_top(fields) for name, fields in _RESULTS.items()}
        yield from self._each("results", kinds)
        nameless = {
            f"{name}, to {mailbox}": (mailbox, _on_top(fields))
            for mailbox in ("unnamed", "gmail", "outlook")
            for name, fields in (
                ("a foreign name", f"Authentication-Results: {OWN}; {PASS}"),
                ("no name", f"Authentication-Results: spf=pass; {PASS}"),
            )
        }
        for kind, (mailbox, change) in nameless.items():
            yield from self._each("results", {kind: change}, mailbox)

    def _signatures(self) -> Iterator[Case]:
        """Signatures that verify and prove nothing, or do not verify."""
        yield from self._each("signature", dict(_signed(self._now)), "unnamed")
        old = self._now - timedelta(days=9)
        replays: dict[str, Change] = {
            "an old mail again": sign,
            "an old mail again, new Date": lambda raw: _redated(sign(raw), self._now),
            "an old mail again, signed Date": lambda raw: sign(raw, Signing(fields=MANDRILL)),
        }
        yield from self._each("signature", replays, "unnamed", date=old)
        strangers: dict[str, Change] = {
            "another person's mail": sign,
            "another person's mail, delivered to me": lambda raw: (
                f"Delivered-To: {ME}\r\nX-Original-To: {ME}\r\n".encode() + sign(raw)
            ),
            "another person's mail, second To": lambda raw: f"To: {ME}\r\n".encode() + sign(raw),
        }
        yield from self._each("signature", strangers, "unnamed", to="stranger@else.example")

    def _seals(self) -> Iterator[Case]:
        now = self._now
        kinds: dict[str, Change] = {
            "a stranger's seal": lambda raw: seal(raw, now, domain="evil.example", owner="evil"),
            "another key": lambda raw: seal(raw, now, owner="evil"),
            "saw a failure": lambda raw: seal(raw, now, f"dmarc=fail header.from={DOMAIN}"),
            "saw a stranger": lambda raw: seal(raw, now, "dmarc=pass header.from=evil.example"),
            "saw only SPF": lambda raw: seal(raw, now, f"spf=pass smtp.mailfrom={DOMAIN}"),
            "an old seal": lambda raw: seal(raw, now - timedelta(days=4)),
            "changed since": lambda raw: seal(raw, now) + b"\r\nmore\r\n",
            "no beginning": lambda raw: seal(raw, now, instance=2, validation=b"pass"),
            "a broken chain": lambda raw: seal(raw, now, validation=b"fail"),
            "a seal by a stranger on top": lambda raw: seal(
                seal(raw, now, f"dmarc=fail header.from={DOMAIN}"),
                now,
                domain="evil.example",
                owner="evil",
                instance=2,
                validation=b"pass",
            ),
            "only the results of a forwarder": lambda raw: (
                f"Authentication-Results: mx.forwarder.example; {PASS}\r\n".encode() + raw
            ),
        }
        yield from self._each("seal", kinds, "unnamed")

    def _bodies(self) -> Iterator[Case]:
        """Shapes of mails that must not break the reader, whoever is believed to have sent them."""
        believed = f"Authentication-Results: {OWN}; dmarc=fail header.from={DOMAIN}\r\n".encode()
        kinds = {name: _around(change, believed) for name, change in _BODIES.items()}
        yield from self._each("body", kinds)

    def _links(self) -> Iterator[Case]:
        """Links of proven mails that lead, or may be read to lead, elsewhere."""
        believed = f"Authentication-Results: {OWN}; {PASS}\r\n".encode()
        good = self._url("estuary")
        for kind, change in _LINKS.items():
            for layout in LAYOUTS:
                raw = believed + self._mail("estuary", layout, url=change(good))
                yield Case("link", kind, layout, "personal", raw)

    def _proven_ways(self) -> Iterator[Case]:
        for way, (mailbox, to, change) in _ways(self._now).items():
            for era, layout in self._variants():
                raw = change(self._mail(era, layout, to=to))
                yield Case("genuine", way, f"{era}, {layout}", mailbox, raw)

    def _languages(self) -> Iterator[Case]:
        for subject in _SUBJECTS:
            for layout in LAYOUTS:
                raw = sign(self._mail("estuary", layout, subject=subject))
                yield Case("genuine", f"subject {subject}", layout, "unnamed", raw)

    def _encodings(self) -> Iterator[Case]:
        for kind, change in _ENCODINGS.items():
            for era in ERAS:
                raw = sign(change(self._mail(era, "html")))
                yield Case("genuine", kind, era, "unnamed", raw)
        for display in ("OpenAI", "ChatGPT", "OpenAI, Inc.", "=?utf-8?q?Open=41I?="):
            raw = sign(self._mail("estuary", "multipart", display=display))
            yield Case("genuine", "display name", display, "unnamed", raw)


def _with_from(value: str, head: bytes) -> Change:
    line = re.compile(rb"(?m)^From: [^\r\n]*")
    return lambda raw: head + line.sub(lambda _: value.encode("utf-8", "surrogateescape"), raw, 1)


def _on_top(fields: str) -> Change:
    return lambda raw: fields.encode() + b"\r\n" + raw


def _around(change: Change, head: bytes) -> Change:
    return lambda raw: head + change(raw)


def _redated(raw: bytes, now: datetime) -> bytes:
    return re.sub(rb"(?m)^Date: [^\r\n]*", f"Date: {now:%a, %d %b %Y %H:%M:%S} +0000".encode(), raw)


_GOOD = "From: OpenAI <noreply@tm.openai.com>"
_FROMS = {
    "address before the address": "From: noreply@tm.openai.com <x@evil.example>",
    "address after the address": "From: <noreply@tm.openai.com>@evil.example",
    "comment between": "From: noreply@tm.openai.com (x) <a@evil.example>",
    "comment after": "From: x@evil.example (noreply@tm.openai.com)",
    "two fields, ours first": f"{_GOOD}\r\nFrom: x@evil.example",
    "two fields, ours last": f"From: x@evil.example\r\n{_GOOD}",
    "two equal fields": f"{_GOOD}\r\n{_GOOD}",
    "two addresses": 'From: "noreply@tm.openai.com" <x@evil.example>, noreply@tm.openai.com',
    "two addresses, ours first": "From: noreply@tm.openai.com, x@evil.example",
    "a group": "From: OpenAI: noreply@tm.openai.com;",
    "a route": "From: <@evil.example:noreply@tm.openai.com>",
    "a quoted local part": 'From: "noreply"@tm.openai.com',
    "an encoded address": "From: =?utf-8?q?noreply=40tm=2Eopenai=2Ecom?= <x@evil.example>",
    "an encoded comma": "From: =?utf-8?q?a=2C?= <noreply@tm.openai.com> <x@evil.example>",
    "a look-alike": "From: OpenAI <noreply@tm.opеnai.com>",
    "punycode": "From: OpenAI <noreply@xn--tm-openai-9za.com>",
    "a sub-domain": "From: OpenAI <noreply@x.tm.openai.com>",
    "a suffix": "From: OpenAI <noreply@tm.openai.com.evil.example>",
    "a prefix": "From: OpenAI <noreply@eviltm.openai.com>",
    "a trailing dot": "From: OpenAI <noreply@tm.openai.com.>",
    "a bare NUL": "From: OpenAI <noreply@tm.openai.com\0@evil.example>",
    "a bare CR": "From: OpenAI <noreply@tm.openai.com>\rFrom: x@evil.example",
    "a space in the name": f"From : x@evil.example\r\n{_GOOD}",
    "a field name in disguise": f"X: y\r\n\tFrom: x@a.example\r\nfrom: x@a.example\r\n{_GOOD}",
    "no address": "From: noreply at tm.openai.com",
    "no field": "X-From: noreply@tm.openai.com",
    "eight bits": "From: OpenAI \udcff <noreply@tm.openai.com> <x@evil.example>",
    "very long": "From: " + "a" * 2000 + " <noreply@tm.openai.com>",
}
_FAIL = f"Authentication-Results: {OWN}; dmarc=fail header.from={DOMAIN}"
_HOP = f"Received: from evil.example by {OWN}; x"
_FORGED = f"Authentication-Results: {OWN}; {PASS}"
_RESULTS = {
    "nothing at all": "X-Nothing: here",
    "a fail": _FAIL,
    "none": f"Authentication-Results: {OWN}; dmarc=none header.from={DOMAIN}",
    "a pass below a fail": f"{_FAIL}\r\n{_HOP}\r\n{_FORGED}",
    "a pass beside a fail": f"{_FAIL}\r\n{_FORGED}",
    "a pass in the same line": f"{_FAIL}; {PASS}",
    "a pass below nothing": (f"Authentication-Results: {OWN}; spf=pass\r\n{_HOP}\r\n{_FORGED}"),
    "a stranger's pass": f"Authentication-Results: mx.evil.example; {PASS}",
    "a name that begins the same": f"Authentication-Results: {OWN}.evil.example; {PASS}",
    "a name that ends the same": f"Authentication-Results: evil.{OWN}; {PASS}",
    "the name in a comment": f"Authentication-Results: evil.example ({OWN}); {PASS}",
    "the name in quotes of another": f'Authentication-Results: "{OWN} evil.example"; {PASS}',
    "no name": f"Authentication-Results: {PASS}",
    "a pass in a comment": f"Authentication-Results: {OWN}; spf=pass (; {PASS})",
    "a pass in a quoted address": (
        f'Authentication-Results: {OWN}; spf=pass smtp.mailfrom="; {PASS}"@evil.example'
    ),
    "a pass behind an escaped quote": (
        f'Authentication-Results: {OWN}; spf=pass smtp.mailfrom="\\"; {PASS}"@evil.example'
    ),
    "a pass in an open comment": f"Authentication-Results: {OWN}; spf=pass (x; {PASS}",
    "a pass behind a stray bracket": f"Authentication-Results: {OWN}; spf=pass ); {PASS}",
    "a pass for another": f"Authentication-Results: {OWN}; dmarc=pass header.from=evil.example",
    "a pass for a sub-domain": f"Authentication-Results: {OWN}; dmarc=pass header.from=x.{DOMAIN}",
    "a pass for two": (f"Authentication-Results: {OWN}; {PASS} header.from=evil.example"),
    "a pass for nobody": f"Authentication-Results: {OWN}; dmarc=pass",
    "a best guess": f"Authentication-Results: {OWN}; dmarc=bestguesspass header.from={DOMAIN}",
    "almost a pass": f"Authentication-Results: {OWN}; dmarc=passed header.from={DOMAIN}",
    "another method": f"Authentication-Results: {OWN}; x-dmarc=pass header.from={DOMAIN}",
    "SPF only": f"Authentication-Results: {OWN}; spf=pass smtp.mailfrom={DOMAIN}",
    "DKIM only": f"Authentication-Results: {OWN}; dkim=pass header.d={DOMAIN}",
    "ARC only": f"Authentication-Results: {OWN}; arc=pass header.d={DOMAIN}",
    "Received-SPF only": f"Received-SPF: pass ({OWN}: {DOMAIN})",
    "another field": f"X-Authentication-Results: {OWN}; {PASS}",
    "the original's field": f"Authentication-Results-Original: {OWN}; {PASS}",
    "an endless line": f"Authentication-Results: {OWN}; " + "(" * 9000 + ")" * 9000 + PASS,
    "two hundred lines": "\r\n".join([_FAIL] + [_FORGED] * 200),
}


def _signed(now: datetime) -> Iterator[tuple[str, Change]]:
    """Yield changes that sign a mail in ways that prove nothing."""

    def by(how: Signing) -> Change:
        return lambda raw: sign(raw, how)

    def then(change: Change, how: Signing | None = None) -> Change:
        return lambda raw: change(sign(raw, how))

    yield "not signed", bytes
    yield "a stranger's", by(Signing(domain="evil.example", owner="evil"))
    yield "a sub-domain's", by(Signing(domain=f"em1.{DOMAIN}"))
    yield "a sibling's", by(Signing(domain="email.openai.com"))
    yield "another key", by(Signing(selector="other"))
    yield "no such key", by(Signing(selector="nobody"))
    yield "a withdrawn key", by(Signing(selector="withdrawn"))
    yield "a key in test", by(Signing(selector="testing"))
    yield "a key for reports", by(Signing(selector="chat"))
    yield "a key for SHA-1", by(Signing(selector="sha1"))
    yield "SHA-1", by(Signing(algorithm=b"rsa-sha1"))
    yield "expired", by(Signing(time=now, extra=(("x", str(int(now.timestamp()) - 5)),)))
    yield "from the future", by(Signing(time=now + timedelta(days=2)))
    yield "from last week", by(Signing(time=now - timedelta(days=7)))
    for name in (b"subject", b"to", b"content-type", b"mime-version"):
        kept = tuple(field for field in SENDGRID if field != name)
        yield f"{name.decode()} not signed", by(Signing(fields=kept))
    yield "any length", then(lambda raw: raw + b"<p>more</p>", Signing(length=True))
    yield "body changed", then(lambda raw: raw.replace(b"Download", b"Downl0ad"))
    yield "subject changed", then(lambda raw: raw.replace(b"Subject: ", b"Subject: Now: "))
    yield "sender changed", then(lambda raw: raw.replace(b"noreply@tm.", b"reply@tm."))
    yield "appended", then(lambda raw: raw + b"\r\nmore\r\n")
    yield "header moved into the body", then(lambda raw: raw.replace(b"\r\nTo:", b"\r\n\r\nTo:", 1))
    for field in ("Subject: x", "Content-Type: text/html", "Date: x", "MIME-Version: 1.0", "To: x"):
        name = field.partition(":")[0]
        yield f"a second {name}", then(lambda raw, add=field: add.encode() + b"\r\n" + raw)
    unsigned = tuple(field for field in SENDGRID if field != b"content-type")
    yield (
        "type replaced",
        then(
            lambda raw: re.sub(
                rb"(?m)^Content-Type: [^\r\n]*", b"Content-Type: text/html", raw, count=1
            ),
            Signing(fields=unsigned),
        ),
    )
    yield "a field that breaks the list", then(lambda raw: b"DKIM-Signature: ;;=;\r\n" + raw[9:])
    junk = b"DKIM-Signature: v=1; a=rsa-sha256; d=tm.openai.com; s=s1; h=from; bh=x; b=%d\r\n"
    yield "forty signatures", lambda raw: b"".join(junk % n for n in range(40)) + raw
    yield "a hostile selector", by(Signing(selector="a.b-c._x"))
    yield "an identity elsewhere", by(Signing(extra=(("i", "@evil.example"),)))


def _in_attachment(raw: bytes) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-")]
    wrapped = (
        b'Content-Type: multipart/mixed; boundary="q"\r\n\r\n--q\r\n'
        b"Content-Type: message/rfc822\r\n\r\n"
        + raw
        + b"\r\n--q\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n"
        + body
        + b"\r\n--q--\r\n"
    )
    return b"\r\n".join(lines) + b"\r\n" + wrapped


def _nested(raw: bytes) -> bytes:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-")]
    for number in range(12):
        mark = b"n%d" % number
        body = b"--" + mark + b"\r\nContent-Type: multipart/mixed; boundary=z\r\n\r\n" + body
    return b"\r\n".join([*lines, b"Content-Type: multipart/mixed; boundary=n11", b"", body])


def _head(line: bytes) -> Change:
    return lambda raw: line + b"\r\n" + raw


_BODIES: dict[str, Change] = {
    "link in an attachment": _in_attachment,
    "nested too deep": _nested,
    "no empty line": lambda raw: raw.replace(b"\r\n\r\n", b"\r\n", 1),
    "bare line feeds": lambda raw: raw.replace(b"\r\n", b"\n"),
    "bare carriage returns": lambda raw: raw.replace(b"\r\n", b"\r"),
    "cut in half": lambda raw: raw[: len(raw) // 2],
    "NULs": lambda raw: raw.replace(b"e", b"\0"),
    "a header of 300 kB": _head(b"X: " + b"y" * 300_000),
    "a thousand fields": _head(b"\r\n".join(b"X-%d: y" % n for n in range(1000))),
    "a thousand Received": _head(b"\r\n".join([b"Received: by x"] * 450)),
    "an mbox line": _head(b"From evil Mon Nov 23 00:00:00 2026"),
    "a begin with blanks": _head(b" folded"),
    "a subject with escapes": lambda raw: re.sub(
        rb"(?m)^Subject: [^\r\n]*",
        b"Subject: =?utf-8?q?data_export_ready=0Aroot=1B[31m=E2=80=AEx?=",
        raw,
    ),
    "an unknown charset": lambda raw: raw.replace(b"charset=utf-8", b"charset=unicode-escape"),
    "an unknown encoding": lambda raw: raw.replace(b": quoted-printable", b": x-uuencode"),
    "a broken base64": lambda raw: raw.replace(b": quoted-printable", b": base64"),
    "an empty boundary": lambda raw: re.sub(rb'boundary="[^"]*"', b'boundary=""', raw),
    "a boundary of the wild": lambda raw: re.sub(rb'boundary="[^"]*"', b'boundary=".*+(["', raw),
    "a million links": lambda raw: raw.replace(
        b"<p>", b'<a href="https://a.example/x.zip">' * 3000, 1
    ),
    "a megabyte of blanks": lambda raw: raw + b" \t" * 300_000,
    "no bytes": lambda raw: raw[:0],
    "noise": lambda raw: bytes((byte * 7 + 13) % 256 for byte in raw),
}


def _ip(host: str) -> Change2:
    return lambda url: url.replace("chatgpt.com", host, 1)


Change2 = Callable[[str], str]


def _fixed(url: str) -> Change2:
    return lambda _: url


_LINKS: dict[str, Change2] = {
    "a backslash": lambda url: url.replace("https://", "https://evil.example\\@", 1),
    "a user name": lambda url: url.replace("https://", "https://chatgpt.com@evil.example/", 1),
    "a user name of ours": lambda url: url.replace("https://", "https://x:y@", 1),
    "another port": _ip("chatgpt.com:8443"),
    "a decimal address": _ip("2130706433"),
    "a hexadecimal address": _ip("0x7f.1"),
    "an address": _ip("127.0.0.1"),
    "an IPv6 address": _ip("[::1]"),
    "a mapped address": _ip("[::ffff:7f00:1]"),
    "an escape in the host": _ip("chatgpt%2ecom"),
    "a NUL in the host": _ip("chatgpt.com%00.evil.example"),
    "two dots at the end": _ip("chatgpt.com.."),
    "a sub-domain": _ip("evil.chatgpt.com"),
    "a suffix": _ip("chatgpt.com.evil.example"),
    "a prefix": _ip("evilchatgpt.com"),
    "a look-alike": _ip("сhatgpt.com"),
    "punycode": _ip("xn--hatgpt-n4f.com"),
    "full width": _ip("chatgpt。com"),
    "a tab in the host": _ip("chat\tgpt.com"),
    "localhost": _ip("localhost"),
    "metadata of the cloud": _ip("169.254.169.254"),
    "clear text": lambda url: url.replace("https://", "http://", 1),
    "another scheme": lambda url: url.replace("https://", "ftp://", 1),
    "no scheme": lambda url: url.replace("https://", "//", 1),
    "a script": lambda url: "javascript:fetch('" + url + "')",
    "data": lambda url: "data:text/html,<a href='" + url + "'>",
    "a file": _fixed("file:///etc/passwd.zip"),
    "a fragment": lambda url: url + "#@evil.example",
    "another path": lambda url: url.replace("estuary/content", "estuary/other", 1),
    "a path above": lambda url: url.replace("/content", "/content/../../share", 1),
    "a shared chat": _fixed("https://chatgpt.com/share/0000.zip"),
    "a picture": lambda url: url.replace("p=de", "p=fs", 1),
    "an uploaded file": lambda url: re.sub(r"id=[^&]*", "id=file_0123456789abcdef.zip", url),
    "a name with a path": lambda url: re.sub(r"id=[^&]*", "id=..%2F..%2Fetc%2Fpasswd.zip", url),
    "no signature": lambda url: re.sub(r"&sig=[^&]*", "", url),
    "a parameter twice": lambda url: url + "&id=evil.zip",
    "another account's store": _fixed(
        "https://evil.blob.core.windows.net/exportcontainer/a.zip?sig=x"
    ),
    "another container": _fixed(
        "https://proddatamgmtqueue.blob.core.windows.net/other/a.zip?sig=x"
    ),
    "a tracker": _fixed("https://u20216706.ct.sendgrid.net/ls/click?upn=u001.x.zip"),
    "an old tracker": _fixed("https://mandrillapp.com/track/click/31165340/chatgpt.com?p=x.zip"),
    "a search engine": lambda url: "https://www.google.com/url?q=" + url,
    "too long": lambda url: url + "&x=" + "y" * 9000,
    "a hundred parameters": lambda url: url + "".join(f"&x{n}=y" for n in range(100)),
}


def _ways(now: datetime) -> dict[str, tuple[str, str, Change]]:
    """Return how genuine mails are proven: the mailbox, the recipient, what servers put on top."""
    dkim = "dkim=pass header.i=@tm.openai.com header.s=s1 header.b=abc"
    gmail = f"Authentication-Results: mx.google.com;\r\n       {dkim};\r\n       {PASS}"
    icloud = "\r\n".join(
        f"Authentication-Results: {name}.icloud.com; {verdict}"
        for name, verdict in (
            ("bimi", 'bimi=skipped reason="insufficient dmarc"'),
            ("dmarc", f"dmarc=pass header.from={DOMAIN}"),
            ("dkim-verifier", "dkim=pass (2048-bit key) header.d=tm.openai.com"),
            ("spf", "spf=pass smtp.mailfrom=bounces@em7877.tm.openai.com"),
        )
    )
    outlook = (
        "Received: from A.outlook.com (::1) by B.outlook.com with HTTPS; x\r\n"
        "Authentication-Results: spf=pass (sender IP is 159.183.12.231)\r\n"
        f" smtp.mailfrom=em7877.{DOMAIN}; dkim=pass (signature was verified)\r\n"
        f" header.d={DOMAIN};dmarc=pass action=none header.from={DOMAIN};compauth=pass\r\n"
        "Received: from o13.ptr1681.openai.com (159.183.12.231) by\r\n"
        " AM4.mail.protection.outlook.com (10.1.1.1) with Microsoft SMTP Server; x"
    )
    parent = f"Authentication-Results: {OWN}; dmarc=pass header.from=openai.com"
    own = f"Authentication-Results: {OWN}; {PASS}"
    spf = f"Authentication-Results: {OWN}; spf=fail smtp.mailfrom=x@forwarder.example; {PASS}"
    old = "old@forwarder.example"
    return {
        "Gmail": ("gmail", ME, lambda raw: _on_top(gmail)(sign(raw))),
        "iCloud": ("icloud", ME, _on_top(icloud)),
        "Microsoft": ("outlook", ME, _on_top(outlook)),
        "an own server": ("personal", ME, _on_top(own)),
        "the domain above": ("personal", ME, _on_top(parent)),
        "signed, SendGrid": ("unnamed", ME, sign),
        "signed, Mandrill": ("unnamed", ME, lambda raw: sign(raw, _MANDRILL)),
        "signed by both": (
            "unnamed",
            ME,
            lambda raw: sign(sign(raw, Signing(domain="evil.example", owner="evil"))),
        ),
        "signed, no verdict": (
            "personal",
            ME,
            lambda raw: _on_top(f"Authentication-Results: {OWN}; none")(sign(raw)),
        ),
        "forwarded, verdict": ("personal", old, lambda raw: _on_top(spf)(seal(sign(raw), now))),
        "forwarded, signed": ("unnamed", old, lambda raw: seal(sign(raw), now, "dmarc=none")),
        "forwarded, sealed": ("unnamed", old, lambda raw: seal(raw, now)),
    }


_MANDRILL = Signing(fields=MANDRILL, selector="mandrill")
_SUBJECTS = (
    "ChatGPT - Your data export is ready",
    "ChatGPT — Your data export is ready",
    "ChatGPT \u2013 Ihr Datenexport ist bereit",
    "ChatGPT — ваши данные готовы",
    "ChatGPT：您的数据导出已准备就绪",
    "ChatGPT：データのエクスポートの準備ができました",
    "ChatGPT - Votre export de données est prêt",
    "ChatGPT - La exportación de tus datos está lista",
)


def _recoded(charset: str, encoding: str) -> Change:
    """Write the HTML page anew in another charset and transfer encoding."""

    def change(raw: bytes) -> bytes:
        import quopri

        head, _, body = raw.partition(b"\r\n\r\n")
        text = quopri.decodestring(body).decode("utf-8").encode(charset, "xmlcharrefreplace")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-")]
        coded = {
            "base64": lambda: base64.encodebytes(text).replace(b"\n", b"\r\n"),
            "8bit": lambda: text.replace(b"\n", b"\r\n"),
            "quoted-printable": lambda: quopri.encodestring(text).replace(b"\n", b"\r\n"),
        }[encoding]()
        fields = [
            f"Content-Type: text/html; charset={charset}".encode(),
            f"Content-Transfer-Encoding: {encoding}".encode(),
        ]
        return b"\r\n".join([*lines, *fields, b"", coded])

    return change


_ENCODINGS: dict[str, Change] = {
    "us-ascii, quoted-printable": _recoded("us-ascii", "quoted-printable"),
    "utf-8, base64": _recoded("utf-8", "base64"),
    "koi8-r, base64": _recoded("koi8-r", "base64"),
    "iso-2022-jp, base64": _recoded("iso-2022-jp", "base64"),
    "gb18030, quoted-printable": _recoded("gb18030", "quoted-printable"),
    "windows-1252, 8bit": _recoded("windows-1252", "8bit"),
    "a folded recipient": lambda raw: raw.replace(b"To: ", b"To:\r\n "),
    "a named recipient": lambda raw: raw.replace(
        b"To: " + ME.encode(), b'To: "Me" <me@example.org>'
    ),
    "a bare sender": lambda raw: re.sub(
        rb"(?m)^From: [^\r\n]*", b"From: noreply@tm.openai.com", raw
    ),
    "capital fields": lambda raw: raw.replace(b"Subject:", b"SUBJECT:").replace(b"To:", b"TO:"),
}
