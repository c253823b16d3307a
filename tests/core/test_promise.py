"""Promises: kept or failed once, and who was first when the caller gives up."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from random import Random

import pytest

from service.concurrency.context import Context, background, origin, with_cancel, with_timeout
from service.concurrency.promise import Promise
from service.errors import DeadlineExceeded, Overloaded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


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
    assert claimed.claim()
    withdrawn: Promise[int] = Promise()
    assert withdrawn.withdraw()
    assert not withdrawn.claim()
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
    assert not ctx._callbacks


def test_getting_waits_and_gives_the_value() -> None:
    """Or raises what was set, or the error of the context that ended first."""
    kept: Promise[int] = Promise()
    call = Call(kept.get, background())
    kept.keep(5)
    assert call.result() == 5
    failed: Promise[int] = Promise()
    failed.fail(ValueError("set"))
    with pytest.raises(ValueError, match="set"):
        failed.get(background())
    with pytest.raises(DeadlineExceeded):
        Promise[int]().get(with_timeout(background(ManualClock()), 0))


def test_a_promise_meets_its_deadline_in_any_interleaving() -> None:
    """The caller has the value, or has withdrawn and the worker knows; never both, never neither."""
    outcomes = set()
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            promise: Promise[int] = Promise()
            ctx = with_cancel(run.ctx)

            def call(promise: Promise[int] = promise, ctx: Context = ctx) -> str:
                if promise.wait(ctx):
                    return "kept"
                return "withdrawn" if promise.withdraw() else "unknown"

            def work(promise: Promise[int] = promise) -> bool:
                if not promise.claim():
                    return False
                promise.keep(1)
                return True

            caller, worker = run.spawn(call), run.spawn(work)
            run.spawn(ctx.cancel)
            run.until_done()
            outcomes.add(caller.result())
            assert worker.result() == (caller.result() != "withdrawn")
    assert outcomes == {"kept", "withdrawn", "unknown"}


def test_a_result_before_the_time_is_a_mistake() -> None:
    """It is not there yet."""
    with pytest.raises(AssertionError, match="before the promise was kept"):
        Promise[int]().result()


def test_a_second_wait_sleeps_until_it_is_kept_in_any_interleaving() -> None:
    """A wait that ended with its context leaves no wake-up that the next one takes for its own."""
    for seed in range(400):
        with Scheduler(Random(seed).randrange) as run:
            promise: Promise[int] = Promise()
            first = with_timeout(run.ctx, 5)

            def wait_twice(promise: Promise[int] = promise, first: Context = first) -> int:
                promise.wait(first)
                return promise.get(with_timeout(run.ctx, 10))  # a grace period

            def cancel(first: Context = first) -> None:
                run.ctx.done.wait(5)
                first.cancel()

            def keep(promise: Promise[int] = promise) -> None:
                run.ctx.done.wait(8)
                promise.keep(1)

            waiting = run.spawn(wait_twice)
            run.spawn(cancel)
            run.spawn(keep)
            run.until_done()
            assert waiting.result() == 1


def test_a_second_caller_at_the_same_time_is_a_mistake() -> None:
    """It could sleep for ever; the first one is not harmed, and after it others may wait."""
    with Scheduler(lambda n: 0) as run:
        promise: Promise[int] = Promise()
        first, second = (run.spawn(promise.get, run.ctx) for _ in range(2))
        run.until_parked()
        assert isinstance(second.error, RuntimeError)
        assert "another waits" in str(second.error)
        promise.keep(1)
        run.until_done()
        assert (first.result(), promise.get(run.ctx)) == (1, 1)


def test_it_is_kept_once() -> None:
    """A second value or error is a mistake of the worker, and changes nothing."""
    promise: Promise[int] = Promise()
    promise.keep(1)
    for again in (lambda: promise.keep(2), lambda: promise.fail(ValueError("again"))):
        with pytest.raises(RuntimeError, match="kept before"):
            again()
    assert promise.result() == 1


def test_an_error_does_not_gather_tracebacks() -> None:
    """However often it is raised; one of the taxonomy, which many promises may share, is raised as a copy."""

    def depth(error: BaseException) -> int:
        return len(traceback.extract_tb(error.__traceback__))

    def raised(error: Exception) -> list[BaseException]:
        promise: Promise[int] = Promise()
        promise.fail(error)
        found = []
        for _ in range(3):
            with pytest.raises(type(error)) as info:
                promise.result()
            found.append(info.value)
            assert depth(info.value) <= 4
        return found

    own, shared = ValueError("a job's"), Overloaded("everybody's")
    try:
        raise own
    except ValueError:
        assert raised(own) == [own] * 3
    assert traceback.extract_tb(own.__traceback__)[-1].name == "test_an_error_does_not_gather_tracebacks"
    copies = raised(shared)
    assert shared.__traceback__ is None
    assert len({id(copy) for copy in copies}) == 3
    assert all(origin(copy) is shared for copy in copies)
