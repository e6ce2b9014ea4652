"""What a policy decides: a table, and the laws that hold for every policy and every series."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupd.store.retention import Candidate, Decision, KeepReason, Policy, decide

EXAMPLES = 2_000 if os.environ.get("BACKUPD_FULL") == "1" else 150
RULES = [item.name for item in fields(Policy)]
ALWAYS = {KeepReason.PINNED, KeepReason.OPAQUE, KeepReason.NEWEST_COMPLETE}


def at(text: str, **more: object) -> Candidate:
    """Return a snapshot of one account made at a time; its id is that time."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return replace(Candidate(text, "a", moment, moment), **more)


DAYS = [
    at("2025-12-28T08"), at("2025-12-29T08"), at("2026-01-01T08"), at("2026-01-04T23"),
    at("2026-01-05T00"), at("2026-01-05T20"), at("2026-02-01T08"),
]  # fmt: skip

TABLE = [
    (Policy(last=2), [5, 6]),
    (Policy(last=99), [0, 1, 2, 3, 4, 5, 6]),
    (Policy(daily=3), [3, 5, 6]),
    (Policy(weekly=3), [3, 5, 6]),  # 29 December to 4 January is one week, of two years
    (Policy(weekly=4), [0, 3, 5, 6]),
    (Policy(monthly=2), [5, 6]),
    (Policy(monthly=9), [1, 5, 6]),
    (Policy(yearly=1), [6]),
    (Policy(yearly=2), [1, 6]),
    (Policy(last=1, yearly=2), [1, 6]),
    (Policy(), [6]),
]


def kept(decisions: Sequence[Decision]) -> set[str]:
    return {each.snapshot.id for each in decisions if each.keep}


@pytest.mark.parametrize(("policy", "expected"), TABLE, ids=[str(p) for p, _ in TABLE])
def test_table(policy: Policy, expected: list[int]) -> None:
    assert kept(decide(DAYS, policy)) == {DAYS[number].id for number in expected}


def test_reasons_are_all_told() -> None:
    (*_, newest) = decide(DAYS, Policy(1, 1, 1, 1, 1))

    assert set(newest.reasons) == set(KeepReason) - {KeepReason.PINNED, KeepReason.OPAQUE}


def test_newest_complete_stays_beside_a_newer_incomplete_one() -> None:
    broken = at("2026-03-01T08", complete=False)

    decisions = decide([*DAYS, broken], Policy(last=1))

    assert kept(decisions) == {broken.id, DAYS[-1].id}
    assert decisions[-2].reasons == (KeepReason.NEWEST_COMPLETE,)


moments = st.integers(0, 3 * 365 * 24).map(
    lambda hours: datetime(2023, 12, 30, tzinfo=UTC) + timedelta(hours=hours)
)
series = st.lists(
    st.tuples(moments, st.sampled_from("ab"), st.sampled_from([True, False, None]), st.booleans()),
    max_size=40,
).map(
    lambda rows: [
        Candidate(f"{number}", account, moment, moment, complete, pinned and number % 5 == 0)
        for number, (moment, account, complete, pinned) in enumerate(rows)
    ]
)
counts = st.integers(0, 5)
policies = st.builds(Policy, counts, counts, counts, counts, counts)
laws = settings(max_examples=EXAMPLES, deadline=None)


@laws
@given(series, policies)
def test_everything_is_decided_once_whatever_the_order(
    given_: list[Candidate], policy: Policy
) -> None:
    decisions = decide(given_, policy)

    assert sorted(each.snapshot.id for each in decisions) == sorted(c.id for c in given_)
    assert decide(list(reversed(given_)), policy) == decisions


@laws
@given(series, policies)
def test_pinned_and_newest_complete_of_every_account_stay(
    given_: list[Candidate], policy: Policy
) -> None:
    stays = kept(decide(given_, policy))

    assert {each.id for each in given_ if each.pinned} <= stays
    for account in {each.account for each in given_}:
        mine = [each for each in given_ if each.account == account]
        whole = [each for each in mine if each.complete is not False] or mine
        newest = max(each.at for each in whole)
        assert any(each.id in stays for each in whole if each.at == newest)


@laws
@given(series, policies, st.sampled_from(RULES))
def test_a_larger_number_never_keeps_less(
    given_: list[Candidate], policy: Policy, rule: str
) -> None:
    larger = replace(policy, **{rule: getattr(policy, rule) + 1})

    assert kept(decide(given_, policy)) <= kept(decide(given_, larger))


@laws
@given(series, policies)
def test_forgetting_again_forgets_nothing(given_: list[Candidate], policy: Policy) -> None:
    stays = kept(decide(given_, policy))

    assert kept(decide([each for each in given_ if each.id in stays], policy)) == stays


@laws
@given(series, policies)
def test_a_rule_keeps_no_more_than_it_says(given_: list[Candidate], policy: Policy) -> None:
    decisions = decide(given_, policy)

    for account in {each.account for each in given_}:
        for rule in RULES:
            mine = [d for d in decisions if d.snapshot.account == account]
            assert sum(KeepReason(rule) in d.reasons for d in mine) <= getattr(policy, rule)


@laws
@given(series, policies)
def test_accounts_know_nothing_of_each_other(given_: list[Candidate], policy: Policy) -> None:
    apart = [d for name in "ab" for d in decide([c for c in given_ if c.account == name], policy)]

    assert list(decide(given_, policy)) == apart


@laws
@given(series, policies)
def test_nothing_stays_without_a_reason_that_holds(given_: list[Candidate], policy: Policy) -> None:
    """A snapshot kept by a rule of time alone is the newest of its period."""
    for each in decide(given_, policy):
        if KeepReason.DAILY in each.reasons:
            later = [
                c for c in given_
                if c.account == each.snapshot.account and c.at > each.snapshot.at
            ]  # fmt: skip
            assert all(c.at.date() != each.snapshot.at.date() for c in later)
        assert ALWAYS.isdisjoint(each.reasons) or each.keep
