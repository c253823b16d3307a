"""A channel: values go in at one side and come out at the other, in order, each to one receiver.

Guarantees:

- It never holds more than `capacity` values, but for what is put back for receivers that were killed before they had it. With
  capacity 0 a send and a receive meet: a send returns when it is received.
- First come, first served, on both sides.
- The sender closes. Receivers drain what is there and then get `ChannelClosed`, or the end of their loop; a send on a closed
  channel, waiting ones among them, and a second close are `ChannelClosed` errors.
- A call whose context has ended does nothing, even if it could be done at once. A call that is done while its context ends is
  done: no value is lost or doubled on the way out of a wait, not even where a waiting greenlet is killed.

Channels, and what is made of them, are not for finalisers and signal handlers, which may run in the middle of a call.

The design: decide under the lock (`handover`), wait outside it. A call that cannot be done at once makes what it needs for
waiting outside too, and then looks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from service.concurrency.context import Context, background
from service.concurrency.handover import NOTHING, Handover, Offer, Waiter

T = TypeVar("T")


class WouldBlock(Exception):
    """The operation cannot be done at once: nothing to receive, or nobody and no room to send to."""


class ChannelClosed(Exception):
    """The channel was closed: nothing more can be sent, or all has been received."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel holds at a moment."""

    capacity: int
    buffered: int
    senders_waiting: int
    receivers_waiting: int
    closed: bool


class Channel(Handover, Generic[T]):
    """See the module. `capacity` is a number of values; ValueError below 0."""

    def __init__(self, capacity: int = 0) -> None:
        if capacity < 0:
            raise ValueError(f"capacity must be at least 0, not {capacity}")
        super().__init__(capacity)

    def send(self, ctx: Context, value: T, timeout_s: float | None = None) -> None:
        """Put `value` in, waiting for room or, with capacity 0, for a receiver.

        Raises ChannelClosed, TimeoutError when `timeout_s` has passed, or the error of `ctx`: then it was not sent.
        """
        ctx.check()
        if self._try_to_send(value):
            return
        offer = Offer(Waiter(), value)
        if self._try_to_send(value, offer):
            return
        self._park(ctx, offer, timeout_s, "nobody received the value")
        if offer.closed:
            raise ChannelClosed("send on a closed channel: it was closed while the sender waited")

    def send_nowait(self, value: T) -> None:
        """Put `value` in. Raises WouldBlock when that cannot be done at once, ChannelClosed when it is closed."""
        if not self._try_to_send(value):
            raise WouldBlock("the channel is full" if self.capacity else "nobody is waiting to receive")

    def receive(self, ctx: Context, timeout_s: float | None = None) -> T:
        """Wait for a value and take it. Raises ChannelClosed, TimeoutError or the error of `ctx`: then none was taken."""
        ctx.check()
        value = self._try_to_receive()
        if value is NOTHING:
            offer = Offer(Waiter())
            value = self._try_to_receive(offer)
        if value is not NOTHING:
            return cast(T, value)
        try:
            self._park(ctx, offer, timeout_s, "nothing was sent")
        except BaseException:
            if offer.waiter.completed is offer and not offer.closed:
                self.put_back(offer.value)
            raise
        # closed meanwhile, it may yet have a value: one that had been given to a receiver who was killed
        return cast(T, self._try_to_receive() if offer.closed else offer.value)

    def receive_nowait(self) -> T:
        """Take the oldest value. Raises WouldBlock when there is none, ChannelClosed when there will be none."""
        value = self._try_to_receive()
        if value is NOTHING:
            raise WouldBlock("the channel is empty")
        return cast(T, value)

    def receive_batch(self, ctx: Context, most: int, timeout_s: float | None = None) -> list[T]:
        """Wait for a value, and take it with all others that are there already, `most` in all. Errors as `receive`."""
        batch = [self.receive(ctx, timeout_s)]
        with self.lock:
            while len(batch) < most and (value := self.take()) is not NOTHING:
                batch.append(cast(T, value))
        return batch

    def values_until_closed(self, ctx: Context) -> Iterator[T]:
        """Receive until the channel is closed and drained. Raises the error of `ctx`."""
        while True:
            try:
                value = self.receive(ctx)
            except ChannelClosed:
                return
            yield value

    def __iter__(self) -> Iterator[T]:
        return self.values_until_closed(background())

    def close(self) -> None:
        """Say that nothing more will be sent. Raises ChannelClosed the second time."""
        with self.lock:
            if self.closed:
                raise ChannelClosed("close of a closed channel")
            self.shut()

    @property
    def depth(self) -> int:
        """How many values it holds. A glance without the lock: it may be otherwise a moment later."""
        return len(self.values)

    def statistics(self) -> ChannelStatistics:
        """What the channel holds now."""
        with self.lock:
            return ChannelStatistics(
                self.capacity, len(self.values), len(self.senders), len(self.receivers), self.closed
            )

    def _try_to_send(self, value: object, otherwise: Offer | None = None) -> bool:
        """Send at once, if that can be; if not, leave the offer `otherwise`. Raises ChannelClosed."""
        with self.lock:
            if self.closed:
                raise ChannelClosed("send on a closed channel")
            if self.put(value):
                return True
            if otherwise is not None:
                self.senders[otherwise] = None
            return False

    def _try_to_receive(self, otherwise: Offer | None = None) -> object:
        """Receive at once, if that can be; if not, leave the offer `otherwise` and return NOTHING. Raises ChannelClosed."""
        with self.lock:
            value = self.take()
            if value is not NOTHING:
                return value
            if self.closed:
                raise ChannelClosed("the channel is closed and drained")
            if otherwise is not None:
                self.receivers[otherwise] = None
            return NOTHING

    def _park(self, ctx: Context, offer: Offer, timeout_s: float | None, missed: str) -> None:
        """Sleep until `offer` is completed; where it is not, take it back and raise why."""
        try:
            ctx.park(offer.waiter, timeout_s)
        finally:
            given_up = offer.waiter.give_up()
            if given_up:
                self.withdraw(offer)
        if given_up:
            ctx.check()
            raise TimeoutError(f"{missed} within {timeout_s} s")
        offer.waiter.forget()
