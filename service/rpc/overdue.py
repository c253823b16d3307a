"""Cuts off calls that are over and still wait for their client: for its message, or for it to read one.

grpcio lets a thread wait there for as long as the client likes. A timer for each wait would cost more than the call; so those
who wait are put down here, and are looked at twice a second. A call that is found to be over has until the next look to end in
good order, by a status that the client may read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.concurrency.context import Context
from service.concurrency.primitives import Parking, RLock

LOOK_EVERY_S = 0.5


class _Waiting:
    __slots__ = ("cut", "is_over", "life")

    def __init__(self, life: Context, cut: Callable[[], object]) -> None:
        self.life = life
        self.cut = cut
        self.is_over = False


class Overdue:
    """See the module. `run` is for a background task."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._waiting: dict[_Waiting, None] = {}

    @contextmanager
    def watching(self, life: Context, cut: Callable[[], object]) -> Iterator[None]:
        """In the block a call waits for its client: `cut` is called up to a second after `life` has ended."""
        waiting = _Waiting(life, cut)
        with self._lock:
            self._waiting[waiting] = None
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[waiting]

    def look(self) -> None:
        """Once: cut off those that were over at the look before."""
        with self._lock:
            waiting = tuple(self._waiting)
        for each in waiting:
            if each.is_over:
                each.cut()
            each.is_over = each.life.error() is not None

    def run(self, ctx: Context) -> None:
        """Look again and again."""
        while ctx.error() is None:
            self.look()
            ctx.park(Parking(), LOOK_EVERY_S)
