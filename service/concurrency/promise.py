"""A promise: one value or one error, set once by the worker, waited for by one caller.

It also settles who was first when the caller's time runs out: `withdraw` succeeds only while no worker has claimed the work,
so a caller knows whether its work will certainly not be done or may be under way.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from service.concurrency.context import Context
from service.concurrency.primitives import Lock, Parking

T = TypeVar("T")


class Promise(Generic[T]):
    """See the module. It is waiting, then claimed by a worker or withdrawn by the caller, then kept."""

    __slots__ = ("_claimed", "_error", "_lock", "_parking", "_value", "_withdrawn", "kept")

    def __init__(self) -> None:
        self._lock = Lock()
        self._parking = Parking()
        self._claimed = False
        self._withdrawn = False
        self._value: T | None = None
        self._error: Exception | None = None
        self.kept = False

    def claim(self) -> bool:
        """The worker takes the work up; False if the caller has withdrawn it."""
        with self._lock:
            self._claimed = not self._withdrawn
            return self._claimed

    def withdraw(self) -> bool:
        """The caller gives up; False if a worker has claimed the work already."""
        with self._lock:
            self._withdrawn = not self._claimed
            return self._withdrawn

    def keep(self, value: T) -> None:
        """Set the value and wake the caller."""
        self._value, self.kept = value, True
        self._parking.wake()

    def fail(self, error: Exception) -> None:
        """Set the error and wake the caller."""
        self._error, self.kept = error, True
        self._parking.wake()

    def wait(self, ctx: Context) -> bool:
        """Sleep until the promise is kept or `ctx` ends; tells whether it is kept."""
        if not self.kept:
            ctx.park(self._parking)
        return self.kept

    def get(self, ctx: Context) -> T:
        """Wait, and return the value. Raises the error that was set, or that of `ctx` when it ends first."""
        if not self.wait(ctx):
            ctx.check()
        return self.result()

    def result(self) -> T:
        """The value of a kept promise. Raises the error, if that was set instead."""
        assert self.kept, "result() before the promise was kept"
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # kept, and not by fail()
