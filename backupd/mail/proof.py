"""Why a mail is believed to come from OpenAI: who vouches for it, and who denies it. Pure.

The rules, which must all stay in this file:

1. The header has no defect: `backupd.mail.message` saw the same single sender as everybody else.
2. The sender's domain equals one of OpenAI's. No suffix, no sub-domain.
3. The own server vouches by its DMARC verdict (`backupd.mail.results` says whose fields count). The
   first field with a verdict decides, and it must hold exactly one: `pass`, with exactly one
   `header.from` that covers the sender's domain. SPF or DKIM alone is no proof.
4. Other witnesses are asked by `backupd.mail.signature`: OpenAI's own signature, and the seal of a
   trusted forwarder.
5. One witness must vouch, and none may deny. The own server denies by any DMARC verdict but those
   that mean "not looked at", by one that cannot be read, and, where it has none, by calling a
   signature of OpenAI's false. A signature that does not verify denies nothing: mail programs and
   bridges rewrite bodies. One that leaves room for additions does.
6. A witness that could not be asked is not one that denies: it may be asked again.

Not guaranteed: that the configured server strips forged fields with its own name (RFC 8601 §5
demands it); a server that neither writes a verdict nor strips such fields must not be configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from backupd.errors import BackupdError
from backupd.mail.message import SENDER_DOMAINS, Message, safe
from backupd.mail.results import Results, Unreadable, own_results

# A server may report the domain whose DMARC record it used: the sender's own or the one above it.
# Source: Gmail on mails of tm.openai.com, 2023 (openai.com) and 2025 (tm.openai.com).
_COVERED_BY = {domain: frozenset({domain, "openai.com"}) for domain in SENDER_DOMAINS}
_NOT_LOOKED_AT = frozenset({"none", "temperror", "bestguesspass"})


class ProofMissing(BackupdError):
    """A mail cannot be proven to come from OpenAI; `reason` says why, escaped.

    `impossible`: OpenAI sends no such mail, so that nobody need be asked. `passing`: a witness
    could not be asked just now, and may vouch later.
    """

    def __init__(self, reason: str, *, impossible: bool = False, passing: bool = False) -> None:
        super().__init__(
            f"prove mail: {reason}",
            "open the mail yourself only if you asked for an export; nothing was fetched",
        )
        self.reason = reason
        self.impossible = impossible
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Proof:
    """What proved a mail: the method, who vouched, and the domain that was vouched for."""

    method: str
    witness: str
    domain: str


class Says(Enum):
    """What a witness says about a mail."""

    GENUINE = "genuine"
    NOTHING = "nothing"
    FORGED = "forged"
    CANNOT_TELL_NOW = "cannot tell now"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one witness says, and why; `proof` if it vouches."""

    says: Says
    reason: str
    proof: Proof | None = None


def prove(message: Message, authserv_ids: tuple[str, ...], *others: Statement) -> Proof:
    """Weigh the own server's verdict and what the other witnesses say.

    `authserv_ids` are the names under which the configured server writes its results; letter case
    does not matter.

    Raises:
        ProofMissing: nobody vouches, or somebody denies.
    """
    domain = sender_domain(message)
    witnesses = (_own_server(message, authserv_ids, domain), *others)
    for witness in witnesses:
        if witness.says is Says.FORGED:
            raise ProofMissing(witness.reason)
    for witness in witnesses:
        if witness.proof is not None:
            return witness.proof
    reason = "; ".join(dict.fromkeys(witness.reason for witness in witnesses))
    raise ProofMissing(reason, passing=any(one.says is Says.CANNOT_TELL_NOW for one in witnesses))


def sender_domain(message: Message) -> str:
    """Return which of OpenAI's domains a mail names as its sender's.

    Raises:
        ProofMissing: none of them, or a defect leaves doubt.
    """
    if message.defects:
        raise ProofMissing("; ".join(message.defects[:5]), impossible=True)
    if message.sender_domain is None:
        raise ProofMissing("the sender cannot be told", impossible=True)
    if message.sender_domain not in SENDER_DOMAINS:
        domain = safe(message.sender_domain)
        raise ProofMissing(f"the sender's domain {domain} is not OpenAI's", impossible=True)
    return message.sender_domain


def covers(domains: tuple[str, ...], domain: str) -> bool:
    """Say whether a DMARC verdict's `header.from` values are exactly one that covers `domain`."""
    return len(domains) == 1 and domains[0] in _COVERED_BY[domain]


def _own_server(message: Message, names: tuple[str, ...], domain: str) -> Statement:
    if not names:
        return Statement(Says.NOTHING, "no authserv_id is configured for this mailbox")
    try:
        fields = own_results(message, names)
    except Unreadable as problem:
        return Statement(Says.FORGED, problem.message)
    for results in fields:
        if results.of("dmarc"):
            return _verdict(results, domain)
    for results in fields:
        for dkim in results.of("dkim"):
            if dkim.result == "fail" and domain in dkim.domains:
                reason = f"{results.server} says dkim=fail for {domain}"
                return Statement(Says.FORGED, reason)
    return Statement(Says.NOTHING, f"no DMARC verdict by {safe(', '.join(names), 200)}")


def _verdict(results: Results, domain: str) -> Statement:
    """Weigh the DMARC verdict of one field."""
    server, verdicts = results.server, results.of("dmarc")
    if len(verdicts) != 1:
        return Statement(Says.FORGED, f"{server} gave more than one DMARC verdict")
    result, domains = verdicts[0].result, verdicts[0].domains
    if result != "pass":
        says = Says.NOTHING if result in _NOT_LOOKED_AT else Says.FORGED
        return Statement(says, f"{server} says dmarc={safe(result, 30)}")
    if len(domains) != 1:
        return Statement(Says.FORGED, f"{server} does not say whose DMARC passed")
    if not covers(domains, domain):
        reason = f"DMARC passed for {safe(domains[0], 80)}, not for {domain}"
        return Statement(Says.FORGED, reason)
    reason = f"{server} says dmarc=pass"
    return Statement(Says.GENUINE, reason, Proof("dmarc", server, domain))
