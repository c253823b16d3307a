"""A circuit breaker: stops calling what keeps failing, and finds out by itself when it works again.

Closed, calls pass, and `failures` failures within `window_s` open it. Open, every call is refused at once, for `open_s`. Then
it is half-open: one call at a time passes as a probe; success closes the breaker, failure opens it again. (Nygard, Release
It!, 2007, chapter "Stability Patterns".) Guarantees:

- Which errors count as failures is the caller's choice. One that does not count is no success either: a probe that ends with
  it decides nothing, and the next call is the probe. The same holds for one that is killed, and where `counts` itself raises.
- A call that began before the last change of state says nothing any more, whenever it ends.
- `on_change` is called for each change, in order, one at a time and outside the lock. What it raises is logged: it changes
  nothing for the call.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import ParamSpec, TypeVar

from service.concurrency.clock import SYSTEM_CLOCK, Clock
from service.concurrency.primitives import Lock

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class State(Enum):
    """Of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class BreakerOpen(Exception):
    """The call was refused and not made. `retry_after_s`: when the next probe may pass, 0 while one is under way."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the circuit breaker is open for another {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class Breaker:
    """See the module."""

    def __init__(
        self,
        *,
        failures: int,
        window_s: float,
        open_s: float,
        counts: Callable[[Exception], bool] = lambda _: True,
        on_change: Callable[[State, State], None] = lambda _old, _new: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if failures < 1 or window_s <= 0 or open_s <= 0:
            raise ValueError(f"expected at least one failure and times above 0, not {failures}, {window_s} and {open_s}")
        self._failures: deque[float] = deque(maxlen=failures)
        self._window_s = window_s
        self._open_s = open_s
        self._counts = counts
        self._on_change = on_change
        self._clock = clock
        self._lock = Lock()
        self._state = State.CLOSED
        self._opened_at = 0.0
        self._probing = False
        self._epoch = 0  # the number of changes
        self._untold: deque[tuple[State, State]] = deque()
        self._telling = False

    @property
    def state(self) -> State:
        """The state for a call made now."""
        with self._lock:
            if self._state is State.OPEN and self._clock.now() >= self._opened_at + self._open_s:
                return State.HALF_OPEN
            return self._state

    def call(self, task: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`task(*args)`, if the breaker lets it pass. Raises BreakerOpen, or what `task` raises."""
        epoch = self._admit()
        failed: bool | None = None  # killed, or `counts` fails: it decides nothing
        try:
            self._tell()
            value = task(*args, **kwargs)
            failed = False
            return value
        except Exception as error:
            if self._counts(error):
                failed = True
            raise
        finally:
            self._end(epoch, failed)

    def _admit(self) -> int:
        with self._lock:
            now = self._clock.now()
            if self._state is State.OPEN:
                wait_s = self._opened_at + self._open_s - now
                if wait_s > 0:
                    raise BreakerOpen(wait_s)
                self._change(State.HALF_OPEN)
            if self._state is State.HALF_OPEN:
                if self._probing:
                    raise BreakerOpen(0.0)
                self._probing = True
            return self._epoch

    def _end(self, epoch: int, failed: bool | None) -> None:
        """A call that was admitted in `epoch` has succeeded, failed, or, with None, decided nothing."""
        with self._lock:
            if epoch != self._epoch:
                return
            now = self._clock.now()
            if self._state is State.HALF_OPEN:
                self._probing = False
                if failed is not None:
                    self._change(State.OPEN if failed else State.CLOSED)
                    self._opened_at = now
            elif failed:
                self._failures.append(now)
                if len(self._failures) == self._failures.maxlen and now - self._failures[0] <= self._window_s:
                    self._change(State.OPEN)
                    self._opened_at = now
        self._tell()

    def _change(self, state: State) -> None:
        self._untold.append((self._state, state))
        self._state = state
        self._epoch += 1
        self._probing = False
        self._failures.clear()

    def _tell(self) -> None:
        """Call the observer for what it has not been told; where another thread is at it, that one does this too."""
        while self._untold:
            with self._lock:
                if self._telling or not self._untold:
                    return
                self._telling = True
                change = self._untold.popleft()
            try:
                self._on_change(*change)
            except Exception:
                log.exception("the observer of a breaker failed")
            finally:
                self._telling = False
