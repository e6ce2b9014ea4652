"""Who is believed: the own server's DMARC verdict, read by its grammar, and nothing less."""

from __future__ import annotations

import pytest

from backupd.mail.message import parse
from backupd.mail.proof import Proof, ProofMissing, Says, Statement, prove

OWN = ("mx.example.org",)
PASS = "dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=tm.openai.com"


def mail(*results: str, sender: str = "OpenAI <noreply@tm.openai.com>", extra: str = "") -> bytes:
    lines = [f"Authentication-Results: {result}" for result in results]
    lines += [
        f"From: {sender}",
        "To: me@example.org",
        "Subject: ChatGPT - Your data export is ready",
        "Date: Sun, 22 Nov 2026 08:00:00 +0000",
        "Message-ID: <1@geopod-ismtpd-1>",
    ]
    return ("\r\n".join(lines) + "\r\n" + extra + "\r\nhello").encode()


GENUINE = {
    "Gmail 2025": (
        ("mx.google.com",),
        "mx.google.com;\r\n       dkim=pass header.i=@tm.openai.com header.s=s1 header.b=abc/+=;"
        "\r\n       spf=pass (google.com: domain of bounces+20216706-ab12-me=example.org"
        "@em7877.tm.openai.com designates 159.183.12.231 as permitted sender)"
        ' smtp.mailfrom="bounces+20216706-ab12-me=example.org@em7877.tm.openai.com";'
        "\r\n       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=tm.openai.com",
    ),
    "Gmail 2023, record of the domain above": (
        ("mx.google.com",),
        "mx.google.com; dkim=pass header.i=@tm.openai.com header.s=mandrill; "
        "dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=openai.com",
    ),
    "OpenDMARC": (OWN, "mx.example.org; dmarc=pass (p=reject dis=none) header.from=tm.openai.com"),
    "version": (OWN, f"mx.example.org 1; {PASS}"),
    "quoted id": (OWN, f'"mx.example.org"; {PASS}'),
    "letter case": (OWN, "MX.Example.ORG; DMARC=Pass header.From=TM.OpenAI.com"),
    "reason": (
        OWN,
        'mx.example.org; dmarc=pass reason="all; (is) well" action=none header.from=tm.openai.com;'
        "spf=none",
    ),
    "Fastmail": (
        ("mx.messagingengine.com",),
        "mx.messagingengine.com;\r\n    arc=none (no signatures found);\r\n    "
        "dkim=pass (2048-bit rsa key sha256) header.d=tm.openai.com header.i=@tm.openai.com"
        " header.b=x header.a=rsa-sha256 header.s=s1 x-bits=2048;\r\n    "
        "dmarc=pass policy.published-domain-policy=reject policy.applied-disposition=none"
        " policy.evaluated-disposition=none (p=reject,d=none,d.eval=none)"
        " policy.policy-from=p header.from=tm.openai.com;\r\n    "
        "iprev=pass smtp.remote-ip=159.183.12.231 (o13.ptr1681.openai.com)",
    ),
    "method version": (OWN, f"mx.example.org; {PASS.replace('dmarc=', 'dmarc/1 = ')}"),
    "nested comment": (OWN, f"mx.example.org (a (b \\) c) d); {PASS}"),
    "quoted value": (OWN, 'mx.example.org; dmarc=pass header.from="tm.openai.com"'),
}


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_verdicts_prove(name: str) -> None:
    own, result = GENUINE[name]

    assert prove(parse(mail(result)), own) == Proof("dmarc", own[0], "tm.openai.com")


def test_one_line_per_method_is_read_as_well() -> None:
    """As iCloud writes them; the topmost carries no verdict."""
    own = ("bimi.icloud.com", "dmarc.icloud.com", "dkim-verifier.icloud.com", "spf.icloud.com")
    results = (
        'bimi.icloud.com; bimi=skipped reason="insufficient dmarc"',
        "dmarc.icloud.com; dmarc=pass header.from=tm.openai.com",
        "dkim-verifier.icloud.com; dkim=pass (2048-bit key) header.d=tm.openai.com",
        "spf.icloud.com; spf=pass smtp.mailfrom=bounces@em7877.tm.openai.com",
    )

    assert prove(parse(mail(*results)), own).witness == "dmarc.icloud.com"


def test_a_forwarders_lines_below_do_not_matter() -> None:
    raw = mail(f"mx.example.org; {PASS}", "mx.cloudflare.net; dmarc=fail header.from=x.example")

    assert prove(parse(raw), OWN)


REFUSED = {
    "no line": ((), "no DMARC verdict"),
    "another server's line": ((f"mx.evil.com; {PASS}",), "no DMARC verdict"),
    "id as a prefix": ((f"mx.example.org.evil.com; {PASS}",), "no DMARC verdict"),
    "id in a comment": ((f"evil.com (mx.example.org); {PASS}",), "no DMARC verdict"),
    "no id at all": ((f"spf=pass (mx.example.org); {PASS}",), "no DMARC verdict"),
    "fail": (("mx.example.org; dmarc=fail header.from=tm.openai.com",), "dmarc=fail"),
    "none": (("mx.example.org; dmarc=none header.from=tm.openai.com",), "dmarc=none"),
    "bestguesspass": (("mx.example.org; dmarc=bestguesspass header.from=tm.openai.com",), "bestg"),
    "passed": (("mx.example.org; dmarc=passed header.from=tm.openai.com",), "dmarc=passed"),
    "spf only": (("mx.example.org; spf=pass smtp.mailfrom=tm.openai.com",), "no DMARC verdict"),
    "dkim only": (("mx.example.org; dkim=pass header.d=tm.openai.com",), "no DMARC verdict"),
    "no results": (("mx.example.org; none",), "no DMARC verdict"),
    "another domain": (("mx.example.org; dmarc=pass header.from=evil.com",), "evil.com, not for"),
    "a sub-domain": (("mx.example.org; dmarc=pass header.from=a.tm.openai.com",), "not for"),
    "a look-alike": (("mx.example.org; dmarc=pass header.from=tm.openai.com.evil.com",), "not for"),
    "no domain": (
        ("mx.example.org; dmarc=pass (header.from=tm.openai.com)",),
        "does not say whose",
    ),
    "two domains": (
        ("mx.example.org; dmarc=pass header.from=tm.openai.com header.from=evil.com",),
        "does not say whose",
    ),
    "a second, forged line": (
        ("mx.example.org; dmarc=fail header.from=tm.openai.com", f"mx.example.org; {PASS}"),
        "dmarc=fail",
    ),
    "two verdicts in one line": (
        (f"mx.example.org; dmarc=fail header.from=evil.com; {PASS}",),
        "more than one",
    ),
    "a verdict in a quoted address": (
        (
            "mx.example.org; spf=pass "
            'smtp.mailfrom="; dmarc=pass header.from=tm.openai.com"@evil.com',
        ),
        "no DMARC verdict",
    ),
    "a verdict in a comment": (
        ("mx.example.org; spf=pass (; dmarc=pass header.from=tm.openai.com)",),
        "no DMARC verdict",
    ),
    "an escaped quote": (
        (
            "mx.example.org; spf=pass "
            'smtp.mailfrom="\\"; dmarc=pass header.from=tm.openai.com"@evil.com',
        ),
        "no DMARC verdict",
    ),
    "an open comment": ((f"mx.example.org; spf=pass (oops; {PASS}",), "cannot be read"),
    "an open quote": ((f'mx.example.org; spf=pass "oops; {PASS}',), "cannot be read"),
    "a closing bracket too many": ((f"mx.example.org; spf=pass ); {PASS}",), "cannot be read"),
    "junk in the verdict": (
        ("mx.example.org; dmarc=pass ,,, header.from=tm.openai.com",),
        "cannot be read",
    ),
    "a glued verdict": (("mx.example.org; dmarc=passheader.from=tm.openai.com",), "cannot be read"),
    "a line of megabytes": (("mx.example.org; " + "(" * 20_000 + ")" * 20_000 + PASS,), "be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_less_is_refused_with_the_reason(name: str) -> None:
    results, words = REFUSED[name]
    with pytest.raises(ProofMissing, match=words) as refused:
        prove(parse(mail(*results)), OWN)

    assert len(refused.value.reason) < 300


def test_a_line_below_another_hop_is_not_ours() -> None:
    """The own server wrote no verdict; the sender brought a forged line along."""
    raw = (
        b"Authentication-Results: mx.example.org; spf=pass\r\n"
        b"Received: from evil.com by mx.example.org\r\n"
    ) + mail(f"mx.example.org; {PASS}")

    with pytest.raises(ProofMissing, match="no DMARC verdict"):
        prove(parse(raw), OWN)


@pytest.mark.parametrize(
    ("sender", "words"),
    [
        ("x@evil.com", "evil.com is not OpenAI's"),
        ("noreply@tm.openai.com.evil.com", "is not OpenAI's"),
        ("noreply@atm.openai.com", "is not OpenAI's"),
        ("noreply@email.openai.com", "is not OpenAI's"),
        ("noreply@tm1.openai.com", "is not OpenAI's"),
        ("noreply@openai.co", "is not OpenAI's"),
        ("noreply@tm.openai.com <x@evil.com>", "malformed From"),
        ("noreply@tm.openai.com, x@evil.com", "malformed From"),
        ("noreply@tm.opеnai.com", "malformed From"),
        ("noreply@xn--tm-openai-abc.com", "is not OpenAI's"),
    ],
)
def test_a_verdict_for_openai_does_not_help_another_sender(sender: str, words: str) -> None:
    with pytest.raises(ProofMissing, match=words):
        prove(parse(mail(f"mx.example.org; {PASS}", sender=sender)), OWN)


@pytest.mark.parametrize("name", ["From", "Subject", "Date", "Message-ID", "To", "Content-Type"])
def test_a_repeated_field_denies_the_proof(name: str) -> None:
    extra = f"{name}: text/html\r\n{name}: text/html\r\n"
    with pytest.raises(ProofMissing, match=f"more than one {name}"):
        prove(parse(mail(f"mx.example.org; {PASS}", extra=extra)), OWN)


def test_the_exact_organisational_domain_may_send_but_a_sub_verdict_does_not_cover_it() -> None:
    sender = "noreply@openai.com"
    assert prove(
        parse(mail("mx.example.org; dmarc=pass header.from=openai.com", sender=sender)), OWN
    )
    with pytest.raises(ProofMissing, match=r"not for openai\.com"):
        prove(parse(mail(f"mx.example.org; {PASS}", sender=sender)), OWN)


def test_without_a_configured_id_nothing_is_proven() -> None:
    with pytest.raises(ProofMissing, match="no authserv_id"):
        prove(parse(mail(f"mx.example.org; {PASS}")), ())


def test_hostile_text_in_a_verdict_is_escaped() -> None:
    result = "mx.example.org; dmarc=pass header.from=\u202eevil\x1b.com"
    with pytest.raises(ProofMissing) as refused:
        prove(parse(mail(result)), OWN)

    assert refused.value.reason.isprintable()


MICROSOFT = (
    "Received: from A.example (::1) by B.prod.outlook.com with HTTPS; x\r\n"
    "Authentication-Results: spf=pass (sender IP is 159.183.12.231)\r\n"
    " smtp.mailfrom=em7877.tm.openai.com; dkim=pass (signature was verified)\r\n"
    " header.d=tm.openai.com;dmarc={} action=none header.from={};compauth=pass reason=100\r\n"
    "Received: from o13.example (159.183.12.231) by\r\n"
    " AM4PEPF00.mail.{} (10.167.16.1) with Microsoft SMTP Server id 15.20; x\r\n"
)
OUTLOOK = ("protection.outlook.com",)


def microsoft(
    verdict: str = "pass", domain: str = "tm.openai.com", border: str = OUTLOOK[0]
) -> bytes:
    return MICROSOFT.format(verdict, domain, border).encode()


def test_microsofts_line_without_a_name_proves() -> None:
    proof = prove(parse(microsoft() + mail()), OUTLOOK)

    assert proof == Proof("dmarc", "protection.outlook.com", "tm.openai.com")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (microsoft("fail"), "dmarc=fail"),
        (microsoft(domain="evil.com"), "not for"),
        (microsoft(border="protection.outlook.com.evil.com"), "no DMARC verdict"),
        (microsoft(border="evil-protection.outlook.com"), "no DMARC verdict"),
        (microsoft().partition(b"Received: from o13")[0], "no DMARC verdict"),
        (b"Authentication-Results: mx.evil.com; none\r\n" + microsoft(), "no DMARC verdict"),
        (microsoft("fail") + microsoft(), "dmarc=fail"),
        (microsoft().replace(b"(signature", b"(((signature"), "cannot be read"),
    ],
)
def test_a_line_without_a_name_counts_only_on_top_of_microsofts_own_server(
    head: bytes, words: str
) -> None:
    with pytest.raises(ProofMissing, match=words):
        prove(parse(head + mail()), OUTLOOK)


def test_a_line_without_a_name_is_nobodys_where_another_server_is_configured() -> None:
    with pytest.raises(ProofMissing, match="no DMARC verdict"):
        prove(parse(microsoft() + mail()), OWN)
    with pytest.raises(ProofMissing, match="no DMARC verdict"):
        prove(parse(microsoft(border="mx.example.org") + mail()), ("example.org", *OWN))


SIGNED = Statement(Says.GENUINE, "signed", Proof("dkim", "s1", "tm.openai.com"))
UNSIGNED = Statement(Says.NOTHING, "no signature")
APPENDED = Statement(Says.FORGED, "anybody may append")
SILENT = Statement(Says.CANNOT_TELL_NOW, "not just now")


@pytest.mark.parametrize(
    ("result", "other", "method"),
    [
        (f"mx.example.org; {PASS}", SIGNED, "dmarc"),
        (f"mx.example.org; {PASS}", UNSIGNED, "dmarc"),
        (f"mx.example.org; {PASS}", SILENT, "dmarc"),
        (f"mx.example.org; {PASS}", APPENDED, "append"),
        ("mx.example.org; none", SIGNED, "dkim"),
        ("mx.example.org; dmarc=none header.from=tm.openai.com", SIGNED, "dkim"),
        ("mx.example.org; dmarc=temperror header.from=tm.openai.com", SIGNED, "dkim"),
        ("mx.evil.com; dmarc=fail header.from=tm.openai.com", SIGNED, "dkim"),
        ("mx.example.org; dkim=fail header.d=mandrillapp.com", SIGNED, "dkim"),
        ("mx.example.org; dmarc=fail header.from=tm.openai.com", SIGNED, "dmarc=fail"),
        ("mx.example.org; dmarc=permerror header.from=tm.openai.com", SIGNED, "permerror"),
        ("mx.example.org; dmarc=pass header.from=evil.com", SIGNED, "not for"),
        ("mx.example.org; dkim=fail header.d=tm.openai.com", SIGNED, "dkim=fail"),
        ("mx.example.org; dkim=fail header.i=@tm.openai.com", SIGNED, "dkim=fail"),
        ("mx.example.org; spf=pass (oops", SIGNED, "cannot be read"),
        ("mx.example.org; none", UNSIGNED, "no DMARC verdict.*; no signature"),
        ("mx.example.org; none", SILENT, "not just now"),
        ("mx.example.org; none", APPENDED, "append"),
    ],
)
def test_one_vouches_and_nobody_denies(result: str, other: Statement, method: str) -> None:
    message = parse(mail(result))
    if method in ("dmarc", "dkim"):
        assert prove(message, OWN, other).method == method
        return
    with pytest.raises(ProofMissing, match=method) as missing:
        prove(message, OWN, other)
    assert missing.value.passing == (other is SILENT)
