"""Time, as the core sees it: what it is now, sleeping until a time, and calling a function at a time.

Everything here that waits takes its clock from a context, so a test that gives the root context a clock of its own decides
what time it is, and nothing sleeps. Guarantees of the system's clock:

- `call_at` costs no thread of its own: one timer thread serves every call that is due, and lives while there is one, and up to
  LINGER_S longer: calls that are asked for and cancelled again and again, as each statement does, start no thread each.
- A function is called at its time or later, never earlier, and not after its cancelling has returned, unless it was under way.
- What a function raises, of whatever kind, is logged and harms no other. Where the system gives no thread, all are told whose
  call would not be made.
- Cancelling waits for no lock. A cancelled call leaves nothing behind for long: at most half of the timer's list, and a few
  more, are cancelled calls.

A process that forks must do so before it waits on a timer: the thread is not in the child. Under gevent the timer belongs to
the hub of one native thread, and no other may ask it for a call.
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
LINGER_S = 0.1  # the timer looks so often whether there is still something to wait for


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


class SystemClock:
    """`time.monotonic`, and the timer thread."""

    now = staticmethod(monotonic)

    def __init__(self) -> None:
        self._lock = Lock()  # guards the list of times and the thread
        self._times: list[tuple[float, int]] = []  # a heap of times and numbers
        self._callbacks: dict[int, Callable[[], None]] = {}  # by number; whoever takes one out calls it or drops it
        self._numbers = count()
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
        """See Clock. Raises RuntimeError where the system gives no thread; then it is not called."""
        number = next(self._numbers)
        entry = (when, number)
        with self._lock:
            self._callbacks[number] = callback
            heappush(self._times, entry)
            if self._times[0] is entry:
                self._parking.wake()
            if not self._running:
                self._start(number)
        return lambda: self._cancel(number)

    def pending(self) -> int:
        """How many calls are still to come."""
        return len(self._callbacks)

    def _start(self, number: int) -> None:
        """Under the lock: who comes meanwhile waits, and tries it itself where this fails."""
        self._running = True
        try:
            Thread(target=self._run, name="timer", daemon=True).start()
        except RuntimeError:  # the system gives no thread
            self._running = False
            del self._callbacks[number]
            raise

    def _cancel(self, number: int) -> None:
        """Waits for no lock: a finaliser may cancel a context in the middle of anything."""
        if self._callbacks.pop(number, None) is None:
            return
        if len(self._times) > 2 * len(self._callbacks) + FEW and self._lock.acquire(blocking=False):
            try:
                self._times = [entry for entry in self._times if entry[1] in self._callbacks]
                heapify(self._times)
            finally:
                self._lock.release()

    def _run(self) -> None:
        idle = False
        try:
            while True:
                with self._lock:
                    self._parking = parking = Parking()  # before looking: an earlier call that comes after the look wakes this
                    callback = self._take_due()
                    if callback is None and not self._times:
                        if idle:
                            self._running = False
                            return
                        idle, pause_s = True, LINGER_S
                    else:
                        idle, pause_s = False, min(self._times[0][0] - monotonic(), LINGER_S) if self._times else 0.0
                if callback is None:
                    idle = not parking.wait(pause_s) and idle  # who woke it may have cancelled meanwhile, and will come again
                else:
                    _call(callback)
        except BaseException:  # its greenlet was killed: the next call starts another
            self._running = False
            raise

    def _take_due(self) -> Callable[[], None] | None:
        """Under the lock: the first that is due, taken just before it is called, so that it can be cancelled until then."""
        if not self._callbacks:
            self._times.clear()
        while self._times and (self._times[0][0] <= monotonic() or self._times[0][1] not in self._callbacks):
            callback = self._callbacks.pop(heappop(self._times)[1], None)
            if callback is not None:
                return callback
        return None


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except BaseException:  # a callback that calls exit() too: the timer is everybody's
        log.exception("a function that was called at its time failed")


SYSTEM_CLOCK = SystemClock()
