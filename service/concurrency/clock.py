"""Time, as the core sees it: what it is now, sleeping until a time, and calling a function at a time.

Everything here that waits takes its clock from a context, so a test that gives the root context a clock of its own decides
what time it is, and nothing sleeps. Guarantees of the system's clock:

- `call_at` costs no thread of its own: one timer thread serves every call that is due, and lives while there is one.
- A function is called at its time or later, never earlier, and not after its cancelling has returned, unless it was under way.
- A cancelled call leaves nothing behind for long: at most half of the timer's list is cancelled calls.

A process that forks must do so before it waits on a timer: the thread is not in the child.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from service.concurrency.primitives import Lock, Parking, Thread, monotonic

log = logging.getLogger(__name__)

FEW = 64  # so many cancelled calls are not worth a clean-up


class Clock(Protocol):
    """Seconds that only go forward, from a beginning that means nothing."""

    def now(self) -> float:
        """The time."""
        ...

    def park(self, parking: Parking, until: float | None) -> bool:
        """Sleep until `parking` is woken (then True) or it is `until`; None is never."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, which must not wait, when it is `when`; returns what cancels that."""
        ...


class _Call:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback


class SystemClock:
    """`time.monotonic`, and the timer thread."""

    now = staticmethod(monotonic)

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: list[tuple[float, int, _Call]] = []  # a heap
        self._numbers = count()
        self._pending = 0
        self._running = False
        self._parking = Parking()

    def park(self, parking: Parking, until: float | None) -> bool:
        """See Clock."""
        if until is None:
            return parking.wait()
        while not parking.wait(until - monotonic()):
            if monotonic() >= until:
                return False
        return True

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        """See Clock."""
        call = _Call(callback)
        with self._lock:
            heappush(self._calls, (when, next(self._numbers), call))
            self._pending += 1
            if self._calls[0][2] is call:
                self._parking.wake()
            start, self._running = not self._running, True
        if start:
            try:
                Thread(target=self._run, name="timer", daemon=True).start()
            except RuntimeError:  # the system gives no thread
                with self._lock:
                    self._running = False
                self._cancel(call)
                raise
        return lambda: self._cancel(call)

    def pending(self) -> int:
        """How many calls are still to come."""
        return self._pending

    def _cancel(self, call: _Call) -> None:
        with self._lock:
            if call.callback is None:
                return
            call.callback = None
            self._pending -= 1
            if self._pending == 0:
                self._calls.clear()
                self._parking.wake()
            elif len(self._calls) > 2 * self._pending + FEW:
                self._calls = [entry for entry in self._calls if entry[2].callback is not None]
                heapify(self._calls)

    def _run(self) -> None:
        while True:
            with self._lock:
                due = self._take_due()
                if not due and not self._calls:
                    self._running = False
                    return
                self._parking = parking = Parking()
                pause_s = self._calls[0][0] - monotonic() if self._calls else 0.0
            if due:
                _call_all(due)
            else:
                parking.wait(pause_s)

    def _take_due(self) -> list[Callable[[], None]]:
        due = []
        now = monotonic()
        while self._calls and (self._calls[0][0] <= now or self._calls[0][2].callback is None):
            call = heappop(self._calls)[2]
            if call.callback is not None:
                due.append(call.callback)
                call.callback = None
                self._pending -= 1
        return due


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            log.exception("a function that was called at its time failed")


SYSTEM_CLOCK = SystemClock()
