"""A free list, the leaky buffer: buffers that are used again instead of made again.

It never waits: with none to take it makes one, with no room to keep one it lets it go. At most `capacity` are kept, and no two
holders have the same one, provided that each gives it back once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from service.concurrency.channel import Channel, WouldBlock

T = TypeVar("T")


class FreeList(Generic[T]):
    """See the module. `make` makes a new buffer."""

    def __init__(self, make: Callable[[], T], capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a free list keeps at least one buffer, not {capacity}")
        self._make = make
        self._kept: Channel[T] = Channel(capacity)

    def take(self) -> T:
        """One that was given back, or a new one; what is in it is what its last user left."""
        try:
            return self._kept.receive_nowait()
        except WouldBlock:
            return self._make()

    def give(self, buffer: T) -> None:
        """Give one back; the giver must not touch it any more."""
        with suppress(WouldBlock):
            self._kept.send_nowait(buffer)

    @contextmanager
    def borrowed(self) -> Iterator[T]:
        """One for a `with` block. If the block fails it is let go, since somebody may hold it still."""
        buffer = self.take()
        yield buffer
        self.give(buffer)
