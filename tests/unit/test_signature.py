"""What a signature proves that was checked here: DKIM by OpenAI, ARC by a trusted forwarder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backupd.mail.message import parse
from backupd.mail.proof import Proof, ProofMissing, Says, Statement, prove
from backupd.mail.signature import Addressee, Arrival, LookupFailed, witnesses
from tests.support import signed_mail
from tests.support.signed_mail import DOMAIN, MANDRILL, ME, Signing, plain_mail, seal, sign

NOW = datetime.now(UTC).replace(microsecond=0)
OWNER = Addressee((ME,))
FORWARDED = Addressee((ME,), ("forwarder.example",))


def lookup(name: str) -> tuple[bytes, ...]:
    found = signed_mail.records().get(name)
    return () if found is None else (found,)


def unreachable(name: str) -> tuple[bytes, ...]:
    raise LookupFailed(f"look up {name}: timed out")


def asked(
    raw: bytes,
    owner: Addressee = OWNER,
    stamped_at: datetime | None = NOW,
    received_at: datetime = NOW,
    ask: Callable[[str], tuple[bytes, ...]] = lookup,
) -> tuple[Statement, ...]:
    return witnesses(Arrival(raw, parse(raw), received_at, stamped_at), owner, ask)


def said(raw: bytes, *rest: object, **more: object) -> Says:
    found = {one.says for one in asked(raw, *rest, **more)}  # type: ignore[arg-type]
    assert len(found) == 1
    return found.pop()


GENUINE = {
    "as SendGrid signs, dated by the export in the body": Signing(),
    "as Mandrill signed, dated by its Date": Signing(fields=MANDRILL, selector="mandrill"),
    "with a time of signing": Signing(time=NOW),
    "that expires later": Signing(time=NOW, extra=(("x", str(int(NOW.timestamp()) + 9000)),)),
    "by the domain above": Signing(domain="openai.com", owner="parent"),
    "simple canonicalization": Signing(canonical=(b"simple", b"simple")),
    "a key of 1024 bits": Signing(selector="small", owner="small", bits=1024),
    "an identity below": Signing(extra=(("i", f"@bounce.{DOMAIN}"),)),
}


@pytest.mark.parametrize("name", GENUINE)
def test_a_signature_by_openai_proves(name: str) -> None:
    raw = sign(plain_mail(NOW), GENUINE[name])

    proof = prove(parse(raw), (), *asked(raw))

    assert (proof.method, proof.domain) == ("dkim", GENUINE[name].domain)
    assert proof.witness.endswith(f"._domainkey.{GENUINE[name].domain}")


ALMOST = {
    "an algorithm of yesterday": Signing(algorithm=b"rsa-sha1"),
    "another domain": Signing(domain="evil.example", owner="evil"),
    "a sub-domain": Signing(domain=f"em1.{DOMAIN}"),
    "a key that is not published": Signing(selector="nobody"),
    "another key": Signing(selector="other"),
    "a withdrawn key": Signing(selector="withdrawn"),
    "a key in test": Signing(selector="testing"),
    "a key for something else": Signing(selector="chat"),
    "a key for sha1": Signing(selector="sha1"),
    "a key too small": Signing(owner="tiny", bits=768, selector="tiny"),
    "the subject not signed": Signing(fields=tuple(f for f in MANDRILL if f != b"subject")),
    "the recipient not signed": Signing(fields=tuple(f for f in MANDRILL if f != b"to")),
    "the type not signed": Signing(fields=tuple(f for f in MANDRILL if f != b"content-type")),
    "mime-version not signed": Signing(fields=tuple(f for f in MANDRILL if f != b"mime-version")),
    "signed three days before": Signing(time=NOW - timedelta(days=3)),
    "signed tomorrow": Signing(time=NOW + timedelta(days=1)),
    "expired": Signing(time=NOW, extra=(("x", str(int(NOW.timestamp()) - 60)),)),
    "an unreadable time": Signing(extra=(("x", "never"),)),
}


@pytest.mark.parametrize("name", ALMOST)
def test_a_signature_that_says_less_proves_nothing(name: str) -> None:
    how = ALMOST[name]
    known = {f"tiny._domainkey.{DOMAIN}": signed_mail.key("tiny", 768)[1]}
    raw = sign(plain_mail(NOW), how)

    statement = asked(raw, ask=lambda name: (known[name],) if name in known else lookup(name))

    assert [one.says for one in statement] == [Says.NOTHING]
    with pytest.raises(ProofMissing) as missing:
        prove(parse(raw), (), *statement)
    assert not missing.value.passing
    assert not missing.value.impossible


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "the body": lambda raw: raw.replace(b"Download data export", b"Download data exporT"),
    "the subject": lambda raw: raw.replace(b"export is ready", b"export is REALLY ready"),
    "the sender": lambda raw: raw.replace(b"noreply@tm", b"no-reply@tm"),
    "the recipient": lambda raw: raw.replace(b"To: me@", b"To: me+x@"),
    "the type": lambda raw: raw.replace(b"multipart/alternative", b"multipart/mixed"),
    "something appended": lambda raw: raw + b"\r\n<a href=https://evil.example/>more</a>\r\n",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_mail_is_not_proven(name: str) -> None:
    raw = CHANGES[name](sign(plain_mail(NOW)))

    assert said(raw) is Says.NOTHING


def test_a_signature_that_lets_anybody_append_denies() -> None:
    raw = sign(plain_mail(NOW), Signing(length=True)) + b"<a href='https://evil.example/'>here</a>"

    (statement,) = asked(raw)

    assert statement.says is Says.FORGED
    vouching = Statement(Says.GENUINE, "", Proof("dmarc", "mx.example.org", DOMAIN))
    with pytest.raises(ProofMissing, match="append"):
        prove(parse(raw), (), vouching, statement)


@pytest.mark.parametrize(
    "field", ["Subject: other", "Content-Type: text/html", "Date: x", "To: a@b.c"]
)
def test_a_second_field_that_dkim_does_not_see_is_refused_outright(field: str) -> None:
    raw = field.encode() + b"\r\n" + sign(plain_mail(NOW))
    assert asked(raw) == ()

    with pytest.raises(ProofMissing, match="more than one") as missing:
        prove(parse(raw), (), *asked(raw))

    assert missing.value.impossible


@pytest.mark.parametrize("to", ["someone@else.example", "me@example.org.evil.example", ""])
def test_a_genuine_mail_to_somebody_else_is_not_proven(to: str) -> None:
    raw = sign(plain_mail(NOW, to=to))

    assert said(raw) is Says.NOTHING
    assert "not known as yours" in asked(raw)[0].reason


@pytest.mark.parametrize("to", ["Me@Example.ORG", "me+openai@example.org", "Me <me@example.org>"])
def test_spellings_of_the_own_address_are_known(to: str) -> None:
    assert said(sign(plain_mail(NOW, to=to))) is Says.GENUINE


def test_a_delivered_to_field_makes_nobody_the_addressee() -> None:
    raw = b"Delivered-To: me@example.org\r\n" + sign(plain_mail(NOW, to="x@else.example"))

    assert said(raw) is Says.NOTHING


@pytest.mark.parametrize("forwarder", ["old@else.example", "else.example"])
def test_a_forwarders_address_counts_as_the_own(forwarder: str) -> None:
    raw = sign(plain_mail(NOW, to="old@else.example"))

    assert said(raw, Addressee((ME,), (forwarder,))) is Says.GENUINE
    assert said(raw, Addressee((ME,), ("old@other.example",))) is Says.NOTHING


def test_an_old_mail_sent_again_is_not_proven_though_its_date_is_new() -> None:
    old = NOW - timedelta(days=9)
    raw = sign(plain_mail(old)).replace(
        b"Date: " + f"{old:%a, %d %b %Y}".encode(), b"Date: " + f"{NOW:%a, %d %b %Y}".encode(), 1
    )

    assert said(raw, stamped_at=old) is Says.NOTHING
    assert said(raw, stamped_at=None) is Says.NOTHING


def test_a_key_that_cannot_be_looked_up_now_is_told_apart_and_may_prove_later() -> None:
    raw = sign(plain_mail(NOW))

    assert said(raw, ask=unreachable) is Says.CANNOT_TELL_NOW
    with pytest.raises(ProofMissing, match="just now") as missing:
        prove(parse(raw), (), *asked(raw, ask=unreachable))
    assert missing.value.passing
    assert said(raw) is Says.GENUINE


def test_only_names_of_openai_are_looked_up_and_at_most_five_signatures() -> None:
    questions: list[str] = []
    raw = plain_mail(NOW)
    for number in range(9):
        raw = sign(raw, Signing(selector=f"k{number}"))
    raw = sign(raw, Signing(domain="evil.example", owner="evil"))
    raw = b"DKIM-Signature: v=1; a=rsa-sha256; d=tm.openai.com; s=a.b c; bh=; b=; h=from\r\n" + raw

    asked(raw, ask=lambda name: (questions.append(name), ())[1])

    assert 3 <= len(questions) <= 5
    assert all(name.endswith(f"._domainkey.{DOMAIN}") for name in questions)


HOSTILE_KEYS = [
    b"",
    b"p",
    b"v=DKIM1",
    b"v=DKIM1; p=!!!!",
    b"v=DKIM1; p=AAAA",
    b"v=DKIM2; p=AAAA",
    b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    b"v=DKIM1; k=rsa; p=MA0GCSqGSIb3DQEBAQUAA4GN",
    b"\xff\xfe\x00" * 100,
    b"v=DKIM1; p=" + b"A" * 100_000,
    b"v=DKIM1; p=A; p=B",
]


@pytest.mark.parametrize("record", HOSTILE_KEYS)
def test_a_hostile_key_record_proves_nothing_and_breaks_nothing(record: bytes) -> None:
    raw = sign(plain_mail(NOW))

    assert said(raw, ask=lambda _: (record,)) is Says.NOTHING
    assert said(raw, ask=lambda name: (*lookup(name), record)) is Says.NOTHING


@pytest.mark.parametrize(
    "tail",
    [b" " * 500_000, b"\t" * 100_000 + b"x", b"a" * 600_000, b" \r\n" * 100_000, b"\r\n" * 200_000],
)
def test_a_mail_that_would_be_costly_to_check_is_not(tail: bytes) -> None:
    raw = sign(plain_mail(NOW)) + tail
    before = time.process_time()

    assert said(raw) is not Says.FORGED

    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "field",
    [
        b"v=1; b=" + b"\r\n " * 1000,
        b"v=1; a=rsa-sha256; d=tm.openai.com; s=s1; h=" + b"from:" * 5000,
        b"v=1; a=rsa-sha256; d=tm.openai.com; s=s1; h=from; bh=x; b=" + b" A" * 3000,
        b"=;;;=",
        b";",
        b"",
        "d=tm.openai.com; ü=1".encode(),
    ],
)
def test_a_hostile_signature_field_breaks_nothing(field: bytes) -> None:
    raw = b"DKIM-Signature: " + field + b"\r\n" + plain_mail(NOW)
    before = time.process_time()

    assert said(raw) is Says.NOTHING

    assert time.process_time() - before < 2


def test_the_seal_of_a_trusted_forwarder_proves_what_it_saw() -> None:
    raw = seal(plain_mail(NOW, to="old@forwarder.example"), NOW)

    proof = prove(parse(raw), (), *asked(raw, FORWARDED, stamped_at=None))

    assert proof == Proof("arc", "forwarder.example", DOMAIN)
    assert said(raw, OWNER) is Says.NOTHING
    assert said(raw, FORWARDED, ask=unreachable) is Says.CANNOT_TELL_NOW


def test_a_chain_of_seals_of_one_forwarder_proves() -> None:
    raw = seal(seal(plain_mail(NOW), NOW), NOW, instance=2, validation=b"pass")

    assert asked(raw, FORWARDED, stamped_at=None)[-1].says is Says.GENUINE


SEALS = {
    "that saw a failure": (f"dmarc=fail header.from={DOMAIN}", {}),
    "that saw another sender": ("dmarc=pass header.from=evil.example", {}),
    "that saw nothing": ("spf=pass smtp.mailfrom=tm.openai.com", {}),
    "that saw two things": (
        f"dmarc=fail header.from={DOMAIN}; dmarc=pass header.from={DOMAIN}",
        {},
    ),
    "of a stranger": (
        f"dmarc=pass header.from={DOMAIN}",
        {"domain": "evil.example", "owner": "evil"},
    ),
    "with another key": (f"dmarc=pass header.from={DOMAIN}", {"owner": "other"}),
    "of a chain without a beginning": (
        f"dmarc=pass header.from={DOMAIN}",
        {"instance": 2, "validation": b"pass"},
    ),
    "of a broken chain": (f"dmarc=pass header.from={DOMAIN}", {"validation": b"fail"}),
}


@pytest.mark.parametrize("name", SEALS)
def test_a_seal_proves_nothing(name: str) -> None:
    verdict, how = SEALS[name]
    raw = seal(plain_mail(NOW), NOW, verdict, **how)  # type: ignore[arg-type]

    assert said(raw, FORWARDED, stamped_at=None) is Says.NOTHING


def test_a_seal_proves_nothing_about_what_came_after_it() -> None:
    sealed = seal(plain_mail(NOW), NOW)

    assert said(sealed + b"more", FORWARDED) is Says.NOTHING
    assert said(seal(plain_mail(NOW), NOW - timedelta(days=5)), FORWARDED) is Says.NOTHING
    assert said(seal(plain_mail(NOW, to="x@else.example"), NOW), FORWARDED) is Says.NOTHING


def test_a_forwarded_mail_whose_first_signature_survives_needs_no_seal() -> None:
    raw = sign(plain_mail(NOW, to="old@forwarder.example"))
    forwarded = b"Received: by mx.example.org\r\n" + seal(raw, NOW, "dmarc=none")

    statement = asked(forwarded, replace(FORWARDED, forwarders=("forwarder.example",)))

    assert statement[0].says is Says.GENUINE
    assert prove(parse(forwarded), (), *statement).method == "dkim"
