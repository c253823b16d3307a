"""Races: the first success counts, the losers have ended, and every error is told."""

from __future__ import annotations

import threading
from random import Random

import pytest

from service.concurrency import race as race_module
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.race import race
from service.errors import DeadlineExceeded, NotFound
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


class Attempt:
    """One that succeeds, fails, or waits until it is cancelled; it notes what happened to it."""

    def __init__(self, value: object = None, *, waits: bool = False) -> None:
        self.started = threading.Event()
        self.cancelled = False
        self.cleaned_up = False
        self._value = value
        self._waits = waits

    def __call__(self, ctx: Context) -> object:
        self.started.set()
        try:
            if self._waits:
                ctx.done.wait(20)
                self.cancelled = True
                ctx.check()
            if isinstance(self._value, Exception):
                raise self._value
            return self._value
        finally:
            self.cleaned_up = True


def test_the_first_success_is_returned_and_the_losers_have_ended() -> None:
    """They were cancelled, and their cleanup is over."""
    losers = [Attempt(waits=True) for _ in range(2)]

    def win(_ctx: Context) -> int:
        assert all(loser.started.wait(20) for loser in losers)
        return 7

    assert race(background(), losers[0], win, losers[1]) == 7
    assert all(loser.cleaned_up and loser.cancelled for loser in losers)


def test_a_failure_does_not_win() -> None:
    """Whoever is slower but succeeds does."""
    assert race(background(), Attempt(OSError("one")), Attempt("slow"), Attempt(OSError("two"))) == "slow"


def test_when_all_have_failed_every_error_is_told() -> None:
    """Also where there was one attempt only."""
    with pytest.raises(ExceptionGroup, match="none of 2 attempts succeeded") as raised:
        race(background(), Attempt(OSError("one")), Attempt(NotFound("two")))
    assert {str(error) for error in raised.value.exceptions} == {"one", "two"}
    with pytest.raises(ExceptionGroup):
        race(background(), Attempt(OSError("one")))


def test_hedged_the_next_starts_after_the_delay() -> None:
    """Not before; a first that is quick enough runs alone."""
    clock = ManualClock()
    slow, fast, never = Attempt(waits=True), Attempt("fast"), Attempt("never")
    call = Call(race, background(clock), slow, fast, never, hedge_after_s=2)
    clock.wait_for_pending(2)  # the race for its hedge, the attempt for its end
    clock.advance(1.9)
    assert not fast.started.is_set()
    clock.advance(0.1)
    assert call.result() == "fast"
    assert slow.cancelled
    assert not never.started.is_set()
    alone = Attempt("never")
    assert race(background(clock), Attempt("first"), alone, hedge_after_s=2) == "first"
    assert not alone.started.is_set()


def test_hedged_the_next_starts_at_once_when_one_fails() -> None:
    """Nobody waits for the delay then."""
    clock = ManualClock()
    assert race(background(clock), Attempt(OSError("down")), Attempt("up"), hedge_after_s=60) == "up"
    with pytest.raises(ExceptionGroup, match="none of 2"):
        race(background(clock), Attempt(OSError("down")), Attempt(OSError("down")), hedge_after_s=60)


def test_the_end_of_the_context_ends_the_race() -> None:
    """With its error; the attempts have ended."""
    clock = ManualClock()
    attempts = [Attempt(waits=True), Attempt(waits=True)]
    call = Call(race, with_timeout(background(clock), 3), *attempts)
    for attempt in attempts:
        assert attempt.started.wait(10)
    clock.wait_for_pending(3)
    clock.advance(3)
    with pytest.raises(DeadlineExceeded):
        call.result()
    assert all(attempt.cleaned_up for attempt in attempts)
    ended = with_cancel(background())
    ended.cancel()
    untouched = Attempt(1)
    with pytest.raises(Exception, match="cancelled"):
        race(ended, untouched)
    assert not untouched.started.is_set()


def test_a_race_of_nobody_is_a_mistake() -> None:
    """It could not end."""
    with pytest.raises(ValueError, match="at least one attempt"):
        race(background())


def test_without_threads_an_attempt_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told among the errors, and nobody waits for it."""

    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(race_module, "Thread", Refused)
    with pytest.raises(ExceptionGroup) as raised:
        race(background(), Attempt(1), Attempt(2))
    assert [str(error) for error in raised.value.exceptions] == ["can't start new thread"] * 2


def test_an_attempt_that_is_killed_has_failed() -> None:
    """SystemExit in an attempt does not leave the race waiting."""

    def killed(_: Context) -> None:
        raise SystemExit(1)

    assert race(background(), killed, Attempt("alive")) == "alive"


def test_one_winner_and_no_runner_left_in_any_interleaving() -> None:
    """Three attempts, hedged or not, some of which fail."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            running: list[int] = []

            def attempt(n: int, running: list[int] = running, seed: int = seed) -> object:
                def run_it(ctx: Context) -> int:
                    running.append(n)
                    try:
                        if ctx.done.wait(n * 0.1):
                            ctx.check()
                        if (seed >> n) & 1:
                            raise NotFound(str(n))
                        return n
                    finally:
                        running.remove(n)

                return run_it

            def whole(seed: int = seed, running: list[int] = running) -> object:
                try:
                    won = race(run.ctx, *map(attempt, range(3)), hedge_after_s=0.05 if seed % 2 else None)  # type: ignore[arg-type]
                finally:
                    assert running == []
                return won

            task = run.spawn(whole)
            run.until_done()
            if seed & 7 == 7:
                assert isinstance(task.error, ExceptionGroup)
            else:
                assert not (seed >> task.result()) & 1


def test_attempts_that_failed_since_the_time_was_up_are_not_the_error() -> None:
    """The context's end is, though every attempt has failed by then."""
    clock = ManualClock()

    def late(_: Context) -> None:
        clock.wait_for_pending(1)  # the race waits
        clock.turn(5)
        raise OSError("cut off")

    with pytest.raises(DeadlineExceeded):
        race(with_timeout(background(clock), 5), late)
