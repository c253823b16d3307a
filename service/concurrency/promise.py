"""A promise: one value or one error, set once by the worker, waited for by one caller at a time.

It also settles who was first when the caller's time runs out: `withdraw` succeeds only while no worker has claimed the work,
so a caller knows whether its work will certainly not be done or may be under way.
"""

from __future__ import annotations

from types import TracebackType
from typing import Generic, TypeVar

from service.concurrency.context import Context
from service.concurrency.primitives import Parking, RLock
from service.errors import LedgerdError

T = TypeVar("T")


class Promise(Generic[T]):
    """See the module. It is waiting, then claimed by a worker or withdrawn by the caller, then kept."""

    __slots__ = ("_claimed", "_error", "_lock", "_parking", "_trace", "_value", "_waited_for", "_withdrawn", "kept")

    def __init__(self) -> None:
        self._lock = RLock()  # nothing under it waits, and of the locks it is the fastest
        self._parking = Parking()
        self._claimed = False
        self._withdrawn = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._trace: TracebackType | None = None
        self._waited_for = False
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
        """Set the value and wake the caller. Raises RuntimeError where a value or an error has been set before."""
        self._set(value, None)

    def fail(self, error: Exception) -> None:
        """Set the error and wake the caller. Raises RuntimeError as `keep`."""
        self._set(None, error)

    def _set(self, value: T | None, error: Exception | None) -> None:
        with self._lock:
            if self.kept:
                raise RuntimeError("the promise was kept before: it has one value or one error")
            self._value, self._error = value, error
            self._trace = None if error is None else error.__traceback__
            self.kept = True
        self._parking.wake()

    def wait(self, ctx: Context) -> bool:
        """Sleep until the promise is kept or `ctx` ends; tells whether it is kept. RuntimeError if another waits already."""
        if self.kept:
            return True
        with self._lock:
            if self._waited_for:
                raise RuntimeError("another waits for this promise already: it has one caller")
            self._waited_for = True
        try:
            while not self.kept and ctx.error() is None:  # again after a wake-up that was for an earlier wait
                ctx.park(self._parking)
        finally:
            self._waited_for = False
        return self.kept

    def get(self, ctx: Context) -> T:
        """Wait, and return the value. Raises the error that was set, or that of `ctx` when it ends first."""
        if not self.wait(ctx):
            ctx.check()
        return self.result()

    def result(self) -> T:
        """The value of a kept promise. Raises the error, if that was set instead: one of the taxonomy as a copy."""
        assert self.kept, "result() before the promise was kept"
        if isinstance(self._error, LedgerdError):  # it may be the error of many promises
            raise self._error.again()
        if self._error is not None:
            raise self._error.with_traceback(self._trace)  # the worker's, and no caller's
        return self._value  # type: ignore[return-value]  # kept, and not by fail()
