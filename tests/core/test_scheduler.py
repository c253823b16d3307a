"""The controlled scheduler finds what it is for: lost wake-ups, deadlocks and orders that go wrong."""

from __future__ import annotations

from random import Random

import pytest

from service.concurrency.primitives import Lock, Parking
from tests.core.scheduler import Deadlock, Scheduler


class LosesWakeUps:
    """A box for one value whose reader looks first and waits then, without a lock over both: a wake-up can be lost."""

    def __init__(self, make_lock: type, parking: Parking) -> None:
        self.value: int | None = None
        self._waiting = False
        self._lock = make_lock()
        self._parking = parking

    def put(self, value: int) -> None:
        with self._lock:
            self.value = value
        if self._waiting:
            self._parking.wake()

    def get(self) -> int | None:
        with self._lock:
            there = self.value is not None
        if not there:
            with self._lock:
                self._waiting = True
            self._parking.wait()
        return self.value


def test_a_lost_wake_up_is_found() -> None:
    """In some interleaving the reader sleeps for ever, which is told as a deadlock."""
    from service.concurrency import primitives

    outcomes = set()
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            box = LosesWakeUps(primitives.Lock, Parking())
            run.spawn(box.get)
            run.spawn(box.put, 1)
            try:
                run.until_done()
                outcomes.add("done")
            except Deadlock:
                outcomes.add("deadlock")
    assert outcomes == {"done", "deadlock"}


def test_two_locks_in_two_orders_are_a_deadlock() -> None:
    """Found in some interleaving, and it can be had again by its seed."""
    from service.concurrency import primitives

    def outcome(seed: int) -> str:
        with Scheduler(Random(seed).randrange) as run:
            one, two = primitives.Lock(), primitives.Lock()

            def take(first: Lock, second: Lock) -> None:
                with first, second:
                    pass

            run.spawn(take, one, two)
            run.spawn(take, two, one)
            try:
                run.until_done()
            except Deadlock:
                return "deadlock"
            return "done"

    outcomes = [outcome(seed) for seed in range(50)]
    assert set(outcomes) == {"done", "deadlock"}
    assert outcomes == [outcome(seed) for seed in range(50)]


def test_time_passes_when_nobody_can_go_on() -> None:
    """To the next time that somebody waits for, and not further."""
    with Scheduler(Random(0).randrange) as run:
        times: list[float] = []
        for timeout_s in (3.0, 1.0, 2.0):
            run.spawn(lambda timeout_s=timeout_s: (run.ctx.park(Parking(), timeout_s), times.append(run.now)))
        run.until_done()
    assert times == [1.0, 2.0, 3.0]


def test_a_test_that_would_wait_itself_is_told() -> None:
    """Outside of a task nobody could wake it."""
    with Scheduler(Random(0).randrange) as run, pytest.raises(Deadlock, match="the test itself"):
        run.ctx.park(Parking())
