"""Token buckets: never more than burst and rate allow, and nobody waits in vain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.ratelimit import TokenBucket
from service.errors import ClientClosedRequest, DeadlineExceeded
from tests.core.calls import Call
from tests.core.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """Turned by hand."""
    return ManualClock()


@pytest.fixture
def bucket(clock: ManualClock) -> TokenBucket:
    """Two tokens a second, at most four."""
    return TokenBucket(rate_per_s=2, burst=4, clock=clock)


def test_the_burst_and_then_the_rate(bucket: TokenBucket, clock: ManualClock) -> None:
    """Full at first; what flows in later is there at its time, and never more than the burst."""
    assert [bucket.allow() for _ in range(5)] == [True] * 4 + [False]
    clock.advance(0.5)
    assert [bucket.allow(), bucket.allow()] == [True, False]
    clock.advance(100)
    assert bucket.tokens == 4
    assert bucket.allow(4)


def test_what_is_refused_costs_nothing(bucket: TokenBucket) -> None:
    """A smaller request that fits is allowed afterwards."""
    assert bucket.allow(3)
    assert not bucket.allow(2)
    assert bucket.allow(1)


def test_a_reservation_is_for_later(bucket: TokenBucket, clock: ManualClock) -> None:
    """It says when, and whoever comes next is behind it."""
    assert bucket.reserve(4).delay_s == 0
    assert bucket.reserve(1).delay_s == 0.5
    assert bucket.reserve(2).delay_s == 1.5
    assert bucket.tokens == -3
    clock.advance(1.5)
    assert not bucket.allow()


def test_a_cancelled_reservation_gives_its_tokens_back_once(bucket: TokenBucket) -> None:
    """Cancelling again does nothing, and the bucket never overflows."""
    reservation = bucket.reserve(3)
    reservation.cancel()
    reservation.cancel()
    assert bucket.tokens == 4
    assert bucket.allow(4)


def test_waiting_takes_the_tokens_when_they_are_there(bucket: TokenBucket, clock: ManualClock) -> None:
    """At once where they are, else at their time."""
    ctx = background(clock)
    bucket.wait(ctx, 4)
    call = Call(bucket.wait, ctx)
    clock.wait_for_pending(1)
    assert not call.ended
    clock.advance(0.5)
    call.result()
    assert bucket.tokens == 0


def test_a_wait_beyond_the_deadline_fails_at_once(bucket: TokenBucket, clock: ManualClock) -> None:
    """Nobody waits for what will come too late, and no token is taken."""
    bucket.wait(background(clock), 4)
    with pytest.raises(DeadlineExceeded, match="before its turn"):
        bucket.wait(with_timeout(background(clock), 0.4))
    assert bucket.tokens == 0
    ctx = with_cancel(background(clock))
    call = Call(bucket.wait, ctx)
    clock.wait_for_pending(1)
    ctx.cancel()
    with pytest.raises(ClientClosedRequest):
        call.result()
    assert bucket.tokens == 0


def test_more_than_the_burst_can_never_be_had(bucket: TokenBucket) -> None:
    """So asking for it is a mistake, as is asking for nothing."""
    for tokens in (5, 0, -1):
        for ask in (bucket.allow, bucket.reserve, lambda n: bucket.wait(background(), n)):
            with pytest.raises(ValueError, match="at most 4"):
                ask(tokens)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_settings_that_make_no_sense_are_refused(rate: float, burst: float) -> None:
    """No rate, or no burst."""
    with pytest.raises(ValueError, match="expected a rate above 0"):
        TokenBucket(rate_per_s=rate, burst=burst)


@given(
    rate=st.integers(1, 20),
    burst=st.integers(1, 20),
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), max_size=40),
)
def test_over_any_time_no_more_than_burst_and_rate(rate: int, burst: int, steps: list[tuple[int, int]]) -> None:
    """Whatever is asked for when: between any two moments at most burst + rate * time; and allowed if it was there."""
    clock = ManualClock(0)
    bucket = TokenBucket(rate_per_s=rate, burst=burst, clock=clock)
    level, taken = float(burst), []
    for quarters, tokens in steps:
        clock.advance(quarters / 4)
        level = min(level + rate * quarters / 4, burst)
        wanted = min(tokens, burst)
        assert bucket.allow(wanted) == (level >= wanted)
        if level >= wanted:
            level -= wanted
            taken.append((clock.now(), wanted))
    for n, (start, _) in enumerate(taken):
        total = 0
        for at, tokens in taken[n:]:
            total += tokens
            assert total <= burst + rate * (at - start)


def test_what_was_reserved_after_it_is_not_given_out_again(clock: ManualClock) -> None:
    """Reservations that are cancelled with others behind them leave a gap, since those keep their times."""
    bucket = TokenBucket(rate_per_s=1, burst=1, clock=clock)
    assert bucket.reserve().delay_s == 0
    reserved = [bucket.reserve() for _ in range(20)]
    assert [reservation.delay_s for reservation in reserved] == list(range(1, 21))
    for reservation in reserved[:10]:
        reservation.cancel()
    assert bucket.reserve().delay_s == 21
    reserved[-1].cancel()
    assert bucket.reserve().delay_s == 22


def test_the_last_reservations_are_given_back_in_full(bucket: TokenBucket) -> None:
    """From the last to the first: as if they had never been."""
    bucket.reserve(4)
    reserved = [bucket.reserve(n) for n in (1, 2, 3)]
    for reservation in reversed(reserved):
        reservation.cancel()
    assert bucket.tokens == 0
    assert bucket.reserve(1).delay_s == 0.5


@given(
    rate=st.integers(1, 4),
    burst=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["reserve", "allow", "cancel", "pass"]), st.integers(1, 5), st.integers(0, 30)), max_size=40
    ),
)
def test_with_cancelled_ones_no_more_than_burst_and_rate(rate: int, burst: int, steps: list[tuple[str, int, int]]) -> None:
    """Between any two moments, whatever is reserved, taken and cancelled when."""
    clock = ManualClock(0)
    bucket = TokenBucket(rate_per_s=rate, burst=burst, clock=clock)
    given_out: list[tuple[float, int, Callable[[], None] | None]] = []
    for what, tokens, number in steps:
        wanted = min(tokens, burst)
        if what == "reserve":
            reservation = bucket.reserve(wanted)
            given_out.append((clock.now() + reservation.delay_s, wanted, reservation.cancel))
        elif what == "allow" and bucket.allow(wanted):
            given_out.append((clock.now(), wanted, None))
        elif what == "pass":
            clock.advance(number / 8)
        elif what == "cancel" and given_out:
            chosen = given_out[number % len(given_out)]
            if (cancel := chosen[2]) is not None:  # perhaps when it is long due, and was not used
                cancel()
                given_out.remove(chosen)
    times = sorted((due, tokens) for due, tokens, _ in given_out)
    for n, (start, _) in enumerate(times):
        total = 0
        for due, tokens in times[n:]:
            total += tokens
            assert total <= burst + rate * (due - start) + 1e-6


def test_a_gap_that_was_filled_is_not_given_back_twice(clock: ManualClock) -> None:
    """What is taken in the place of a cancelled reservation does not make a later one, which stands, look like the past."""
    bucket = TokenBucket(rate_per_s=1, burst=4, clock=clock)
    assert bucket.allow(1)
    earlier, later = bucket.reserve(4), bucket.reserve(1)
    assert (earlier.delay_s, later.delay_s) == (1, 2)
    earlier.cancel()
    assert bucket.tokens == 1
    assert bucket.allow(1)
    later.cancel()
    assert bucket.tokens == 1
