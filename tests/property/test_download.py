"""Laws of the attempts' plan, the header readers and the placing of answers, for any input."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backupd.download import headers as fields
from backupd.download.answers import HEAD_SIZE, Answer, Standing, classify
from backupd.download.headers import ContentRange, Headers
from backupd.download.plan import JITTER, LONGEST, SHORTEST, next_attempt, spacing
from backupd.download.resume import OVERLAP, Placed, Restart, Stored, Validators, place
from tests.support import FULL

laws = settings(max_examples=5_000 if FULL else 300, deadline=None)

moments = st.integers(1_577_836_800, 2_840_140_800).map(lambda s: datetime.fromtimestamp(s, UTC))
waits = st.timedeltas(timedelta(0), timedelta(days=2))
attempts = st.integers(1, 10_000)
seeds = st.integers(0, 2**32)
texts = st.one_of(
    st.text(max_size=400),
    st.text(alphabet='0123456789-/*= "W,:;GMTbytesonuepMarJ+\t\r\n', max_size=80),
)
names = st.sampled_from(
    ["Content-Range", "content-length", "ETag", "Last-Modified", "Retry-After", "Content-Encoding",
     "Transfer-Encoding", "cf-mitigated", "x-ms-error-code", "Content-Type", "Location"]
)  # fmt: skip
many_fields = st.lists(st.tuples(names, texts), max_size=12).map(Headers.of)
NOW = datetime(2026, 9, 7, 12, 0, tzinfo=UTC)


@laws
@given(moments, moments, waits, waits, st.integers(-3, 10_000), st.none() | waits, seeds)
def test_no_attempt_is_planned_in_the_past_or_after_giving_up(
    now: datetime,
    first: datetime,
    life: timedelta,
    grace: timedelta,
    made: int,
    wish: timedelta | None,
    seed: int,
) -> None:
    deadline = first + life
    end = deadline + grace
    due = next_attempt(now, first, deadline, end, made, wish, random.Random(seed))

    assert due is None or now <= due <= end
    if made > 0 and wish is None and end - now > LONGEST * (1 + JITTER):
        assert due is not None


@laws
@given(waits, waits, attempts)
def test_mean_spacing_never_grows_while_the_end_comes_nearer(
    one: timedelta, other: timedelta, made: int
) -> None:
    near, far = sorted([one, other])

    assert spacing(near, made) <= spacing(far, made)
    assert spacing(near, made) <= max(near / 4, SHORTEST)


@laws
@given(moments, seeds, st.timedeltas(timedelta(minutes=5), timedelta(days=7)))
def test_first_retry_is_quick(start: datetime, seed: int, life: timedelta) -> None:
    due = next_attempt(start, start, start + life, start + life, 1, None, random.Random(seed))

    assert due is not None
    assert due - start <= timedelta(seconds=15)


@laws
@given(moments, seeds, st.timedeltas(timedelta(minutes=10), timedelta(hours=24)))
def test_attempts_never_run_out_before_the_end_nor_run_wild(
    start: datetime, seed: int, life: timedelta
) -> None:
    rng = random.Random(seed)
    end = start + life
    now, made = start, 1
    while (due := next_attempt(now, start, end, end, made, None, rng)) is not None:
        assert due > now
        now, made = due, made + 1

    assert end - now <= 2 * SHORTEST
    assert made <= 200


@laws
@given(moments, seeds, st.timedeltas(timedelta(hours=1), timedelta(hours=24)), waits)
def test_wish_to_wait_is_honoured_within_the_life_of_the_link(
    start: datetime, seed: int, life: timedelta, wish: timedelta
) -> None:
    end = start + life
    due = next_attempt(start, start, end, end, 1, wish, random.Random(seed))

    assert due is not None
    assert due - start >= min(wish, life / 2)
    assert due < end


@laws
@given(texts)
def test_content_range_is_sane_or_none(text: str) -> None:
    found = fields.content_range(text)

    assert found is None or 0 <= found.first <= found.last
    assert found is None or found.total is None or found.last < found.total


@laws
@given(st.integers(0, 10**15), st.integers(0, 10**15), st.none() | st.integers(1, 10**15))
def test_written_content_range_is_read_back(first: int, more: int, rest: int | None) -> None:
    last = first + more
    total = None if rest is None else last + rest
    text = f"bytes {first}-{last}/{'*' if total is None else total}"

    assert fields.content_range(text) == ContentRange(first, last, total)


@laws
@given(texts, moments)
def test_wish_to_wait_is_bounded_or_none(text: str, now: datetime) -> None:
    wait = fields.retry_after(text, now)

    assert wait is None or timedelta(0) <= wait <= fields.LONGEST_WAIT


@laws
@given(moments, st.integers(-100_000, 100_000))
def test_written_date_is_read_back(now: datetime, seconds: int) -> None:
    now = now.replace(microsecond=0)
    then = now + timedelta(seconds=seconds)
    text = then.strftime("%a, %d %b %Y %H:%M:%S GMT")

    assert fields.http_date(text) == then
    assert fields.retry_after(text, now) == min(max(then - now, timedelta(0)), fields.LONGEST_WAIT)


@laws
@given(texts)
def test_entity_tag_is_harmless_or_none(text: str) -> None:
    tag = fields.etag(text)

    assert tag is None or (tag == text and tag.isascii() and tag.isprintable() and " " not in tag)


@laws
@given(
    st.integers(0, 999),
    many_fields,
    st.binary(max_size=HEAD_SIZE),
    st.booleans(),
    st.booleans(),
    moments,
)
def test_any_answer_has_an_outcome_that_quotes_nothing(
    status: int, headers: Headers, head: bytes, anonymous: bool, late: bool, now: datetime
) -> None:
    outcome = classify(Answer(status, headers, head), Standing(anonymous, late, now))
    again = classify(Answer(status, headers, head), Standing(anonymous, late, now))

    assert outcome == again
    assert outcome.kind not in ("fetched", "disk-full", "cancelled", "too-big")
    assert outcome.detail.isascii() and outcome.detail.isprintable()
    assert len(outcome.detail) < 100


@laws
@given(
    st.integers(0, 10**7),
    st.none() | st.integers(0, 10**7),
    st.sampled_from([None, '"a"', 'W/"a"']),
    st.sampled_from([200, 206, 416]),
    many_fields,
)
def test_body_is_placed_at_the_start_or_exactly_where_the_file_can_be_compared(
    size: int, total: int | None, tag: str | None, status: int, headers: Headers
) -> None:
    assume(size > OVERLAP)
    stored = Stored(size, Validators(total, tag))
    placed = place(stored, status, headers)

    assert isinstance(placed, (Placed, Restart))
    if isinstance(placed, Placed) and status == 206:
        assert placed.first == size - OVERLAP
        assert total is None or placed.validators.total == total
        assert tag is None or placed.validators.etag == tag
