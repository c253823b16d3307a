"""When a second read is worth its cost: after the time that nineteen of twenty take, and for no more than one in twenty."""

from __future__ import annotations

from collections import deque

from service.concurrency.primitives import Lock

SAMPLES = 256
LEARN_EVERY = 32  # samples
QUANTILE = 0.95
LEAST_S, MOST_S, FIRST_S = 0.002, 1.0, 0.05
SHARE = 0.05  # of all reads
MOST_SAVED = 10.0  # hedges that a quiet time leaves for a bad one


class Hedging:
    """`after_s` fixes the delay; without it the observed 95th percentile is taken, at least 2 ms."""

    def __init__(self, after_s: float | None = None) -> None:
        self._fixed_s = after_s
        self._delay_s = FIRST_S
        self._took: deque[float] = deque(maxlen=SAMPLES)
        self._new = 0
        self._lock = Lock()
        self._saved = 1.0
        self.reads = 0
        self.hedges = 0

    @property
    def delay_s(self) -> float:
        """How long to wait for the first attempt before the next one starts."""
        return self._delay_s if self._fixed_s is None else self._fixed_s

    def note_read(self) -> None:
        """A read begins, which earns a share of a hedge."""
        with self._lock:
            self.reads += 1
            self._saved = min(self._saved + SHARE, MOST_SAVED)

    def note_took(self, seconds: float) -> None:
        """A read has been answered."""
        with self._lock:
            self._took.append(seconds)
            self._new += 1
            if self._new < LEARN_EVERY:
                return
            self._new = 0
            taken = sorted(self._took)
        self._delay_s = min(max(taken[int(len(taken) * QUANTILE)], LEAST_S), MOST_S)

    def take(self) -> bool:
        """Whether a hedge may start; it is counted then."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            self.hedges += 1
            return True
