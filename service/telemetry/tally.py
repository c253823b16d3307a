"""Counts that are added up in plain Python, and handed to prometheus_client about once a second.

An increment of prometheus_client costs one and a half microseconds where several processes share a count, and a request needs
half a dozen. Here it costs an addition. The price: a worker that is killed takes the last second's counts along.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from prometheus_client import Counter, Histogram

from service.concurrency.primitives import RLock

Label = TypeVar("Label", bound=Hashable)


class Counts(Generic[Label]):
    """What is added for each label; `child` finds the prometheus counter of a label, and is asked once for each."""

    def __init__(self, child: Callable[[Label], Counter]) -> None:
        self._child = child
        self._children: dict[Label, Counter] = {}
        self._lock = RLock()  # it never waits, so that the native one is right under gevent too
        self._added: dict[Label, float] = {}

    def add(self, label: Label, number: float = 1) -> None:
        """Count `number` more."""
        with self._lock:
            self._added[label] = self._added.get(label, 0) + number

    def flush(self) -> None:
        """Hand on what has been added since the last time."""
        with self._lock:
            added, self._added = self._added, {}
        for label, number in added.items():
            if label not in self._children:
                self._children[label] = self._child(label)
            self._children[label].inc(number)


class Distribution:
    """How many observations are within each of `bounds` (the upper ones, rising), and their sum. Whoever uses it locks."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Add one."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def move_to(self, histogram: Histogram) -> None:
        """Hand it on to `histogram`, which has the same bounds, and begin anew."""
        # prometheus_client can only take observations one by one, so this reaches for what it keeps them in.
        for bucket, count in zip(histogram._buckets, self.counts, strict=True):
            if count:
                bucket.inc(count)
        histogram._sum.inc(self.total)
        self.counts = [0] * len(self.counts)
        self.total = 0.0
