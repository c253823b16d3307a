"""The system's clock: one thread for all that is to be called, which lives while there is something."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from service.concurrency import clock as clock_module
from service.concurrency.clock import SystemClock
from service.concurrency.primitives import Parking, monotonic
from tests.core.calls import Call
from tests.serving import wait_until


def timers() -> list[threading.Thread]:
    """The timer threads."""
    return [thread for thread in threading.enumerate() if thread.name == "timer"]


def test_calls_come_in_the_order_of_their_times() -> None:
    """Not in the order in which they were asked for, and each once."""
    clock, called = SystemClock(), []
    start = monotonic() + 0.02
    for n in (3, 1, 2):
        clock.call_at(start + n / 1000, lambda n=n: called.append(n))
    wait_until(lambda: len(called) == 3, 10)
    assert called == [1, 2, 3]
    assert clock.pending() == 0


def test_a_time_that_has_passed_is_called_at_once() -> None:
    """By the timer thread, not by the caller."""
    clock, callers = SystemClock(), []
    clock.call_at(monotonic() - 1, lambda: callers.append(threading.current_thread()))
    wait_until(lambda: callers, 10)
    assert callers != [threading.current_thread()]


def test_a_cancelled_call_is_not_made() -> None:
    """And a second cancelling does nothing; with nothing left the thread ends."""
    clock, called = SystemClock(), []
    cancel = clock.call_at(monotonic() + 60, lambda: called.append(1))
    cancel()
    cancel()
    assert clock.pending() == 0
    wait_until(lambda: not timers(), 10)
    assert called == []


def test_an_earlier_call_wakes_the_timer() -> None:
    """Though it sleeps towards a later one."""
    clock, called = SystemClock(), threading.Event()
    cancel = clock.call_at(monotonic() + 60, lambda: None)
    clock.call_at(monotonic() + 0.001, called.set)
    assert called.wait(10)
    cancel()


def test_one_thread_serves_all() -> None:
    """However many calls there are."""
    clock = SystemClock()
    cancels = [clock.call_at(monotonic() + 60 + n, lambda: None) for n in range(1_000)]
    assert len(timers()) == 1
    for cancel in cancels:
        cancel()


def test_cancelled_calls_are_cleared_away() -> None:
    """At most as many again as are to come, and a few, stay in the list."""
    clock = SystemClock()
    keep = clock.call_at(monotonic() + 60, lambda: None)
    for _ in range(10_000):
        clock.call_at(monotonic() + 60, lambda: None)()
        assert len(clock._times) <= 2 * clock.pending() + clock_module.FEW + 1
    keep()


def test_a_call_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the timer goes on."""
    clock, called = SystemClock(), threading.Event()
    when = monotonic() + 0.005
    clock.call_at(when, lambda: {}[0])
    clock.call_at(when, called.set)
    assert called.wait(10)
    assert "called at its time failed" in caplog.text


def test_a_call_may_ask_for_another() -> None:
    """It runs outside the lock."""
    clock, called = SystemClock(), threading.Event()
    clock.call_at(monotonic(), lambda: (clock.call_at(monotonic(), called.set), None)[1])
    assert called.wait(10)


def test_without_a_thread_nothing_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives none, the caller is told, and the next one tries again."""
    clock = SystemClock()

    def refuse(**_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(clock_module, "Thread", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            clock.call_at(monotonic(), lambda: None)
    assert clock.pending() == 0
    called = threading.Event()
    clock.call_at(monotonic(), called.set)
    assert called.wait(10)


def test_parking_tells_why_it_ended() -> None:
    """Woken, or for the time; a time that has passed does not wait."""
    clock, parking = SystemClock(), Parking()
    assert clock.park(parking, monotonic() - 1) is False
    assert clock.park(parking, monotonic() + 0.001) is False
    parking.wake()
    assert clock.park(parking, monotonic() + 60) is True


def test_a_call_may_cancel_another_that_is_due() -> None:
    """It is not made, though both had been due when the first was called."""
    clock, called, when = SystemClock(), [], monotonic() + 0.02
    cancels: list[Callable[[], None]] = []
    clock.call_at(when, lambda: (cancels[0](), called.append("first"), None)[2])
    cancels.append(clock.call_at(when, lambda: called.append("second")))
    clock.call_at(when, lambda: called.append("third"))
    wait_until(lambda: len(called) == 2, 10)
    wait_until(lambda: not timers(), 10)
    assert called == ["first", "third"]


def test_a_call_that_calls_exit_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The timer goes on, and the next call is made."""
    clock, called = SystemClock(), threading.Event()
    clock.call_at(monotonic(), lambda: sys.exit(3))
    clock.call_at(monotonic() + 0.01, called.set)
    assert called.wait(10)
    assert "SystemExit: 3" in caplog.text


def test_who_comes_while_the_thread_is_started_learns_of_its_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries itself, and is told, or its call is made."""
    for refusals in (1, 2):
        clock, others, called = SystemClock(), [], threading.Event()
        other = partial(Call, clock.call_at, monotonic() + 0.005, called.set)

        class Scarce(threading.Thread):
            def start(self, refusals: int = refusals, other: Callable[[], Call] = other, others: list[Call] = others) -> None:
                if not others:
                    others.append(other())
                    threading.Event().wait(0.02)  # the other comes here, if it can
                    raise RuntimeError("can't start new thread")
                if refusals == 2:
                    raise RuntimeError("can't start new thread")
                super().start()

        with monkeypatch.context() as patched:
            patched.setattr(clock_module, "Thread", Scarce)
            with pytest.raises(RuntimeError, match="new thread"):
                clock.call_at(monotonic() + 0.005, lambda: None)
            if refusals == 2:
                with pytest.raises(RuntimeError, match="new thread"):
                    others[0].result()
            else:
                others[0].result()
                assert called.wait(10)
        assert clock.pending() == 0


def test_cancelling_waits_for_nobody() -> None:
    """Not even for one that holds the lock: a finaliser may do it in the middle of anything."""
    clock, called = SystemClock(), []
    cancels = [clock.call_at(monotonic() + 60, lambda: called.append(1)) for _ in range(3 * clock_module.FEW)]
    with clock._lock:
        for cancel in cancels:
            cancel()
    assert clock.pending() == 0
    wait_until(lambda: not timers(), 10)
    assert (called, clock._times) == ([], [])


def test_calls_that_are_cancelled_one_after_the_other_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is none in between."""
    started = []

    class Counted(threading.Thread):
        def start(self) -> None:
            started.append(self)
            super().start()

    monkeypatch.setattr(clock_module, "Thread", Counted)
    clock = SystemClock()
    for _ in range(100):
        clock.call_at(monotonic() + 60, lambda: None)()
        threading.Event().wait(0.0001)  # the timer has its turn
    assert len(started) < 50  # one, or more where the machine stands still for as long as it lingers
    wait_until(lambda: not timers(), 10)


def test_a_call_that_is_cancelled_as_the_timer_lies_down_keeps_it_from_nothing() -> None:
    """Between its look at the list and its sleep: it ends soon, not at the time of the call."""

    class Slow(SystemClock):
        def _take_due(self) -> Callable[[], None] | None:
            callback = super()._take_due()
            for cancel in cancels:
                cancel()
            return callback

    cancels: list[Callable[[], None]] = []
    clock = Slow()
    with clock._lock:  # the timer does not look before the test can cancel
        waiting = Call(clock.call_at, monotonic() + 60, lambda: None)
    cancels.append(waiting.result())
    clock._parking.wake()
    wait_until(lambda: not timers(), 10)
