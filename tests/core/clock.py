"""A clock that is turned by hand, so that no test waits for time to pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from service.concurrency.primitives import Parking
from tests.serving import wait_until

PATIENCE_S = 20.0  # nothing in a test is parked for so long


class ManualClock:
    """A Clock of the core whose time passes in `advance` alone."""

    def __init__(self, now: float = 100.0) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._numbers = count()
        self._calls: list[tuple[float, int, list[Callable[[], None]]]] = []

    def now(self) -> float:
        return self._now

    def park(self, parking: Parking, until: float | None) -> bool:
        late = threading.Event()

        def wake() -> None:
            late.set()
            parking.wake()

        cancel = (lambda: None) if until is None else self.call_at(until, wake)
        try:
            assert parking.wait(PATIENCE_S), f"parked until {until}, and nobody woke it or turned the clock"
        finally:
            cancel()
        return not late.is_set()

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        call = [callback]
        with self._lock:
            due = when <= self._now
            if not due:
                heappush(self._calls, (when, next(self._numbers), call))
        if due:
            callback()
        return call.clear

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; whatever is due is called before this returns."""
        with self._lock:
            self._now += seconds
            due = []
            while self._calls and self._calls[0][0] <= self._now:
                due += heappop(self._calls)[2]
        for callback in due:
            callback()

    def turn(self, seconds: float) -> None:
        """Let `seconds` pass without telling anybody: timers are late."""
        self._now += seconds

    def pending(self) -> int:
        """How many calls and timed waits there are."""
        return sum(bool(call) for _, _, call in self._calls)

    def wait_for_pending(self, number: int) -> None:
        """Until `number` calls and timed waits are there: the other threads are where the test wants them."""
        wait_until(lambda: self.pending() == number, 10)
