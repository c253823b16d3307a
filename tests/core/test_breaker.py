"""Circuit breakers: when they open, let a probe pass, and close."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.concurrency.breaker import Breaker, BreakerOpen, State
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


def ok() -> str:
    """A call that succeeds."""
    return "ok"


def fail(error: type[BaseException] = OSError) -> None:
    """A call that fails."""
    raise error("failed")


def failing(breaker: Breaker, times: int = 1) -> None:
    """Let calls fail."""
    for _ in range(times):
        with pytest.raises(OSError, match="failed"):
            breaker.call(fail)


@pytest.fixture
def clock() -> ManualClock:
    """Turned by hand."""
    return ManualClock()


@pytest.fixture
def changes() -> list[tuple[State, State]]:
    """The changes of state, as they were told."""
    return []


@pytest.fixture
def breaker(clock: ManualClock, changes: list[tuple[State, State]]) -> Breaker:
    """Three failures within ten seconds open it for five."""
    return Breaker(
        failures=3, window_s=10, open_s=5, clock=clock, on_change=lambda old, new: changes.append((old, new)),
        counts=lambda error: not isinstance(error, KeyError),
    )


def test_closed_it_passes_values_and_errors(breaker: Breaker) -> None:
    """With their arguments, and as if it were not there."""
    assert breaker.call(max, 1, 2) == 2
    failing(breaker, 2)
    assert breaker.state is State.CLOSED


def test_failures_within_the_window_open_it(breaker: Breaker, clock: ManualClock, changes: list[Any]) -> None:
    """At the edge of the window still; then calls are refused without being made, and told for how long."""
    failing(breaker)
    clock.advance(10)
    failing(breaker, 2)
    assert changes == [(State.CLOSED, State.OPEN)]
    clock.advance(1)
    with pytest.raises(BreakerOpen) as refused:
        breaker.call(pytest.fail, "it was called")
    assert refused.value.retry_after_s == 4


def test_failures_beyond_the_window_do_not_count(breaker: Breaker, clock: ManualClock) -> None:
    """The oldest has just left it."""
    failing(breaker)
    clock.advance(10.001)
    failing(breaker, 2)
    assert breaker.state is State.CLOSED


def test_successes_in_between_do_not_help(breaker: Breaker) -> None:
    """The rate of failures counts, not their row."""
    for _ in range(3):
        failing(breaker)
        if breaker.state is State.CLOSED:
            breaker.call(ok)
    assert breaker.state is State.OPEN


def test_errors_that_do_not_count_leave_it_closed(breaker: Breaker) -> None:
    """Which ones is the caller's choice."""
    for _ in range(10):
        with pytest.raises(KeyError):
            breaker.call(fail, KeyError)
    assert breaker.state is State.CLOSED


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: ManualClock, changes: list[Any]) -> None:
    """After its time, not before; the failures are forgotten."""
    failing(breaker, 3)
    clock.advance(4.999)
    assert breaker.state is State.OPEN
    clock.advance(0.001)
    assert breaker.state is State.HALF_OPEN
    assert breaker.call(ok) == "ok"
    failing(breaker, 2)
    assert breaker.state is State.CLOSED
    assert changes[1:] == [(State.OPEN, State.HALF_OPEN), (State.HALF_OPEN, State.CLOSED)]


def test_a_probe_that_fails_opens_it_again(breaker: Breaker, clock: ManualClock) -> None:
    """For the whole time."""
    failing(breaker, 3)
    clock.advance(5)
    failing(breaker)
    clock.advance(4.999)
    with pytest.raises(BreakerOpen):
        breaker.call(ok)


def test_one_probe_at_a_time(breaker: Breaker, clock: ManualClock) -> None:
    """While it is under way others are refused."""
    failing(breaker, 3)
    clock.advance(5)

    def probe() -> str:
        with pytest.raises(BreakerOpen) as refused:
            breaker.call(ok)
        assert refused.value.retry_after_s == 0
        return "probed"

    assert breaker.call(probe) == "probed"
    assert breaker.call(ok) == "ok"


def test_a_probe_that_decides_nothing_makes_room_for_the_next(breaker: Breaker, clock: ManualClock) -> None:
    """An error that does not count, or a killed one."""
    failing(breaker, 3)
    clock.advance(5)
    for error in (KeyError, SystemExit):
        with pytest.raises(error):
            breaker.call(fail, error)
        assert breaker.state is State.HALF_OPEN
    assert breaker.call(ok) == "ok"
    assert breaker.state is State.CLOSED


def test_a_late_result_says_nothing(breaker: Breaker, clock: ManualClock) -> None:
    """A call that began while it was closed cannot close or open what has changed since."""

    def slow(error: bool) -> None:
        failing(breaker, 3 - len(breaker._failures) if breaker.state is State.CLOSED else 0)
        clock.advance(5)
        assert breaker.state is State.HALF_OPEN
        if error:
            raise OSError("failed")

    breaker.call(slow, False)
    assert breaker.state is State.HALF_OPEN
    breaker.call(ok)
    with pytest.raises(OSError, match="failed"):
        breaker.call(slow, True)
    assert breaker.state is State.HALF_OPEN


def test_an_observer_that_fails_changes_nothing(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged; the caller gets what the call gave."""

    def observe(_old: State, new: State) -> None:
        raise LookupError(f"no place for {new.value}")

    breaker = Breaker(failures=1, window_s=1, open_s=1, clock=clock, on_change=observe)
    failing(breaker)
    clock.advance(1)
    assert breaker.call(ok) == "ok"
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(error) for error in errors] == ["no place for open", "no place for half-open", "no place for closed"]


def test_an_observer_may_call_the_breaker(clock: ManualClock) -> None:
    """What that changes is told afterwards, in order."""
    told: list[str] = []

    def observe(_old: State, new: State) -> None:
        told.append(new.value)
        if new is State.OPEN and len(told) == 1:
            clock.advance(1)
            breaker.call(ok)

    breaker = Breaker(failures=1, window_s=1, open_s=1, clock=clock, on_change=observe)
    failing(breaker)
    assert told == ["open", "half-open", "closed"]


def test_changes_are_told_in_order_in_any_interleaving() -> None:
    """Each begins with the state that the one before ended with, and no two are told at once."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            told: list[tuple[State, State]] = []
            inside: list[int] = []

            def observe(
                old: State, new: State, run: Scheduler = run, told: list[Any] = told, inside: list[int] = inside
            ) -> None:
                assert not inside
                inside.append(1)
                run.step()
                told.append((old, new))
                inside.pop()

            breaker = Breaker(failures=1, window_s=1, open_s=1e-9, clock=run.ctx.clock, on_change=observe)

            def use(breaker: Breaker = breaker, run: Scheduler = run) -> None:
                for task in (fail, ok, fail):
                    with suppress(OSError, BreakerOpen):
                        breaker.call(task)
                    run.now += 1

            for _ in range(3):
                run.spawn(use)
            run.until_done()
            assert told
            assert told[0][0] is State.CLOSED
            assert all(before[1] is after[0] for before, after in pairwise(told))
            assert told[-1][1].value == breaker._state.value


@pytest.mark.parametrize("settings", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_settings_that_make_no_sense_are_refused(settings: tuple[int, float, float]) -> None:
    """None of them may be zero."""
    with pytest.raises(ValueError, match="at least one failure"):
        Breaker(failures=settings[0], window_s=settings[1], open_s=settings[2])


def test_never_two_probes_in_any_interleaving() -> None:
    """Four callers at the moment when it is half open."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            breaker = Breaker(failures=1, window_s=1, open_s=1, clock=run.ctx.clock)
            with pytest.raises(OSError, match="failed"):
                breaker.call(fail)
            run.now = 1.0
            probing: list[int] = []

            def probe(n: int, probing: list[int] = probing, breaker: Breaker = breaker) -> None:
                probing.append(n)
                assert probing == [n] or breaker.state is State.CLOSED
                run.step()
                probing.remove(n)

            for n in range(4):
                run.spawn(breaker.call, probe, n)
            run.until_done()
            assert all(task.error is None or isinstance(task.error, BreakerOpen) for task in run.tasks)
            assert breaker.state is State.CLOSED


def test_a_probe_whose_error_cannot_be_judged_decides_nothing(clock: ManualClock) -> None:
    """`counts` itself fails: the caller is told, and the next call is the probe."""
    judged: list[Exception] = []

    def counts(error: Exception) -> bool:
        judged.append(error)
        if len(judged) == 2:
            raise AttributeError("no code")
        return True

    breaker = Breaker(failures=1, window_s=1, open_s=1, clock=clock, counts=counts)
    failing(breaker)
    clock.advance(1)
    with pytest.raises(AttributeError, match="no code"):
        breaker.call(fail)
    assert breaker.state is State.HALF_OPEN
    assert breaker.call(ok) == "ok"
    assert breaker.state is State.CLOSED


def test_a_probe_that_is_killed_while_the_observer_is_told_decides_nothing(clock: ManualClock) -> None:
    """The call has not begun, and the next one is the probe."""
    kills = iter([SystemExit()])

    def observe(_old: State, new: State) -> None:
        if new is State.HALF_OPEN:
            for kill in kills:
                raise kill

    breaker = Breaker(failures=1, window_s=1, open_s=1, clock=clock, on_change=observe)
    failing(breaker)
    clock.advance(1)
    with pytest.raises(SystemExit):
        breaker.call(pytest.fail, "it was called")
    assert breaker.call(ok) == "ok"
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("late", [ok, fail])
def test_a_late_result_says_nothing_of_a_probe_under_way(clock: ManualClock, late: Any) -> None:
    """It neither decides for the probe nor lets another pass."""
    breaker = Breaker(failures=1, window_s=1, open_s=5, clock=clock)

    def probe() -> str:
        began_before.switch()  # which ends while the probe is under way
        assert breaker.state is State.HALF_OPEN
        with pytest.raises(BreakerOpen):
            breaker.call(ok)
        return "probed"

    def slow() -> None:
        here.switch()
        late()

    here = getcurrent()

    def begin() -> None:
        with suppress(OSError):
            breaker.call(slow)

    began_before = greenlet(begin)
    began_before.switch()
    failing(breaker)
    clock.advance(5)
    assert breaker.call(probe) == "probed"
    assert breaker.state is State.CLOSED


class BreakerMachine(RuleBasedStateMachine):
    """One caller at a time against a list of failures and a time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(0)
        self.breaker = Breaker(failures=2, window_s=3, open_s=2, clock=self.clock)
        self.failures: list[float] = []
        self.open_until: float | None = None

    @rule(fails=st.booleans())
    def call(self, fails: bool) -> None:
        """Succeed, fail, or be refused."""
        now = self.clock.now()
        if self.open_until is not None and now < self.open_until:
            with pytest.raises(BreakerOpen):
                self.breaker.call(ok)
            return
        probing = self.open_until is not None
        if fails:
            failing(self.breaker)
            self.failures = [at for at in [*self.failures, now] if now - at <= 3]
            if probing or len(self.failures) >= 2:
                self.open_until, self.failures = now + 2, []
        else:
            self.breaker.call(ok)
            if probing:
                self.open_until = None

    @rule(tenths=st.integers(0, 25))
    def pass_time(self, tenths: int) -> None:
        """Turn the clock, in quarters: exact in binary."""
        self.clock.advance(tenths / 4)

    @invariant()
    def the_state_is_the_models(self) -> None:
        """Closed, open until its time, then half open."""
        if self.open_until is None:
            assert self.breaker.state is State.CLOSED
        else:
            assert self.breaker.state is (State.OPEN if self.clock.now() < self.open_until else State.HALF_OPEN)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
