"""A semaphore: at most so many at once, first come, first served, and never longer than a context allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.concurrency.channel import Channel, WouldBlock
from service.concurrency.context import Context


class Semaphore:
    """`permits` of them, at least 1; ValueError below. Made of a channel that holds one value for each permit that is free."""

    def __init__(self, permits: int) -> None:
        if permits < 1:
            raise ValueError(f"a semaphore needs at least one permit, not {permits}")
        self._free: Channel[None] = Channel(permits)
        for _ in range(permits):
            self._free.send_nowait(None)

    def acquire(self, ctx: Context, timeout_s: float | None = None) -> None:
        """Take a permit, waiting for one. Raises the error of `ctx`, or TimeoutError when `timeout_s` has passed."""
        try:
            self._free.receive(ctx, timeout_s)
        except TimeoutError:
            raise TimeoutError(f"no permit was free within {timeout_s} s") from None

    def acquire_nowait(self) -> bool:
        """Take a permit if there is one; tells whether it did."""
        try:
            self._free.receive_nowait()
        except WouldBlock:
            return False
        return True

    def release(self) -> None:
        """Give a permit back. Raises RuntimeError where none is taken."""
        try:
            self._free.send_nowait(None)
        except WouldBlock:
            raise RuntimeError("release of a semaphore of which no permit is taken") from None

    @contextmanager
    def held(self, ctx: Context, timeout_s: float | None = None) -> Iterator[None]:
        """A permit for a `with` block. Errors as `acquire`."""
        self.acquire(ctx, timeout_s)
        try:
            yield
        finally:
            self.release()
