"""Channels: order, bound, closing, and receivers that give up."""

from __future__ import annotations

import threading

import pytest

from service.concurrency.channel import Channel, ChannelClosed, ChannelStatistics, WouldBlock
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError


class Receiver:
    """A thread that receives one value."""

    def __init__(self, channel: Channel[int], ctx: Context) -> None:
        self.result: object = None
        self._thread = threading.Thread(target=self._receive, args=(channel, ctx))
        waiting = channel.statistics().receivers_waiting
        self._thread.start()
        for _ in range(20_000):
            if channel.statistics().receivers_waiting > waiting:
                return
            threading.Event().wait(0.001)
        raise AssertionError("the receiver never waited")

    def _receive(self, channel: Channel[int], ctx: Context) -> None:
        try:
            self.result = channel.receive(ctx)
        except (ChannelClosed, LedgerdError) as exc:
            self.result = exc

    def done(self) -> object:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.result


def test_values_come_out_in_order_and_no_more_than_fit() -> None:
    """Full is told at once, empty as well."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.send_nowait(2)
    with pytest.raises(WouldBlock, match="full"):
        channel.send_nowait(3)
    assert [channel.receive(background()), channel.receive_nowait()] == [1, 2]
    with pytest.raises(WouldBlock, match="empty"):
        channel.receive_nowait()


def test_receivers_are_served_in_the_order_they_came() -> None:
    """And one that comes later cannot take what was given to another."""
    channel: Channel[int] = Channel(1)
    receivers = [Receiver(channel, background()) for _ in range(3)]
    for value in range(3):
        channel.send_nowait(value)
        with pytest.raises(WouldBlock):
            channel.receive_nowait()
    assert [receiver.done() for receiver in receivers] == [0, 1, 2]


def test_closing_drains_and_then_ends() -> None:
    """What is buffered is still received, then ChannelClosed."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.close()
    assert channel.receive(background()) == 1
    with pytest.raises(ChannelClosed, match="drained"):
        channel.receive(background())


def test_closing_wakes_everyone_who_waits() -> None:
    """Each gets ChannelClosed."""
    channel: Channel[int] = Channel(1)
    receivers = [Receiver(channel, background()) for _ in range(3)]
    channel.close()
    assert [type(receiver.done()) for receiver in receivers] == [ChannelClosed] * 3


def test_a_closed_channel_takes_nothing_and_closes_once() -> None:
    """A send and a second close say what they are."""
    channel: Channel[int] = Channel(1)
    channel.close()
    with pytest.raises(ChannelClosed, match="send on a closed channel"):
        channel.send_nowait(1)
    with pytest.raises(ChannelClosed, match="close of a closed channel"):
        channel.close()


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_channel_without_room_is_a_mistake(capacity: int) -> None:
    """It could never pass a value on."""
    with pytest.raises(ValueError, match="at least 1"):
        Channel(capacity)


def test_a_receiver_that_gives_up_leaves_nothing_behind() -> None:
    """By its deadline or by being cancelled; the next value goes to the next receiver."""
    channel: Channel[int] = Channel(1)
    with pytest.raises(DeadlineExceeded):
        channel.receive(with_timeout(background(), 0.01))
    ctx = with_cancel(background())
    receiver = Receiver(channel, ctx)
    ctx.cancel()
    assert isinstance(receiver.done(), ClientClosedRequest)
    assert channel.statistics().receivers_waiting == 0
    last = Receiver(channel, background())
    channel.send_nowait(5)
    assert last.done() == 5


def test_a_receiver_keeps_what_it_was_given_in_time() -> None:
    """A value that a sender hands over just before the receiver's context ends is not lost."""
    channel: Channel[int] = Channel(1)
    ctx = with_cancel(background())
    ctx.on_done(lambda: channel.send_nowait(7))
    receiver = Receiver(channel, ctx)
    ctx.cancel()
    assert receiver.done() == 7
    assert channel.statistics().buffered == 0


def test_an_ended_context_still_receives_what_is_there() -> None:
    """So that a lane which is to stop empties its channel first; only a wait needs a context that lives."""
    channel: Channel[int] = Channel(1)
    ctx = with_cancel(background())
    ctx.cancel()
    channel.send_nowait(3)
    assert channel.receive(ctx) == 3
    with pytest.raises(ClientClosedRequest):
        channel.receive(ctx)


def test_a_receiver_leaves_nothing_in_its_context() -> None:
    """A context that lives long gathers no callbacks from the waits under it."""
    channel: Channel[int] = Channel(1)
    ctx = with_cancel(background())
    receiver = Receiver(channel, ctx)
    channel.send_nowait(1)
    assert receiver.done() == 1
    assert ctx._callbacks == {}


def test_the_statistics_tell_what_is_held() -> None:
    """Capacity, values, receivers that wait, and whether it is closed."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    assert channel.statistics() == ChannelStatistics(capacity=2, buffered=1, receivers_waiting=0, closed=False)
    channel.receive_nowait()
    receiver = Receiver(channel, background())
    assert channel.statistics() == ChannelStatistics(capacity=2, buffered=0, receivers_waiting=1, closed=False)
    channel.close()
    receiver.done()
    assert channel.statistics() == ChannelStatistics(capacity=2, buffered=0, receivers_waiting=0, closed=True)


def test_no_value_is_lost_or_doubled_between_many() -> None:
    """Four senders, four receivers that keep giving up: every value arrives once."""
    channel: Channel[int] = Channel(3)
    received: list[int] = []

    def send(start: int) -> None:
        for value in range(start, start + 500):
            while True:
                try:
                    channel.send_nowait(value)
                    break
                except WouldBlock:
                    threading.Event().wait(0.0001)

    def receive() -> None:
        while True:
            try:
                received.append(channel.receive(with_timeout(background(), 0.0005)))
            except DeadlineExceeded:
                continue
            except ChannelClosed:
                return

    receivers = [threading.Thread(target=receive) for _ in range(4)]
    senders = [threading.Thread(target=send, args=(start,)) for start in (0, 500, 1000, 1500)]
    for thread in (*receivers, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    channel.close()
    for thread in receivers:
        thread.join()
    assert sorted(received) == list(range(2000))
