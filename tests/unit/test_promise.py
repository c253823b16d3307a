"""Promises: kept or failed once, and who was first when the caller gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.promise import Promise
from service.errors import Overloaded


def test_a_value_reaches_the_one_who_waits() -> None:
    """Whether it is set before or while they wait."""
    early: Promise[int] = Promise()
    early.keep(1)
    assert early.wait(background())
    late: Promise[int] = Promise()
    threading.Timer(0.01, late.keep, (2,)).start()
    assert late.wait(background())
    assert (early.result(), late.result()) == (1, 2)


def test_an_error_is_raised_by_the_result() -> None:
    """The error that the worker set."""
    promise: Promise[int] = Promise()
    promise.fail(Overloaded("full"))
    assert promise.wait(background())
    with pytest.raises(Overloaded):
        promise.result()


def test_a_wait_ends_with_the_context() -> None:
    """By its deadline or by being cancelled; the promise can still be kept."""
    promise: Promise[int] = Promise()
    assert not promise.wait(with_timeout(background(), 0.01))
    ctx = with_cancel(background())
    threading.Timer(0.01, ctx.cancel).start()
    assert not promise.wait(ctx)
    promise.keep(3)
    assert promise.result() == 3


def test_what_is_claimed_cannot_be_withdrawn() -> None:
    """And the other way round: exactly one of worker and caller wins."""
    claimed: Promise[int] = Promise()
    assert claimed.claim()
    assert not claimed.withdraw()
    withdrawn: Promise[int] = Promise()
    assert withdrawn.withdraw()
    assert not withdrawn.claim()


def test_of_worker_and_caller_exactly_one_wins() -> None:
    """Also when both try at the same moment."""
    for _ in range(200):
        promise: Promise[int] = Promise()
        start, won = threading.Barrier(2), []

        def race(attempt: Callable[[], bool], start: threading.Barrier = start, won: list[bool] = won) -> None:
            start.wait(10)
            won.append(attempt())

        threads = [threading.Thread(target=race, args=(attempt,)) for attempt in (promise.claim, promise.withdraw)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(won) == [False, True]


def test_a_kept_promise_outlives_its_context() -> None:
    """What is there is told, though the caller's time is up by now."""
    promise: Promise[int] = Promise()
    promise.keep(4)
    ctx = with_cancel(background())
    ctx.cancel()
    assert promise.wait(ctx)


def test_a_wait_leaves_nothing_in_its_context() -> None:
    """A context that lives long gathers no callbacks."""
    promise: Promise[int] = Promise()
    ctx = with_cancel(background())
    threading.Timer(0.01, promise.keep, (2,)).start()
    assert promise.wait(ctx)
    assert ctx._callbacks == {}


def test_a_result_before_the_time_is_a_mistake() -> None:
    """It is not there yet."""
    with pytest.raises(AssertionError, match="before the promise was kept"):
        Promise[int]().result()
