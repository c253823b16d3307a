"""One lookup serves all who wait for it: where the database takes its time, one for each request would take every connection.

Nobody joins a lookup that may not see what is known to have changed since it began, or that began FRESH_S ago: its answer may
be of before a change that is a second old by now. A lookup that fails fails for all who wait; where only its own caller's time
is up, the next one looks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from service.concurrency.context import Context, background, with_cancel
from service.concurrency.primitives import Lock, Parking
from service.errors import LedgerdError
from service.ledger.kept import FRESH_S, Begun

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")


class Lookup(Generic[F]):
    """One that several may wait for. `found` is there once it has `ended` without an error."""

    found: F

    def __init__(self, begun: Begun) -> None:
        self.begun = begun
        self.ended = with_cancel(background())
        self.error: LedgerdError | None = None

    def wait(self, ctx: Context) -> bool:
        """Whether it has found something; not if the one who looked gave up. Raises its error, or that of `ctx`."""
        parking = Parking()
        forget = self.ended.on_done(parking.wake)
        try:
            ctx.park(parking)
        finally:
            forget()
        ctx.check()
        if self.error is not None:
            raise self.error.again()
        return hasattr(self, "found")


class Lookups(Generic[K, F]):
    """Those under way. `look_up` asks the database; `begin` notes when that was, see `Kept.begin`."""

    def __init__(self, look_up: Callable[[Context, K], F], begin: Callable[[K], Begun]) -> None:
        self._look_up = look_up
        self._begin = begin
        self._lock = Lock()
        self._under_way: dict[K, Lookup[F]] = {}

    def find(self, ctx: Context, key: K, *, anew: bool = False) -> Lookup[F]:
        """A lookup that has ended: another's that was under way, unless `anew`, or one of our own. Raises what it raises."""
        while True:
            begun = self._begin(key)
            with self._lock:
                other = None if anew else self._under_way.get(key)
                if other is None or begun.drops != other.begun.drops or begun.as_of - other.begun.as_of >= FRESH_S:
                    mine = self._under_way[key] = Lookup(begun)
                    break
            if other.wait(ctx):
                return other
        try:
            mine.found = self._look_up(ctx, key)
        except LedgerdError as error:
            if ctx.error() is None:  # else only this caller's time is up: the next one looks
                mine.error = error
            raise
        finally:
            with self._lock:
                if self._under_way.get(key) is mine:
                    del self._under_way[key]
            mine.ended.cancel()
        return mine
