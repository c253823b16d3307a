"""A bounded channel: values go in at one side and come out at the other, in order, each to one receiver.

Guarantees:

- It never holds more than `capacity` values; a sender that finds it full is told at once.
- First come, first served: receivers are woken in the order in which they began to wait.
- After `close`, receivers drain what is there and then get `ChannelClosed`; a send, or a second close, is an error.

The design: decide under the lock, wait outside it. A receiver that finds nothing queues up; a sender that finds a queue
gives its value to the first in it directly, so that no later receiver can take it on the way. A receiver whose time is up
looks once more under the lock: what it was given meanwhile, it keeps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.concurrency.context import Context
from service.concurrency.primitives import Lock, Parking

T = TypeVar("T")


class WouldBlock(Exception):
    """The operation cannot be done at once: nothing to receive, or no room to send."""


class ChannelClosed(Exception):
    """The channel was closed: nothing more can be sent, or all has been received."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel holds at a moment."""

    capacity: int
    buffered: int
    receivers_waiting: int
    closed: bool


class _Receiver(Parking):
    """A receiver in the queue, and the value it was given."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        super().__init__()
        self.given: list[object] = []


class Channel(Generic[T]):
    """See the module. `capacity` is at least 1."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._lock = Lock()
        self._values: deque[T] = deque()
        self._receivers: deque[_Receiver] = deque()
        self._closed = False

    def send_nowait(self, value: T) -> None:
        """Put `value` in. Raises WouldBlock when the channel is full, ChannelClosed when it is closed."""
        with self._lock:
            if self._closed:
                raise ChannelClosed("send on a closed channel")
            if self._receivers:
                receiver = self._receivers.popleft()
                receiver.given.append(value)
            elif len(self._values) < self._capacity:
                self._values.append(value)
                return
            else:
                raise WouldBlock("the channel is full")
        receiver.wake()

    def receive_nowait(self) -> T:
        """Take the oldest value. Raises WouldBlock when there is none, ChannelClosed when there will be none."""
        with self._lock:
            return self._take()

    def receive(self, ctx: Context) -> T:
        """Wait for a value and take it. Raises ChannelClosed, or the error of `ctx` when that ends first."""
        with self._lock:
            if self._values or self._closed:
                return self._take()
            receiver = _Receiver()
            self._receivers.append(receiver)
        forget = ctx.on_done(receiver.wake)
        while not receiver.wait(ctx.remaining()) and ctx.error() is None:
            pass  # a timed wait may end a little early
        forget()
        with self._lock:
            if receiver.given:
                return receiver.given[0]  # type: ignore[return-value]  # a sender of this channel put it there
            if receiver in self._receivers:
                self._receivers.remove(receiver)
        ctx.check()
        raise ChannelClosed("the channel is closed and drained")

    def close(self) -> None:
        """Say that nothing more will be sent. Raises ChannelClosed the second time."""
        with self._lock:
            if self._closed:
                raise ChannelClosed("close of a closed channel")
            self._closed = True
            receivers, self._receivers = self._receivers, deque()
        for receiver in receivers:
            receiver.wake()

    def statistics(self) -> ChannelStatistics:
        """What the channel holds now."""
        with self._lock:
            return ChannelStatistics(self._capacity, len(self._values), len(self._receivers), self._closed)

    def _take(self) -> T:
        if self._values:
            return self._values.popleft()
        if self._closed:
            raise ChannelClosed("the channel is closed and drained")
        raise WouldBlock("the channel is empty")
