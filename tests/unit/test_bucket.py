"""The rule of the shared buckets, held against a model and against the core's TokenBucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.concurrency.ratelimit import TokenBucket
from service.limits.bucket import LONGEST_FILL_S, SECOND_NS, Limit
from tests.core.clock import ManualClock

limits = st.builds(Limit, st.floats(0.01, 1_000_000), st.integers(1, 5000))
pauses = st.lists(st.integers(0, 3 * SECOND_NS) | st.integers(0, 1000), max_size=80)


@given(limits, pauses)
def test_no_window_has_more_than_burst_and_rate_allow(limit: Limit, pauses: list[int]) -> None:
    """Between any two calls that were let through."""
    now, full_at, let_through = 5, 0, []
    for pause in pauses:
        now += pause
        taken, full_at = limit.take(full_at, now)
        if taken:
            let_through.append(now)
    for first, begin in enumerate(let_through):
        for last in range(first, len(let_through)):
            allowed = limit.burst + limit.rate_per_s * (let_through[last] - begin) / SECOND_NS
            assert last - first + 1 <= allowed + 1e-6


@given(st.sampled_from([1, 2, 4, 8, 32, 64]), st.integers(1, 20), st.lists(st.integers(0, 200), max_size=80))
def test_it_decides_as_the_token_bucket_of_the_core(rate: int, burst: int, pauses: list[int]) -> None:
    """Call for call, in times that both count exactly."""
    clock = ManualClock()
    bucket, limit = TokenBucket(rate_per_s=rate, burst=burst, clock=clock), Limit(rate, burst)
    full_at = 0
    for pause in pauses:
        clock.advance(pause / 64)
        taken, full_at = limit.take(full_at, int(clock.now() * SECOND_NS))
        assert taken == bucket.allow()
        assert limit.left(full_at - int(clock.now() * SECOND_NS)) == int(bucket.tokens)


def test_a_clock_that_stands_still_gives_the_burst_and_no_more() -> None:
    """Nothing flows in without time."""
    limit, full_at, taken = Limit(10, 3), 0, []
    for _ in range(6):
        one, full_at = limit.take(full_at, 77)
        taken.append(one)
    assert taken == [True] * 3 + [False] * 3


@given(limits, st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**62))
def test_whatever_is_found_is_at_worst_an_empty_bucket(limit: Limit, found: int, now: int) -> None:
    """A number from another limit, another boot or a broken file keeps nobody out for longer than a token takes."""
    taken, full_at = limit.take(found, now)
    assert now <= full_at <= now + limit.capacity_ns
    assert taken or limit.take(full_at, now + limit.interval_ns)[0]


@given(limits, st.integers(0, 2**62))
def test_what_is_given_back_is_there_again(limit: Limit, now: int) -> None:
    """As if it had not been taken."""
    _, after_one = limit.take(0, now)
    _, after_two = limit.take(after_one, now)
    assert limit.give_back(after_one, now) == now
    if limit.burst > 1:
        assert limit.give_back(after_two, now) == after_one


@given(limits, st.floats(0, 1))
def test_whoever_waits_as_told_is_let_in(limit: Limit, part: float) -> None:
    """After the whole seconds of Retry-After, from any level that is below one token."""
    now = 10
    fill_ns = limit.capacity_ns - int(part * (limit.interval_ns - 1))
    assert limit.left(fill_ns) == 0
    assert limit.take(now + fill_ns, now + limit.wait_s(fill_ns) * SECOND_NS)[0]


@given(limits)
def test_the_policy_that_is_told_is_kept(limit: Limit) -> None:
    """`q` requests at once and again after each `w` seconds: none of them is refused."""
    window_ns = -(-limit.capacity_ns // SECOND_NS) * SECOND_NS
    now, full_at = 10, 0
    for _ in range(3):
        for _ in range(limit.burst):
            taken, full_at = limit.take(full_at, now)
            assert taken
        now += window_ns


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1_000_001, 1), (float("nan"), 1), (1, 0)])
def test_a_limit_that_makes_no_sense_is_refused(rate: float, burst: int) -> None:
    """It would let nobody in, or count time too roughly."""
    with pytest.raises(ValueError, match="expected a rate"):
        Limit(rate, burst)


def test_no_bucket_takes_longer_than_a_day_to_fill() -> None:
    """The burst is cut; one request is always possible."""
    assert Limit(0.01, 1_000_000).burst == LONGEST_FILL_S / 100
    assert Limit(0.000001, 5).burst == 1
