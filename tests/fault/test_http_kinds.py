"""The table of HTTP faults: what the server does, and how each of the two positions is to end."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from backupd.download.fetch import Limits
from tests.support.https import Exchange, Script, serve
from tests.support.https_faults import (
    CUT,
    DATA,
    OTHER,
    SMALL,
    babbles,
    breaks_off,
    chunked,
    drips_body,
    drips_handshake,
    headed,
    hesitates,
    hops,
    interim,
    never_fits,
    no_progress,
    once,
    ranged,
    redirect,
    resets_body,
    resets_handshake,
    short_ranges,
    spans,
    speaks_clear,
    stalls_after,
    stalls_handshake,
    status,
    truthful,
)

ACCOUNT = "5ec2e7" * 10 + "5ec2"
CANARY = "c0ffee" * 10 + "beef"
URL = (
    f"https://chatgpt.com/backend-api/estuary/content?id={ACCOUNT}-2026-09-07-10-00-00-{'1' * 32}"
    f".zip&ts=496764&p=de&cid=1&sig={CANARY}&v=0"
)
AZURE = (
    f"https://proddatamgmtqueue.blob.core.windows.net/exportcontainer/{ACCOUNT}-2026-09-07-10-00-00"
    f".zip?se=2026-09-08T10%3A00%3A00Z&sp=r&sv=2022-11-02&sr=b&sig={CANARY}"
)
SENT = datetime(2026, 9, 7, 10, 0, tzinfo=UTC)
EARLY = SENT + timedelta(hours=1)
LATE = SENT + timedelta(hours=25)

PATIENT = Limits(connect_timeout=10, read_timeout=10, min_rate_window=20, reserve=1)
HASTY = Limits(connect_timeout=1.0, read_timeout=0.5, min_rate=2000, min_rate_window=0.5, reserve=1)


@dataclass(frozen=True)
class Kind:
    """One fault: what the server does, and how a first and a resumed attempt are to end."""

    name: str
    script: Script
    first: str
    resumed: str
    limits: Limits = PATIENT
    url: str = URL
    now: datetime = EARLY
    data: bytes = DATA
    etag: str | None = '"kept"'
    greet: Callable[[socket.socket, threading.Event], bool] | None = None
    certificate: str = ""
    facts: dict[str, object] = field(default_factory=dict)


def kind(name: str, script: Script, first: str, resumed: str = "", **rest: object) -> Kind:
    """Make a fault whose two positions end alike unless `resumed` says otherwise."""
    return Kind(name, script, first, resumed or first, **rest)  # type: ignore[arg-type]


LENGTH = f"Content-Length: {len(DATA)}"
PAGE = b"\r\n <!DOCTYPE html><html><title>Log in</title></html>" + CANARY.encode()
XML = b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>'
LATE_SIGNATURE = XML % (b"AuthenticationFailed", b"Signature not valid in the specified time frame")
BAD_SIGNATURE = XML % (b"AuthenticationFailed", b"Signature did not match. " + CANARY.encode())
GONE = "expired"
PERHAPS = "expired, perhaps"
SIGN_IN = "sign-in-needed"
NETWORK = "network-failed"
SERVER = "server-failed"
OK = "fetched"

CUTS = [kind(f"cut at {n}/16", breaks_off(n), NETWORK) for n in range(1, 16)]

KINDS = [
    # broken transfers
    kind("cut in the first bytes", serve(DATA, etag='"kept"', until=2), NETWORK),
    kind("stall before the answer", Exchange.stall, NETWORK, limits=HASTY),
    kind(
        "stall in the head",
        lambda x: (x.send("HTTP/1.1 200 OK\r\nCont"), x.stall()),
        NETWORK,
        limits=HASTY,
    ),
    kind("stall in the body", stalls_after(100_000), NETWORK, limits=HASTY),
    kind(
        "drip in the head",
        lambda x: x.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 999),
        NETWORK,
        limits=HASTY,
    ),
    kind("drip in the body", drips_body, NETWORK, limits=HASTY),
    kind("reset before the answer", Exchange.reset, NETWORK),
    kind("reset in the body", resets_body, NETWORK),
    kind("closed without an answer", Exchange.close, NETWORK),
    kind("nobody listens", Exchange.close, NETWORK, facts={"closed": True}),
    # lengths
    kind("length one too large", headed(f"Content-Length: {len(DATA) + 1}"), NETWORK),
    kind("length one too small", headed(f"Content-Length: {len(DATA) - 1}"), "not-a-zip"),
    kind("length zero", headed("Content-Length: 0"), "not-a-zip"),
    kind("length over the limit", headed(f"Content-Length: {10**15}"), "too-big"),
    kind(
        "length over the disk",
        headed(f"Content-Length: {10**15}"),
        "disk-full",
        limits=Limits(max_size=10**16, reserve=1),
    ),
    kind("length no number", headed("Content-Length: abc"), NETWORK),
    kind("length negative", headed("Content-Length: -1"), NETWORK),
    kind("length of 10^30", headed(f"Content-Length: {10**30}"), NETWORK),
    kind("two lengths", headed(LENGTH, "Content-Length: 5"), NETWORK),
    kind("no length, whole", headed(), OK),
    kind("no length, cut", headed(data=DATA[: CUT + 5]), NETWORK),
    kind("chunked, whole", chunked(DATA), OK),
    kind("chunked, cut", chunked(DATA[:-70_000], end=b""), NETWORK),
    kind("chunked, ended early", chunked(DATA[:-70_000]), "not-a-zip"),
    kind("chunked, bad size", chunked(DATA[:100_000], end=b"zz\r\n"), NETWORK),
    kind("chunked, endless size", chunked(b"", end=b"1" * 300_000), NETWORK),
    # codings and contents
    kind("gzip coding", headed("Content-Encoding: gzip", data=gzip.compress(DATA)), SERVER),
    kind(
        "gzip coding, cut",
        headed("Content-Encoding: gzip", LENGTH, data=gzip.compress(DATA)),
        SERVER,
    ),
    kind("gzip coding, a lie", headed("Content-Encoding: gzip", LENGTH), SERVER),
    kind(
        "gzip coding of a page",
        headed("Content-Encoding: gzip", "Content-Type: text/html", data=gzip.compress(PAGE)),
        SIGN_IN,
    ),
    kind("unknown coding", headed("Content-Encoding: br, gzip", LENGTH), SERVER),
    kind("login page", status(200, "Content-Type: text/html", body=PAGE), SIGN_IN),
    kind(
        "login page typed as ZIP", status(200, "Content-Type: application/zip", body=PAGE), SIGN_IN
    ),
    kind("ZIP typed as a page", serve(DATA, "Content-Type: text/html", etag='"kept"'), OK),
    kind("page after the deadline", status(200, body=PAGE), PERHAPS, now=LATE),
    kind("page from the storage", status(200, body=PAGE), "not-a-zip", url=AZURE),
    kind("JSON", status(200, body=b'{"detail": "x"}'), "not-a-zip"),
    kind("XML", status(200, body=b"<?xml version='1.0'?><a/>"), "not-a-zip"),
    kind("noise", status(200, body=b"\x00\x01" * 5000), "not-a-zip"),
    kind("empty ZIP", status(200, body=b"PK\x05\x06" + bytes(18)), "not-a-zip"),
    # redirects
    kind("to the login page", redirect("https://auth.openai.com/log-in?state=" + CANARY), SIGN_IN),
    kind("to the front page", redirect("/"), SIGN_IN),
    kind("to the login page, late", redirect("/auth/login"), PERHAPS, now=LATE),
    kind("to http", redirect(URL.replace("https", "http")), "link-refused"),
    kind("to another host", redirect("https://evil.example/x.zip?" + CANARY), "link-refused"),
    kind(
        "to a look-alike host",
        redirect(URL.replace("chatgpt.com", "chatgpt.com.evil.example")),
        "link-refused",
    ),
    kind("to a private address", redirect("https://10.0.0.1/x.zip"), "link-refused"),
    kind("to the metadata address", redirect("https://169.254.169.254/x.zip"), "link-refused"),
    kind("to this machine", redirect("https://localhost/x.zip"), "link-refused"),
    kind(
        "to another port",
        redirect(URL.replace("chatgpt.com", "chatgpt.com:8443")),
        "link-refused",
    ),
    kind(
        "to a user name",
        redirect(URL.replace("chatgpt.com", "chatgpt.com@evil.example")),
        "link-refused",
    ),
    kind("to a backslash", redirect("https://evil.example\\@chatgpt.com/"), "link-refused"),
    kind("to a file", redirect("file:///etc/passwd"), "link-refused"),
    kind("to a broken host", redirect("https://[::1/x"), "link-refused"),
    kind("to 9 KiB", redirect(URL + "&x=" + "y" * 9000), "link-refused"),
    kind("to raw bytes", redirect("https://chatgpt.com/\x7f"), "link-refused"),
    kind("to nowhere", status(302), SERVER),
    kind("to two places", status(302, "Location: /a", "Location: /b"), SERVER),
    kind("loop", redirect(URL), SERVER),
    kind("21 hops", hops(21, URL), SERVER),
    kind("6 hops", hops(6, URL), SERVER),
    kind("5 hops", hops(5, URL), OK),
    *(kind(f"{code} once", once(redirect(URL, code)), OK) for code in (301, 303, 307, 308)),
    kind("304", status(304), SERVER),
    # statuses
    kind("401", status(401), SIGN_IN),
    *(kind(f"{code}", status(code), "sign-in-or-dead") for code in (403, 404, 422)),
    kind("410", status(410), "ended-early"),
    kind("link expired early", status(403, body=b'{"detail":"Link expired"}'), "ended-early"),
    *(kind(f"{code}, late", status(code), PERHAPS, now=LATE) for code in (401, 403, 404, 410, 422)),
    *(
        kind(f"{code}", status(code), SERVER)
        for code in (204, 400, 407, 408, 418, 500, 502, 503, 504, 599)
    ),
    kind(
        "403 stalled in its body",
        lambda x: (x.head(403, "Content-Length: 9"), x.stall()),
        "sign-in-or-dead",
        limits=HASTY,
    ),
    kind("403 challenge", status(403, "cf-mitigated: challenge", body=PAGE), "challenged"),
    kind("503 challenge", status(503, "CF-Mitigated: challenge", body=PAGE), "challenged"),
    kind("429", status(429), "rate-limited", facts={"wait": None}),
    kind("429 seconds", status(429, "Retry-After: 120"), "rate-limited", facts={"wait": 120}),
    kind(
        "429 date",
        status(429, "Retry-After: Mon, 07 Sep 2026 11:05:00 GMT"),
        "rate-limited",
        facts={"wait": 300},
    ),
    kind(
        "429 past date",
        status(429, "Retry-After: Mon, 07 Sep 2020 11:05:00 GMT"),
        "rate-limited",
        facts={"wait": 0},
    ),
    kind(
        "429 absurd", status(429, "Retry-After: " + "9" * 30), "rate-limited", facts={"wait": 86400}
    ),
    kind("429 echo", status(429, "Retry-After: " + CANARY), "rate-limited", facts={"wait": None}),
    kind("503 seconds", status(503, "Retry-After: 7"), "rate-limited", facts={"wait": 7}),
    # the storage of older links
    kind("signature ended", status(403, body=LATE_SIGNATURE), GONE, url=AZURE),
    kind(
        "signature ended by the clock", status(403, body=BAD_SIGNATURE), GONE, url=AZURE, now=LATE
    ),
    kind("signature mangled", status(403, body=BAD_SIGNATURE), "link-refused", url=AZURE),
    kind(
        "signature mangled, by field",
        status(403, "x-ms-error-code: AuthenticationFailed", body=b""),
        "link-refused",
        url=AZURE,
    ),
    kind("blob gone", status(404, body=XML % (b"BlobNotFound", b"x")), GONE, url=AZURE),
    kind("container gone", status(404, "x-ms-error-code: ContainerNotFound"), GONE, url=AZURE),
    kind("storage busy", status(503, body=XML % (b"ServerBusy", b"x")), SERVER, url=AZURE),
    kind("foreign 403", status(403), SERVER, url=AZURE),
    kind("foreign 404", status(404), PERHAPS, url=AZURE),
    # ranges
    kind("range ignored", headed(LENGTH, 'ETag: "kept"'), OK),
    kind("another range", once(ranged(spans, shift=1)), SERVER, OK),
    kind("another range, always", ranged(spans, shift=1), SERVER),
    kind("range not named", once(ranged(lambda _: "X: y")), SERVER, OK),
    kind("range malformed", once(ranged(lambda _: "Content-Range: bytes 9-1/5")), SERVER, OK),
    kind(
        "range of another size",
        once(ranged(lambda at: f"Content-Range: bytes {at}-{len(DATA) - 1}/{len(DATA) + 9}")),
        SERVER,
        OK,
    ),
    kind(
        "range of unknown size",
        ranged(lambda at: f"Content-Range: bytes {at}-{len(DATA) - 1}/*"),
        SERVER,
        OK,
    ),
    kind(
        "range of unknown size, no tag",
        once(ranged(lambda at: f"Content-Range: bytes {at}-{len(DATA) - 1}/*")),
        SERVER,
        OK,
        etag=None,
    ),
    kind(
        "multipart range",
        once(status(206, "Content-Type: multipart/byteranges; boundary=x", body=b"--x--")),
        SERVER,
        OK,
    ),
    kind("short ranges", short_ranges, OK),
    kind("ranges without progress", no_progress, NETWORK),
    kind("ranges that never fit", never_fits, SERVER),
    kind("416", once(status(416, f"Content-Range: bytes */{len(DATA)}")), SERVER, OK),
    kind("416, always", status(416, "Content-Range: bytes */*"), SERVER),
    kind("tag changed, new file", serve(OTHER, etag='"new"'), OK, data=OTHER),
    kind("tag changed, shorter file", serve(SMALL, etag='"new"'), OK, data=SMALL),
    kind("tag changed, If-Range ignored", truthful('ETag: "new"', data=OTHER), OK, data=OTHER),
    kind("tag became weak", truthful('ETag: W/"kept"'), OK),
    kind("tag missing", truthful(), OK),
    kind("tag malformed", truthful("ETag: kept"), OK),
    kind("no tag, new file", truthful(data=OTHER), OK, data=OTHER, etag=None),
    kind(
        "no tag, new date",
        truthful("Last-Modified: Mon, 07 Sep 2026 10:00:00 GMT", data=OTHER),
        OK,
        data=OTHER,
        etag=None,
    ),
    kind("tag kept, bytes changed", truthful('ETag: "kept"', data=OTHER), OK, data=OTHER),
    # protocol
    kind("HTTP/1.0", lambda x: (x.head("HTTP/1.0 200 OK", LENGTH), x.send(DATA)), OK),
    kind("HTTP/1.0 without length", lambda x: (x.head("HTTP/1.0 200 OK"), x.send(DATA)), OK),
    kind("interim answers", interim, OK),
    kind("endless interim answers", babbles(b"HTTP/1.1 100 Continue\r\n\r\n"), NETWORK),
    kind("one field of 1 MB", headed("X: " + "y" * 1_000_000), NETWORK),
    kind(
        "endless fields",
        lambda x: (x.send("HTTP/1.1 200 OK\r\n"), babbles(b"X: y\r\n")(x)),
        NETWORK,
    ),
    kind("another protocol", status(101, "Upgrade: x"), NETWORK),
    kind("no HTTP at all", lambda x: x.send("SSH-2.0-OpenSSH\r\n\r\n"), NETWORK),
    kind("status line with an echo", lambda x: x.send(f"HTTP/1.1 {CANARY}\r\n\r\n"), NETWORK),
    kind(
        "reason with an echo", lambda x: x.head(f"HTTP/1.1 500 {URL}", "Content-Length: 0"), SERVER
    ),
    kind("bytes after the body", headed(LENGTH, data=DATA + DATA[:500]), OK),
    # TLS
    kind("certificate expired", serve(DATA), NETWORK, certificate="expired"),
    kind("certificate of another host", serve(DATA), NETWORK, certificate="other"),
    kind("certificate of another authority", serve(DATA), NETWORK, certificate="foreign"),
    kind("no TLS", serve(DATA), NETWORK, greet=speaks_clear),
    kind("handshake stalls", serve(DATA), NETWORK, greet=stalls_handshake, limits=HASTY),
    kind("handshake drips", serve(DATA), NETWORK, greet=drips_handshake, limits=HASTY),
    kind("handshake reset", serve(DATA), NETWORK, greet=resets_handshake),
    kind("handshake slow", serve(DATA, etag='"kept"'), OK, greet=hesitates),
]


def test_every_kind_has_a_name_of_its_own() -> None:
    names = [case.name for case in [*CUTS, *KINDS]]

    assert len(names) == len(set(names))
    assert len(KINDS) >= 45
